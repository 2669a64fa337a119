"""Two sets of texts compared in all respects, and what that means for a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from paddlenlp_embtune.data.domains.distance import DomainDistance, domain_distance
from paddlenlp_embtune.data.domains.report import DomainReport, LabelShift, Lengths, Side
from paddlenlp_embtune.data.domains.rows import DomainRows
from paddlenlp_embtune.data.domains.terms import TermShift, term_shift
from paddlenlp_embtune.data.validation import text_key
from paddlenlp_embtune.errors import DataError

__all__ = ["compare_domains"]

_LEVELS = ((0.2, "same"), (0.8, "close"), (1.5, "apart"))
"""Proxy A-distance below which sets are called so; ``far`` above. Ours: halves of one set stay below .2."""
_MUCH_UNSEEN = 0.1
_MUCH_LONGER = 2.0
_LABELS_SHIFTED = 0.1


def compare_domains(first: DomainRows, second: DomainRows, *, terms: int = 20, seed: int = 0) -> DomainReport:
    """Compare the set that a model is trained on with the one that it is used on.

    Args:
        first: the source.
        second: the target.
        terms: of each side that are returned at most.
        seed: of draws and folds.
    Raises:
        DataError: a side has fewer than 20 different texts, or both have the same texts.
        MissingDependencyError: scikit-learn is not installed.
    """
    keys = [set(map(text_key, side.texts)) for side in (first, second)]
    if keys[0] == keys[1]:
        raise DataError(
            f"{first.source} and {second.source} have the same {len(keys[0]):,} texts; expected two different sets, such as "
            "the rows that a model is trained on and texts from where it is used"
        )
    distance = domain_distance(first.texts, second.texts, seed=seed)
    shift = term_shift(first.texts, second.texts, shown=terms)
    labels = _label_shift(first.labels, second.labels) if first.labels and second.labels else None
    sides = (_side(first), _side(second))
    level = next((name for bound, name in _LEVELS if distance.a_distance < bound), "far")
    shared = len(keys[0] & keys[1])
    meaning = (*_of_distance(level, distance), *_of_texts(sides, shift, shared), *_of_labels(labels))
    return DomainReport(*sides, shared, distance, shift, labels, level, meaning)


def _side(rows: DomainRows) -> Side:
    lengths = np.array([len(text) for text in rows.texts])
    median, p90 = np.percentile(lengths, (50, 90))
    labels = None
    if rows.labels is not None:
        labels = {label: round(count / len(rows), 4) for label, count in sorted(Counter(rows.labels).items())}
    return Side(rows.source, len(rows), labels, Lengths(int(median), int(p90), int(lengths.max())))


def _label_shift(first: Sequence[str], second: Sequence[str]) -> LabelShift:
    counts = Counter(first), Counter(second)
    names = sorted(counts[0].keys() | counts[1].keys())
    variation = sum(abs(counts[0][name] / len(first) - counts[1][name] / len(second)) for name in names) / 2
    return LabelShift(
        round(variation, 4),
        tuple(name for name in names if name not in counts[1]),
        tuple(name for name in names if name not in counts[0]),
    )


def _of_distance(level: str, distance: DomainDistance) -> Iterator[str]:
    told = f"A classifier tells the two apart in {distance.accuracy:.0%} of texts (proxy A-distance {distance.a_distance:.2f})"
    yield {
        "same": f"{told}, hardly better than by chance: a model trained on the first should do as well on the second.",
        "close": f"{told}: the sets overlap. Expect a model to lose a few points; a few labelled target rows may win them "
        "back.",
        "apart": f"{told}: these are different domains. Expect a model trained on the first to lose much on the second; give "
        "it unlabelled target texts (self_training.unlabelled, with an encoder), and label some target rows.",
        "far": f"{told}: the sets have little in common. What a model does on the first says little of the second; "
        "give it unlabelled target texts (self_training.unlabelled, with an encoder), and label 50 target rows or more, which "
        "alone tell whether that worked.",
    }[level]


def _of_texts(sides: tuple[Side, Side], shift: TermShift, shared: int) -> Iterator[str]:
    if shared:
        yield f"{shared:,} texts are in both sets; a score on the second counts what was learned by heart."
    if shift.unseen_words >= _MUCH_UNSEEN:
        yield (
            f"{shift.unseen_words:.0%} of the running {shift.unit} of the second are in no text of the first: a model from "
            "labelled rows alone cannot know them; pretrained vectors or an encoder, and target texts in training, help."
        )
    medians = [max(1, side.lengths.median) for side in sides]
    if max(medians) >= _MUCH_LONGER * min(medians):
        yield (
            f"Texts differ in length: half are longer than {medians[0]} characters in the first, than {medians[1]} in the "
            "second; set text.max_length for the second."
        )


def _of_labels(shift: LabelShift | None) -> Iterator[str]:
    if shift is None:
        return
    if shift.only_second:
        yield f"Only the second has {', '.join(shift.only_second)}: a model trained on the first never answers so."
    if shift.only_first:
        yield f"Only the first has {', '.join(shift.only_first)}: leave these rows out, or every such answer is an error."
    if shift.total_variation >= _LABELS_SHIFTED:
        yield (f"The shares of the labels differ by {shift.total_variation:.0%}: look at macro-F1 beside accuracy.")
