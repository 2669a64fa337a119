"""Pairs of texts: those that belong together, with or without one that does not, and those with a score."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data._records import Records, text_of
from paddlenlp_embtune.data.validation import text_key
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import is_blank
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["Pairs", "read_pairs"]

POSITIVE, SCORED = ("anchor", "positive"), ("sentence1", "sentence2", "score")
_NEGATIVE = "negative"


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of texts in the order of their file; one of ``scores`` and ``negatives`` is there at most.

    Args:
        first: N texts: anchors, or first sentences.
        second: N texts: what belongs to each, or second sentences.
        negatives: N texts that do not belong to the anchors; None for pairs alone.
        scores: N numbers, more for pairs that are more alike; None where all pairs belong together.
        source: the path they came from.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    source: str
    negatives: tuple[str, ...] | None = None
    scores: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.first)


def read_pairs(path: str | Path, *, options: ReadOptions | None = None) -> Pairs:
    """Read pairs; the format follows from the file's ending, the kind of pairs from the columns.

    Args:
        path: a table or JSON lines with ``anchor`` and ``positive``, and perhaps ``negative``; or with ``sentence1``,
            ``sentence2`` and ``score``, as for sentence-transformers.
        options: how the file is read; None finds all out.
    Raises:
        DataError: the file cannot be read, has none of these columns, an empty text, a score that is no finite number, or
            pairs that contradict each other.
    """
    path = Path(path)
    columns = _columns_of(path, options)
    scored = columns[0] == SCORED[0]
    records = Records(path, columns, options=options)
    texts: list[tuple[str, ...]] = []
    scores: list[float] = []
    for place, record in records:
        if records.is_table and not any(record.values()):
            continue
        names = [records.roles[column] for column in columns]
        row = tuple(text_of(record[name], f"{name!r} in {place} of {path}") for name in names[: 2 if scored else None])
        for name, text in zip(names, row, strict=False):
            if is_blank(text):
                raise DataError(f"{place} of {path} has an empty {name!r}; expected a visible character; remove the row")
        texts.append(row)
        if scored:
            scores.append(_score_of(record[names[2]], place, path))
    if not texts:
        raise DataError(f"{path} holds no pairs; expected a header and at least one pair")
    sides = tuple(zip(*texts, strict=True))
    negatives = sides[2] if len(sides) > 2 else None
    pairs = Pairs(sides[0], sides[1], str(path), negatives, tuple(scores) if scored else None)
    _refuse_contradictions(pairs)
    return pairs


def _columns_of(path: Path, options: ReadOptions | None) -> tuple[str, ...]:
    one = dataclasses.replace(options or ReadOptions(), limit=1)
    for wanted in ((*POSITIVE, _NEGATIVE), POSITIVE, SCORED):
        try:
            for _ in Records(path, wanted, options=one):
                return wanted
        except DataError:
            continue
    for _ in Records(path, POSITIVE, options=one):  # says what is missing
        pass
    raise DataError(f"{path} holds no pairs; expected the columns {', '.join(POSITIVE)}, or {', '.join(SCORED)}")


def _score_of(value: Any, place: str, path: Path) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{place} of {path} has the score {shorten(value)}; expected a finite number; correct it")
    return score


def _refuse_contradictions(pairs: Pairs) -> None:
    """Refuse a pair with two scores, and a text that belongs and does not belong to the same anchor."""
    known: dict[tuple[str, ...], float] = {}
    for first, second, score in zip(pairs.first, pairs.second, pairs.scores or (), strict=False):
        key = tuple(sorted((text_key(first), text_key(second))))
        if known.setdefault(key, score) != score:
            raise DataError(
                f"{pairs.source} gives {shorten(first)} and {shorten(second)} the scores {known[key]:g} and {score:g}; "
                "expected one for each pair; remove the wrong one"
            )
    together = {(text_key(a), text_key(b)) for a, b in zip(pairs.first, pairs.second, strict=True)}
    for first, negative in zip(pairs.first, pairs.negatives or (), strict=False):
        if (text_key(first), text_key(negative)) in together or text_key(first) == text_key(negative):
            raise DataError(
                f"{pairs.source} has {shorten(negative)} both as what belongs to {shorten(first)} and as what does not; remove "
                "one of the two rows"
            )
