"""The account of rows: shares, examples, and weights of running text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paddlenlp_embtune.embeddings.init import Coverage, Origin, initialize_from_vectors
from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.text import PAD, UNK, Vocabulary

TOKENS = (PAD, UNK, "嘅", "a", "b", "涨停", "股票", "缺", "[CLS]")
COVERAGE = Coverage(
    "made up",
    (
        "padding",
        "unknown row",
        "other script",
        "exact",
        "other case + other width",
        "mean of pieces",
        "one edit away",
        "sampled",
        "sampled",
    ),
    ("缺", "[CLS]"),
    TOKENS,
    ((), (), ("的",), ("a",), ("Ｂ",), ("涨", "停"), ("股市",), (), ()),
)


def vectors(names: str) -> VectorTable:
    table = np.random.default_rng(0).standard_normal((len(names), 4), dtype=np.float32)
    return VectorTable({name: row for row, name in enumerate(names)}, table, "test vectors")


def test_found_and_approximated_are_shares_of_the_ordinary_tokens() -> None:
    assert COVERAGE.found == pytest.approx(3 / 7)
    assert COVERAGE.approximated == pytest.approx(2 / 7)


def test_examples_show_what_rows_were_made_of() -> None:
    assert COVERAGE.examples() == {
        "other script": ["嘅 <- 的"],
        "other case + other width": ["b <- Ｂ"],
        "mean of pieces": ["涨停 <- 涨 停"],
        "one edit away": ["股票 <- 股市"],
    }


def test_there_are_five_examples_at_most() -> None:
    source = vectors("abcdefgh")
    _, coverage = initialize_from_vectors(Vocabulary([PAD, UNK, *"ABCDEFGH"]), source, rms=0.1, seed=0)
    assert coverage.examples() == {"other case": [f"{token} <- {token.lower()}" for token in "ABCDE"]}


def test_running_text_weighs_tokens_by_how_often_they_come() -> None:
    counts = {"嘅": 50, "a": 20, "b": 10, "涨停": 8, "股票": 2, "缺": 4, "?": 5, UNK: 1}
    assert COVERAGE.running(counts) == {"tokens": 100, "found": 0.8, "approximated": 0.1, "outside": 0.06}
    assert COVERAGE.running({}) == {"tokens": 0, "found": 0.0, "approximated": 0.0, "outside": 0.0}


def test_of_a_token_that_stands_twice_the_last_row_is_in_use() -> None:
    coverage = Coverage("made up", ("padding", "unknown row", "sampled", "exact"), (), (PAD, UNK, "$", "$"))
    assert coverage.running({"$": 3})["found"] == 1.0


def test_the_summary_is_plain() -> None:
    found = COVERAGE.summary(counts={"a": 3, "缺": 1})
    assert json.loads(json.dumps(found)) == found
    assert found["found"] == 0.4286
    assert found["approximated"] == 0.2857
    assert found["running"] == {"tokens": 4, "found": 0.75, "approximated": 0.0, "outside": 0.0}
    assert found["missing_examples"] == ["缺", "[CLS]"]
    assert "projection" not in found
    assert "running" not in COVERAGE.summary()


def test_a_coverage_without_tokens_is_one_of_old() -> None:
    old = Coverage("LAC", ("padding", "unknown row", "exact", "other case", "sampled"), ("缺",))
    assert old.found == pytest.approx(2 / 3)
    assert set(old.summary()) == {"source", "rows", "found", "approximated", "origins", "missing_examples"}
    assert Coverage("nothing", ("padding", "unknown row"), ()).found == 0.0


def test_sources_name_rows_of_the_vectors() -> None:
    source = vectors("涨停a")
    vocabulary = Vocabulary([PAD, UNK, "a", "A", "涨停", "缺"])
    _, coverage = initialize_from_vectors(vocabulary, source, rms=0.1, seed=0, fallbacks=["case", "pieces"])
    assert coverage.tokens == vocabulary.tokens
    assert coverage.sources == ((), (), ("a",), ("a",), ("涨", "停"), ())


@pytest.mark.parametrize("origin", [Origin.SAMPLED, Origin.KEPT, Origin.UNKNOWN])
def test_the_unknown_token_is_outside_wherever_its_row_came_from(origin: str) -> None:
    coverage = Coverage("x", (Origin.PADDING, origin, Origin.EXACT), (), ("[PAD]", "[UNK]", "的"))
    running = {"tokens": 10, "found": 0.5, "approximated": 0.0, "outside": 0.5}
    assert coverage.running({"的": 5, "[UNK]": 5}) == running
