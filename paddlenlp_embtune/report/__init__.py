"""The report of a run: one HTML file, with its figures as PNG files on request. Needs matplotlib, when it is written."""

from paddlenlp_embtune.report.run import Run, read_run
from paddlenlp_embtune.report.writing import write_report

__all__ = ["Run", "read_run", "write_report"]
