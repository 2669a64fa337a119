"""The page of checked data: complete, closed, and nothing of the data in it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.report import write_check_page
from tests.data.checks.planted_faults import checked, invented, read
from tests.report.reading import Reader

SCRIPT = "<script>alert('股')</script>涨停的公司"


@pytest.fixture
def found(tmp_path: Path) -> dict[str, object]:
    train = invented(60)
    faults = [train[0], (train[1][0], "未知"), (SCRIPT, "利好"), ("锟斤拷好", "利好"), (f"{train[2][0]}甲", train[2][1])]
    return checked(read(tmp_path, train=[*train, *faults], dev=[train[3], (SCRIPT, "利空")])).plain()


def test_every_finding_is_on_the_page_as_text(found: dict[str, object], tmp_path: Path) -> None:
    page = Reader(write_check_page(tmp_path / "check.html", found).read_text(encoding="utf-8"))
    told = page.text()
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "link"}
    for part in (
        SCRIPT,
        "锟斤拷",
        "2 of 2 dev rows are the same as a train row",
        "train.tsv 61",
        "98.46%",
        "Written by embtune check",
    ):
        assert part in told, part
    assert told.count("Nothing found.") == 2  # no suspects, no boilerplate


def test_long_tables_are_cut_and_say_so(found: dict[str, object], tmp_path: Path) -> None:
    page = Reader(write_check_page(tmp_path / "check.html", found, shown=1).read_text(encoding="utf-8"))
    assert "1 more row; embtune check --json lists all." in page.text()


def test_without_jinja_the_extra_is_named(found: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependencyError, match=r"paddlenlp-embtune\[plot\]"):
        write_check_page(tmp_path / "check.html", found)
