"""Lists of terms as people have them, and terms that no text contains."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_embtune import DataError
from paddlenlp_embtune.text.term_lists import describe_unused_terms, read_term_list, unused_terms


@pytest.mark.parametrize(
    ("content", "terms", "entries"),
    [
        ("质押式回购 100 n\n", ("质押式回购",), 1),
        ("云计算 5\n李小福 2 nr\neasy_install 3 eng\n凱特琳 nz\n台中\nEdu Trust认证 2000\n", None, 5),
        ("质押式回购\t100\tn\n逆回购\t5\tn\n", ("质押式回购", "逆回购"), 2),
        ("质押式回购 100\n逆回购 5\n", ("质押式回购", "逆回购"), 2),
        ("沪深 300\n", ("沪深 300",), 0),
        ("沪深 300\n创业板\n", ("沪深 300", "创业板"), 0),
        ("machine learning\ndeep n\n", ("machine learning", "deep n"), 0),
        ("\ufeff# 金融\n回购\r\n\r\n  减持 \t注释\r\n", ("回购", "减持"), 0),
        ("#话题\n回购\n", ("#话题", "回购"), 0),
        ("回购\r减持\r", ("回购", "减持"), 0),
    ],
)
def test_lists(content: str, terms: tuple[str, ...] | None, entries: int, tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "terms.txt").write_bytes(content.removeprefix("\ufeff").encode(encoding))
        found = read_term_list(tmp_path / "terms.txt")
        assert found.terms == (terms or ("云计算", "李小福", "easy_install", "凱特琳", "台中", "Edu Trust认证"))
        assert found.entries == entries
        assert bool(found.remarks()) == bool(entries)
    (tmp_path / "terms.txt").write_bytes(content.encode())
    assert read_term_list(tmp_path / "terms.txt") == found


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# nothing\n", b"\xff\xfe"])
def test_lists_without_terms_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_bytes(content)
    with pytest.raises(DataError, match="has no terms"):
        read_term_list(tmp_path / "terms.txt")


def test_terms_that_no_text_contains() -> None:
    texts = ["公司开展质押式回购", "买ETFs", "⻓江电力", "A"]
    terms = ["质押式回购", "回购", "逆回购", "etf", "长江", "ＥＴＦＳ", "a", "开展"]
    assert unused_terms(terms, texts, lowercase=True) == ("逆回购", "etf")
    assert unused_terms(terms[:3], [], lowercase=True) == ("质押式回购", "回购", "逆回购")
    assert describe_unused_terms("t.txt", ["a"] * 7, 9) == "7 of 9 terms of t.txt are in no text: a, a, a, a, a, ..."
