"""Reports as one HTML file: of a run, with figures as PNG files on request, and of checked data. They need Jinja."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.report.check_page import write_check_page as write_check_page
    from paddlenlp_embtune.report.report import SectionWriter as SectionWriter, write_report as write_report
    from paddlenlp_embtune.report.run_reader import Run as Run, read_run as read_run
    from paddlenlp_embtune.report.search_report import write_search_report as write_search_report
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "check_page": "write_check_page",
            "report": "SectionWriter write_report",
            "run_reader": "Run read_run",
            "search_report": "write_search_report",
        },
    )
