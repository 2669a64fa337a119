"""Tokens of the texts: lengths, what a maximum length would cut, and tokens without an id."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.data.checks.rows import CheckedRows
from paddlenlp_embtune.text import Tokenizer, tokenizer_kind

__all__ = ["Lengths", "UnknownTokens", "measure_tokens"]

_LENGTHS = (32, 64, 128, 256, 512)
_WORST = 20


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How long the texts are.

    Args:
        characters: ``min``, ``median``, ``mean``, ``p95``, ``p99`` and ``max`` of the characters of a text.
        tokens: the same of its tokens, with those that the tokenizer adds.
        max_length: tokens that the model would read.
        cut: texts that have more.
        lost: share of all tokens that would be cut off, 0 to 1.
        cut_at: texts that have more tokens, by length: 32, 64, 128, 256, 512.
    """

    characters: dict[str, float]
    tokens: dict[str, float]
    max_length: int
    cut: int
    lost: float
    cut_at: dict[str, int]


@dataclasses.dataclass(frozen=True)
class UnknownTokens:
    """Tokens that the tokenizer has no id for.

    Args:
        tokenizer: its kind.
        vocabulary: number of tokens that it knows.
        share: of all tokens, by split.
        rows: texts with one or more, by split.
        worst: the most frequent, with their counts.
    """

    tokenizer: str
    vocabulary: int
    share: dict[str, float]
    rows: dict[str, int]
    worst: dict[str, int]


def measure_tokens(rows: CheckedRows, tokenizer: Tokenizer, *, max_length: int) -> tuple[Lengths, UnknownTokens]:
    """Split all texts into tokens, and measure lengths and unknown tokens."""
    ids, unknown = tokenizer.vocabulary.ids, tokenizer.vocabulary.unknown_id
    fixed = len(tokenizer.prefix) + len(tokenizer.suffix)
    counts = np.zeros(len(rows), dtype=np.int64)
    missing, total, lacking, in_rows = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for index, text in enumerate(rows.texts):
        tokens, split = tokenizer.tokens(text), rows.split_of(index)
        counts[index] = len(tokens) + fixed
        total[split] += len(tokens)
        strange = [token for token in tokens if ids.get(token, unknown) == unknown]
        if strange:
            missing.update(strange)
            lacking[split] += len(strange)
            in_rows[split] += 1
    characters = np.array([len(text) for text in rows.texts], dtype=np.int64)
    beyond = np.maximum(counts - max_length, 0)
    return (
        Lengths(
            characters=_summary(characters),
            tokens=_summary(counts),
            max_length=max_length,
            cut=int((beyond > 0).sum()),
            lost=float(beyond.sum() / max(1, counts.sum())),
            cut_at={str(length): int((counts > length).sum()) for length in _LENGTHS},
        ),
        UnknownTokens(
            tokenizer=tokenizer_kind(tokenizer.config()),
            vocabulary=len(tokenizer.vocabulary),
            share={split: lacking[split] / count if count else 0.0 for split, count in total.items()},
            rows={split: in_rows[split] for split in total},
            worst=dict(missing.most_common(_WORST)),
        ),
    )


def _summary(counts: npt.NDArray[np.int64]) -> dict[str, float]:
    return {
        "min": int(counts.min()),
        "median": float(np.median(counts)),
        "mean": round(float(counts.mean()), 2),
        "p95": float(np.percentile(counts, 95)),
        "p99": float(np.percentile(counts, 99)),
        "max": int(counts.max()),
    }
