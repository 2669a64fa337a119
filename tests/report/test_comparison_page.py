"""The page of a comparison: its sections, its figures, and text that would like to be markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paddlenlp_embtune.report import comparison_markdown, write_comparison

ARM = "<script>hit</script>|x"


def found() -> dict[str, Any]:
    figure = {"mean": 0.75, "sd": 0.01, "values": [0.74, 0.76], "interval": [0.7, 0.8]}
    cost = {"seconds": 1.5, "peak_bytes": 2e6, "size_bytes": 1e6, "texts_per_second": 10.0}
    difference = {"value": 0.05, "interval": [0.01, 0.09], "p": 0.01, "p_holm": 0.02, "ahead": True}
    row = {"arm": ARM, "accuracy": {**figure, "sd": None}, "f1_macro": figure, "difference": difference, "cost": cost}
    reference = {**row, "arm": "tfidf", "difference": None}
    order = {"best": [ARM], "behind": ["tfidf"], "text": f"{ARM} is ahead of tfidf"}
    table = {"data": "数据", "size": None, "train_rows": 1000, "test_rows": 300, "arms": [row, reference], "order": order}
    empty = {**table, "size": 50, "train_rows": 0, "test_rows": 0, "arms": [], "order": {"best": [], "behind": [], "text": ""}}
    average = {"arm": ARM, "accuracy": 0.7, "f1_macro": 0.6, "difference": None, "seconds": 2.0, "best_on": 1}
    curves = {ARM: [[50, 0.5], [1000, 0.75]], "tfidf": [[1000, 0.7]]}
    needed = {"arm": ARM, "other": "tfidf", "value": 0.7, "other_rows": 1000, "rows": 600, "most": 1000}
    return {
        "metric": "f1_macro",
        "against": "tfidf",
        "resamples": 2000,
        "seeds": [0, 1],
        "tables": [table, empty],
        "averages": [{"size": None, "sets": ["数据", "b"], "arms": [average]}],
        "curves": [{"data": "数据", "curves": curves, "reach": [needed, {**needed, "rows": None}]}],
        "failed": [{"data": "数据", "size": 50, "arm": "tfidf", "message": "no memory"}],
        "notes": ["only two seeds"],
    }


def test_the_page_holds_every_table_and_no_markup_of_arms(tmp_path: Path) -> None:
    page = write_comparison(found(), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    for part in ("数据, 1,000 labelled rows", "Mean over 2 data sets", "Learning curves, 数据", "only two seeds", "no memory"):
        assert part in page
    assert page.count("<svg") == 2
    assert write_comparison(found(), tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_markdown_tables_stay_whole() -> None:
    lines = comparison_markdown(found()).splitlines()
    first = [line.replace("\\|", "") for line in lines[2:6]]
    assert [line.count("|") for line in first] == [11] * 4
    text = "\n".join(lines)
    assert "0.7500 ± 0.0100" in text
    assert "+0.0500 (+0.0100 to +0.0900) | 0.02 |" in text
    assert "Too few arms have figures." in text
    assert "has with 1,000 labelled rows: with about 600" in text
    assert "has with 1,000 labelled rows: not with 1,000" in text
    assert "- 数据, tfidf, 50 labelled rows: no memory" in text
