"""The report of a run, and that of a comparison: one HTML file each. Writing one needs matplotlib and Jinja."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.report.comparison import (
        check_report_packages as check_report_packages,
        comparison_markdown as comparison_markdown,
        write_comparison as write_comparison,
    )
    from paddlenlp_embtune.report.report import SectionWriter as SectionWriter, write_report as write_report
    from paddlenlp_embtune.report.run_reader import Run as Run, read_run as read_run
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "comparison": "check_report_packages comparison_markdown write_comparison",
            "report": "SectionWriter write_report",
            "run_reader": "Run read_run",
        },
    )
