"""The report of the invented run, once for each file of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_embtune.report import write_report
from tests.report.invented import SCRIPT, write_run
from tests.report.reading import Reader


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / f"run <b>{SCRIPT.replace('/', '')}"
    return write_report(write_run(folder))


@pytest.fixture(scope="module")
def page(report: Path) -> Reader:
    return Reader(report.read_text(encoding="utf-8"))
