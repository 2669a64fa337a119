"""Which terms one set of texts has more often than another, and how many of one's terms the other lacks."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from paddlenlp_embtune.text import clean, word_cutter

__all__ = ["Term", "TermShift", "term_shift"]

_LEAST_TEXTS = 3
_PLAIN = 1.96
_PRIOR = 500.0
"""Words of the texts of both sides that the prior weighs as much as."""


@dataclasses.dataclass(frozen=True)
class Term:
    """A term that one side has more often.

    Args:
        term: the word.
        first, second: share of the texts of each side that have it.
        log_odds: of the second side against the first, above 0 where the second has it more often.
        z: the same in its standard errors.
    """

    term: str
    first: float
    second: float
    log_odds: float
    z: float


@dataclasses.dataclass(frozen=True)
class TermShift:
    """How the words of two sides differ.

    Args:
        unit: ``words``, or ``character pairs`` where jieba is not installed.
        unseen_words: share of the second side's running words that no text of the first side has.
        unseen_characters: the same of characters.
        divergence: Jensen-Shannon divergence of the two distributions of words, in bits: 0 for the same, 1 for nothing shared.
        of_first, of_second: the terms that tell each side from the other, the plainest first.
    """

    unit: str
    unseen_words: float
    unseen_characters: float
    divergence: float
    of_first: tuple[Term, ...]
    of_second: tuple[Term, ...]


def term_shift(first: Sequence[str], second: Sequence[str], *, shown: int = 20) -> TermShift:
    """Compare the words of two sets.

    Args:
        first: texts of the source.
        second: texts of the target.
        shown: terms of each side that are returned at most.
    Source:
        Monroe, Colaresi and Quinn 2008, "Fightin' Words", equations 15, 16, 18 and 22: log-odds with an informative Dirichlet
        prior; counted by texts, not occurrences, so that one long text does not decide
    """
    split, unit = _splitter()
    sides = [[clean(text, lowercase=True) for text in texts] for texts in (first, second)]
    running = [Counter(word for text in texts for word in split(text)) for texts in sides]
    in_texts = [Counter(word for text in texts for word in set(split(text))) for texts in sides]
    characters = [Counter("".join(texts)) for texts in sides]
    terms = _log_odds(in_texts[0], in_texts[1], sizes=(len(first), len(second)))
    return TermShift(
        unit=unit,
        unseen_words=_unseen(running[0], running[1]),
        unseen_characters=_unseen(characters[0], characters[1]),
        divergence=_divergence(running[0], running[1]),
        of_first=tuple([term for term in terms if term.z < -_PLAIN][:shown]),
        of_second=tuple([term for term in reversed(terms) if term.z > _PLAIN][:shown]),
    )


def _splitter() -> tuple[Callable[[str], Iterable[str]], str]:
    if importlib.util.find_spec("jieba") is None:
        return _pairs, "character pairs"
    cut = word_cutter(hmm=False).cut
    return lambda text: (word for word in cut(text) if any(map(str.isalnum, word))), "words"


def _pairs(text: str) -> Iterable[str]:
    return (text[at : at + 2] for at in range(len(text) - 1) if text[at : at + 2].isalnum())


def _unseen(known: Counter[str], used: Counter[str]) -> float:
    total = sum(used.values())
    return round(sum(count for word, count in used.items() if word not in known) / total, 4) if total else 0.0


def _divergence(first: Counter[str], second: Counter[str]) -> float:
    words = list(first.keys() | second.keys())
    if not first or not second:
        return 0.0 if not words else 1.0
    shares = [np.array([each[word] for word in words], dtype=np.float64) / sum(each.values()) for each in (first, second)]
    middle = (shares[0] + shares[1]) / 2
    parts = [np.where(each > 0, each * np.log2(np.maximum(each, 1e-300) / middle), 0.0).sum() for each in shares]
    return round(float(max(0.0, sum(parts) / 2)), 4)


def _log_odds(first: Counter[str], second: Counter[str], *, sizes: tuple[int, int]) -> list[Term]:
    """Return the terms of several texts, from those of the first side to those of the second."""
    words = sorted(word for word in first.keys() | second.keys() if first[word] + second[word] >= _LEAST_TEXTS)
    if not words:
        return []
    counts = [np.array([each[word] for word in words], dtype=np.float64) for each in (first, second)]
    both = counts[0] + counts[1]
    prior = both / both.sum() * _PRIOR
    totals = [each.sum() + prior.sum() for each in counts]
    odds = [np.log((each + prior) / (total - each - prior)) for each, total in zip(counts, totals, strict=True)]
    difference = odds[1] - odds[0]
    z = difference / np.sqrt(1 / (counts[0] + prior) + 1 / (counts[1] + prior))
    return [
        Term(
            words[at],
            round(float(counts[0][at] / sizes[0]), 4),
            round(float(counts[1][at] / sizes[1]), 4),
            round(float(difference[at]), 3),
            round(float(z[at]), 2),
        )
        for at in np.argsort(z, kind="stable").tolist()
    ]
