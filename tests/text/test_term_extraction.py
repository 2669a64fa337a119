"""Proposed terms: statistics by definition, invented texts with terms in them, and real ones."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import _ngrams, jieba_segmenter, term_extraction
from paddlenlp_embtune.text.term_extraction import propose_terms

PLANTED = ("质押式回购", "甲乙股份", "北向", "科技b2b")
PARTICLE = "的"


@cache
def texts() -> tuple[str, ...]:
    """Random characters, with terms planted among them and a particle everywhere."""
    generator = random.Random(0)
    characters = [chr(code) for code in range(0x5000, 0x5000 + 300)]
    found = []
    for _ in range(1500):
        parts: list[str] = generator.choices(characters, k=12)
        parts.insert(generator.randint(0, 12), generator.choice(PLANTED))
        parts.insert(generator.randint(0, 12), PARTICLE)
        parts.insert(generator.randint(0, 12), generator.choice(PLANTED) + PARTICLE)
        parts.insert(generator.randint(0, 12), "2024年报")
        found.append("".join(parts))
    return tuple(found)


def test_planted_terms_are_found_and_nothing_else() -> None:
    found = propose_terms(texts())
    assert {proposal.term for proposal in found} == set(PLANTED)
    assert [proposal.score for proposal in found] == sorted((proposal.score for proposal in found), reverse=True)


def test_figures_are_those_of_the_definitions() -> None:
    found = {proposal.term: proposal for proposal in propose_terms(texts())}["质押式回购"]
    term, everything = "质押式回购", "\n".join(texts())
    units = [unit for unit in everything.replace("b2b", "B").replace("2024", "\n") if unit != "\n"]
    counts = [everything.count(term)]
    assert found.count == counts[0]
    splits = []
    for at in range(1, len(term)):
        parts = everything.count(term[:at]) * everything.count(term[at:])
        splits.append(math.log(found.count * len(units) / parts))
    assert found.cohesion == pytest.approx(min(splits))
    sides = []
    for step in (-1, len(term)):
        beside: Counter[Any] = Counter()
        line = everything.replace("2024", "\n")
        place = line.find(term)
        while place >= 0:
            neighbour = line[place + step]
            if neighbour == "b" and step == -1:
                neighbour = "b2b"
            beside[neighbour if neighbour != "\n" else place] += 1
            place = line.find(term, place + 1)
        total = beside.total()
        sides.append(-sum(count / total * math.log(count / total) for count in beside.values()))
    assert found.freedom == pytest.approx(min(sides))
    assert found.score == pytest.approx(found.cohesion * found.freedom * math.log(found.count))


def test_counts_are_those_of_every_substring() -> None:
    generator = random.Random(2)
    sample = ["".join(generator.choices("甲乙丙，", k=30)) for _ in range(60)]
    found = _ngrams.count_ngrams(sample, sample[:10], max_length=4, min_count=1)
    for length in range(1, 5):
        expected = Counter(
            text[at : at + length] for text in sample for at in range(31 - length) if "，" not in text[at : at + length]
        )
        place_of = {found.text(int(place), length): int(place) for place in np.flatnonzero(found.numbers[length - 1])}
        assert expected.keys() == place_of.keys()
        for run, place in place_of.items():
            assert found.count(length, np.array([place]))[0] == expected[run]
    assert found.background_total == sum(unit != "，" for text in sample[:10] for unit in text)


def test_known_terms_and_limits() -> None:
    assert "北向" not in {proposal.term for proposal in propose_terms(texts(), known={"北向"})}
    assert len(propose_terms(texts(), max_terms=1)) == 1
    short = {proposal.term for proposal in propose_terms(texts(), max_characters=4)}
    assert "质押式回购" not in short
    assert "甲乙股份" in short
    assert propose_terms(texts(), min_count=10_000) == []


def test_what_the_background_has_as_often_is_not_proposed() -> None:
    background = [f"{''.join(part)}甲乙股份{text[:3]}" for text in texts() for part in [text[3:6]]]
    found = {proposal.term: proposal for proposal in propose_terms(texts(), background=background)}
    assert "甲乙股份" not in found
    assert found["质押式回购"].contrast is not None
    assert found["质押式回购"].contrast > 100
    assert propose_terms(texts())[0].contrast is None


def test_contrast_is_the_likelihood_ratio() -> None:
    # Dunning 1993: 2 log of L(p1, k1, n1) L(p2, k2, n2) over L(p, k1, n1) L(p, k2, n2), with the binomial's L.
    k1, n1, k2, n2 = 110, 2442, 111, 29114

    def likelihood(rate: float, hits: int, total: int) -> float:
        return hits * math.log(rate) + (total - hits) * math.log(1 - rate)

    both = (k1 + k2) / (n1 + n2)
    expected = likelihood(k1 / n1, k1, n1) + likelihood(k2 / n2, k2, n2) - likelihood(both, k1, n1) - likelihood(both, k2, n2)
    found = term_extraction._contrast(np.array([k1, 0, 5.0]), n1, np.array([k2, 9, 0]), n2)
    assert found is not None
    assert found[0] == pytest.approx(2 * expected)
    assert found[1] == 0
    assert found[2] > 0


@pytest.mark.parametrize("empty", [[], [""], ["，。", "12 34"], ["甲"], ["abc"]])
def test_texts_without_terms(empty: list[str]) -> None:
    assert propose_terms(empty) == propose_terms(empty, background=["甲乙"]) == []


def test_texts_may_be_an_iterator_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    found = propose_terms(iter(texts()), progress=lambda done, total: told.append((done, total)))
    assert found == propose_terms(texts())
    assert told == sorted(told)
    assert told[-1] == (8, 8)


@pytest.mark.parametrize("options", [{"min_count": 1}, {"max_terms": 0}, {"max_characters": 1}])
def test_illegal_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"must be [12] or more"):
        propose_terms(texts(), **options)  # type: ignore[arg-type]


def test_too_many_texts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ngrams, "MAX_UNITS", 1000)
    with pytest.raises(DataError, match="at most 1000 characters, got more; pass a sample"):
        propose_terms(texts())


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "lexicon", "least", "expected"),
    [
        ("finance_news", "finance", 0.9, {"逆回购", "控股股东", "区块链", "大宗商品", "净利润"}),
        ("finance_forum", "finance", 0.85, {"贵州茅台", "科创板", "北向资金"}),
        ("medical", "medical", 0.85, {"乙肝大三阳", "总胆红素", "凝血功能障碍", "高血压"}),
    ],
)
def test_real_texts(name: str, lexicon: str, least: float, expected: set[str], shared_data: Path) -> None:
    lines = (shared_data / "unlabelled" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    started = time.perf_counter()
    found = [proposal.term for proposal in propose_terms(lines, max_terms=5000)]
    assert time.perf_counter() - started < 20
    words = {word for word, weight in jieba_segmenter.word_cutter(hmm=False).weights.items() if weight is not None}
    table = (shared_data / "lexicons" / f"thuocl_{lexicon}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    allowed = words | {line.split("\t")[0].strip() for line in table}
    assert sum(term in allowed for term in found[:200]) / 200 >= least
    assert expected <= set(found)


def test_too_many_texts_are_refused_before_all_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ngrams, "MAX_UNITS", 100)
    texts = iter(["公司拟回购股份"] * 1000)
    with pytest.raises(DataError, match="at most 100 characters, got more"):
        _ngrams.count_ngrams(texts, max_length=2, min_count=2)
    assert len(list(texts)) > 900
