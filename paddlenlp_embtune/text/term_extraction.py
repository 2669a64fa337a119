"""Statistical extraction of domain terms from unlabelled texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text._ngrams import NUMBER, Ngrams, count_ngrams

__all__ = ["Proposal", "propose_terms"]

# Tuned on financial news; explained in propose_terms.
_MIN_COHESION, _MIN_FREEDOM = 3.5, 1.2
# Share of the maximum possible cohesion, for terms too frequent to reach the threshold above.
_MIN_COHESION_SHARE = 0.9
_LOOSE, _MIN_COHESION_AT_LOOSE_EDGE = 2.3, 6.0
_MAX_AFTER_NUMBERS, _MAX_BEFORE_NUMBERS = 0.4, 0.75
_MAX_INSIDE_LONGER = 0.6
# The quantile of chi square with one degree of freedom at p = 0.001.
_SIGNIFICANT = 10.83

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A proposed term.

    Args:
        term: cleaned and case-folded.
        count: number of occurrences.
        cohesion: lowest pointwise mutual information over all splits into two parts, in nats.
        freedom: entropy of its left or right neighbours, whichever is lower, in nats.
        contrast: log-likelihood ratio of its frequency against the background; None without a background.
        score: cohesion times freedom times the logarithm of the count.
    """

    term: str
    count: int
    cohesion: float
    freedom: float
    contrast: float | None
    score: float


def propose_terms(
    texts: Iterable[str],
    *,
    known: Container[str] = frozenset(),
    background: Iterable[str] = (),
    min_count: int = 8,
    max_terms: int = 500,
    max_characters: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> list[Proposal]:
    """Propose cohesive, freely occurring strings of Han characters and Latin words.

    A term is cohesive: wherever it is split, its parts occur together more often than by chance. It is free: many different
    characters precede and follow it. A character that depends on none of its neighbours, such as a particle or preposition, may
    begin or end a term only if its cohesion with that term is high. Strings that mostly follow a number are measure words or
    parts of dates, strings that nearly always precede one are incomplete phrases, and strings that mostly occur inside one
    longer proposal are fragments; all of these are dropped.

    Args:
        texts: of the domain, unlabelled.
        known: strings not to propose, such as the tokens of a vocabulary or the words of a dictionary.
        background: other texts; only terms that are significantly more frequent than in these are proposed.
        min_count: minimum number of occurrences, 2 or more.
        max_terms: maximum number of proposals; the best come first.
        max_characters: maximum length of a term; a Latin word counts as one character.
        progress: called with the steps done and the total.
    Raises:
        DataError: an option is invalid, or the texts have too many characters.
    Source:
        Church and Hanks 1990 (mutual information); Feng et al. 2004, "Accessor Variety Criteria for Chinese Word Extraction"
        (neighbours; each text boundary counts as a distinct one); Jin and Tanaka-Ishii 2006 (branching entropy); Dunning
        1993, equation for the binomial (likelihood ratio); particles and fragments: ours
    """
    for name, value, minimum in (
        ("min_count", min_count, 2),
        ("max_terms", max_terms, 1),
        ("max_characters", max_characters, 2),
    ):
        if value < minimum:
            raise DataError(f"{name} must be {minimum} or more, got {value}")
    ngrams = count_ngrams(texts, background, max_length=max_characters, min_count=min_count, progress=progress)
    loose = _glue(ngrams) < _LOOSE
    found: list[Proposal] = []
    for length in range(2, ngrams.max_length + 1):
        found += _of_length(ngrams, length, min_count, loose)
    found = sorted(_without_fragments(found), key=lambda proposal: (-proposal.score, proposal.term))
    if progress is not None:
        progress(max_characters, max_characters)
    return [proposal for proposal in found if proposal.term not in known][:max_terms]


def _of_length(ngrams: Ngrams, length: int, min_count: int, loose: npt.NDArray[np.bool_]) -> list[Proposal]:
    counts = ngrams.counts[length - 1]
    runs = np.flatnonzero(counts >= min_count)
    if not len(runs):
        return []
    numbers = ngrams.numbers[length - 1]
    wanted = np.zeros(len(counts), dtype=bool)
    wanted[runs] = True
    positions = np.flatnonzero(wanted[numbers] & (np.arange(len(numbers)) < ngrams.edge))
    _, firsts, inverse = np.unique(numbers[positions], return_index=True, return_inverse=True)
    first, row = positions[firsts], inverse.reshape(-1)
    frequency = counts[runs].astype(np.float64)
    splits = _cohesions(ngrams, first, length, frequency)
    cohesion = splits.min(axis=1)
    before, after = ngrams.units[positions - 1], ngrams.units[positions + length]
    freedom = np.minimum(*(_entropy(row, beside, len(runs), len(ngrams.names)) for beside in (before, after)))
    measure, open_end = (np.bincount(row, weights=beside == NUMBER, minlength=len(runs)) for beside in (before, after))
    most_cohesive = np.log(ngrams.total / frequency)
    good = (cohesion >= np.minimum(_MIN_COHESION, _MIN_COHESION_SHARE * most_cohesive)) & (freedom >= _MIN_FREEDOM)
    good &= (measure <= _MAX_AFTER_NUMBERS * frequency) & (open_end <= _MAX_BEFORE_NUMBERS * frequency)
    good &= ~loose[ngrams.units[first]] | (splits[:, 0] >= _MIN_COHESION_AT_LOOSE_EDGE)
    good &= ~loose[ngrams.units[first + length - 1]] | (splits[:, -1] >= _MIN_COHESION_AT_LOOSE_EDGE)
    contrast = _contrast(frequency, ngrams.total, ngrams.background[length - 1][runs], ngrams.background_total)
    if contrast is not None:
        good &= contrast >= _SIGNIFICANT
    score = cohesion * freedom * np.log(frequency)
    return [
        Proposal(
            ngrams.text(int(first[at]), length),
            int(frequency[at]),
            float(cohesion[at]),
            float(freedom[at]),
            None if contrast is None else float(contrast[at]),
            float(score[at]),
        )
        for at in np.flatnonzero(good)
    ]


def _cohesions(ngrams: Ngrams, first: Positions, length: int, frequency: Floats) -> Floats:
    """Return the pointwise mutual information of both parts for each split of the runs: (R, length - 1)."""
    parts = []
    for at in range(1, length):
        left, right = ngrams.count(at, first), ngrams.count(length - at, first + at)
        parts.append(np.log(frequency * ngrams.total / (left.astype(np.float64) * right)))
    return np.stack(parts, axis=1)


def _entropy(row: Positions, beside: npt.NDArray[np.int32], rows: int, names: int) -> Floats:
    """Return the entropy of the neighbours of each run; each separator counts as a distinct neighbour."""
    inside = beside > NUMBER
    keys, counts = np.unique(row[inside] * names + beside[inside], return_counts=True)
    total = np.bincount(row, minlength=rows).astype(np.float64)
    repeated = np.bincount(keys // names, weights=counts * np.log(counts), minlength=rows)
    entropy: Floats = np.log(total) - repeated / total
    return entropy


def _glue(ngrams: Ngrams) -> Floats:
    """Return how strongly each unit depends on its neighbours: the higher mutual information of both, averaged."""
    units = ngrams.units[: ngrams.edge]
    names = len(ngrams.names)
    if ngrams.max_length < 2:
        return np.full(names, np.inf)
    pairs = ngrams.numbers[1][: ngrams.edge]
    positions = np.flatnonzero(ngrams.counts[1][pairs] > 0)
    firm = np.zeros(len(units) + 1)
    together = ngrams.counts[1][pairs[positions]].astype(np.float64)
    alone = ngrams.count(1, positions).astype(np.float64) * ngrams.count(1, positions + 1)
    firm[positions + 1] = np.log(together * ngrams.total / alone)
    nearer = np.maximum(firm[:-1], firm[1:])
    glue: Floats = np.bincount(units, weights=nearer, minlength=names) / np.maximum(np.bincount(units, minlength=names), 1)
    return glue


def _contrast(counts: Floats, total: int, others: npt.NDArray[np.int64], others_total: int) -> Floats | None:
    """Return twice the log-likelihood ratio of two rates against one; 0 if the background's rate is higher."""
    if not others_total:
        return None
    both = (counts + others) / (total + others_total)
    ratio = 2 * (
        _log_likelihood(counts, total, counts / total)
        + _log_likelihood(others, others_total, others / others_total)
        - _log_likelihood(counts, total, both)
        - _log_likelihood(others, others_total, both)
    )
    return np.where(counts / total > others / others_total, ratio, 0.0)


def _log_likelihood(counts: npt.NDArray[Any], total: int, rate: Floats) -> Floats:
    """Return the log-likelihood of ``counts`` hits at a rate, without the binomial coefficient."""
    hits = np.where(counts > 0, counts * np.log(np.where(counts > 0, rate, 1.0)), 0.0)
    found: Floats = hits + (total - counts) * np.log1p(-np.minimum(rate, 1 - 1e-12))
    return found


def _without_fragments(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Drop proposals that mostly occur inside one longer proposal."""
    inside: dict[str, int] = {}
    for proposal in proposals:
        term = proposal.term
        for part in {term[begin:end] for begin in range(len(term)) for end in range(begin + 2, len(term) + 1)} - {term}:
            inside[part] = max(inside.get(part, 0), proposal.count)
    return [each for each in proposals if inside.get(each.term, 0) <= _MAX_INSIDE_LONGER * each.count]
