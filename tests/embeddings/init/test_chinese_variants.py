"""Traditional and simplified characters: known pairs, and the shape of the table that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

import paddlenlp_embtune
from paddlenlp_embtune.embeddings.init._chinese_variants import other_scripts, to_simplified, to_traditional

FOLDER = Path(paddlenlp_embtune.__file__).parent / "assets" / "scripts"


@pytest.mark.parametrize(
    ("traditional", "simplified"),
    [
        ("證券", "证券"),
        ("漲停", "涨停"),
        ("股東減持", "股东减持"),
        ("頭髮", "头发"),
        ("皇后", "皇后"),
        ("abc，1", "abc，1"),
        ("", ""),
    ],
)
def test_to_simplified(traditional: str, simplified: str) -> None:
    assert to_simplified(traditional) == simplified
    assert to_simplified(simplified) == simplified
    assert traditional in to_traditional(simplified)


def test_the_most_usual_form_comes_first() -> None:
    assert to_traditional("干部") == ("幹部", "乾部", "干部", "榦部")
    assert to_traditional("皇后")[0] == "皇後"  # by characters only; the right one follows
    assert to_traditional("发") == ("發", "髮")


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("证券", ("證券", "証券")),
        ("證券", ("证券",)),
        ("減持", ("减持",)),
        ("只", ("隻",)),
        ("发", ("發", "髮")),
        ("股", ()),
        ("abc", ()),
        ("", ()),
    ],
)
def test_other_scripts(text: str, others: tuple[str, ...]) -> None:
    assert other_scripts(text) == others


def test_a_text_in_both_scripts_leads_to_either() -> None:
    assert other_scripts("東减") == ("东减", "東減")


def test_long_texts_have_sixteen_forms_at_most() -> None:
    found = to_traditional("干" * 40)
    assert len(found) == len(set(found)) == 16
    assert found[0] == "幹" * 40


def test_the_table_is_sorted_and_a_traditional_character_stands_there_once() -> None:
    text = (FOLDER / "traditional_simplified.txt").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    assert all(len(line) == 2 and len(line[0]) == 1 and line[1] for line in lines)
    keys = [key for key, _ in lines]
    assert keys == sorted(set(keys))
    others = [other for key, forms in lines for other in forms if other != key]
    assert len(others) == len(set(others)) == 4105
    for key, forms in lines:
        assert len(set(forms)) == len(forms)
        assert set(forms) != {key}
        for other in forms:
            assert to_simplified(other) == key or other == key


def test_the_notice_names_authors_and_licence() -> None:
    notice = (FOLDER / "NOTICE").read_text(encoding="utf-8")
    for said in ("OpenCC", "BYVoid", "Apache License, Version 2.0", "TSCharacters.txt", "3,948 lines", "What was changed"):
        assert said in notice
