"""Runs of combining marks: normalization would take time that grows with their square."""

from __future__ import annotations

import unicodedata

import pytest

from paddlenlp_embtune.text import clean
from paddlenlp_embtune.text._offsets import locate

PAIR = "\u0301\u0323"


def test_a_run_of_marks_keeps_thirty() -> None:
    text = "e" + PAIR * 50_000 + "股"
    assert clean(text, lowercase=True) == unicodedata.normalize("NFKC", "e" + PAIR * 15) + "股"


@pytest.mark.parametrize("pairs", [1, 14, 15, 16, 2_000])
def test_places_follow_what_is_kept(pairs: int) -> None:
    text = "股e" + PAIR * pairs + "份"
    cleaned = clean(text, lowercase=True)
    places = locate(text, lowercase=True)
    assert len(places) == len(cleaned)
    assert places[0] == (0, 1)
    assert places[-1] == (len(text) - 1, len(text))
