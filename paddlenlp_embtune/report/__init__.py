"""Reports as one HTML file: of runs, checked data, comparisons, searches and choices. They need Jinja, figures matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.report.auto_page import write_auto_report as write_auto_report
    from paddlenlp_embtune.report.check_page import write_check_page as write_check_page
    from paddlenlp_embtune.report.comparison import (
        check_report_packages as check_report_packages,
        comparison_markdown as comparison_markdown,
        write_comparison as write_comparison,
    )
    from paddlenlp_embtune.report.report import SectionWriter as SectionWriter, write_report as write_report
    from paddlenlp_embtune.report.run_reader import Run as Run, read_run as read_run
    from paddlenlp_embtune.report.search_report import write_search_report as write_search_report
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "auto_page": "write_auto_report",
            "check_page": "write_check_page",
            "comparison": "check_report_packages comparison_markdown write_comparison",
            "report": "SectionWriter write_report",
            "run_reader": "Run read_run",
            "search_report": "write_search_report",
        },
    )
