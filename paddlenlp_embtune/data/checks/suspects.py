"""Suspected label errors: rows whose label a model that has not seen them finds unlikely (confident learning)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.data.checks.rows import CheckedRows, Place
from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.evaluation.baselines import build_baseline, out_of_fold_scores
from paddlenlp_embtune.text import clean

__all__ = ["LEAST_ROWS", "Suspect", "confident_errors", "find_suspects"]

LEAST_ROWS = 40
"""With fewer rows, the model behind the suspicion knows too little."""
_LEAST_TEXTS = 4
_FOLDS, _FOLDS_OF_MANY = 5, 2
_MOST_ROWS = 20_000
"""Rows that a fold is fitted on at most, which bounds the time; with twice as many, two folds are enough for that."""


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A row whose label may be wrong.

    Args:
        file, row: where it is.
        label: its label.
        proposal: the likeliest label.
        confidence: probability of the proposal, 0 to 1.
        label_probability: probability of the label.
        text: of the row.
    """

    file: str
    row: int
    label: str
    proposal: str
    confidence: float
    label_probability: float
    text: str

    @property
    def place(self) -> Place:
        """Where the row is."""
        return Place(self.file, self.row)


def find_suspects(rows: CheckedRows, *, seed: int) -> tuple[tuple[Suspect, ...], str | None]:
    """Find rows of any split whose label may be wrong, the most suspicious first.

    Returns:
        the suspects, and why there can be none: too few rows, or rows with several labels; or None
    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    if rows.label_sets is not None:
        return (), "no label errors were looked for: rows have several labels"
    names, classes = np.unique(np.array(rows.labels, dtype=object), return_inverse=True)
    _, groups = np.unique(np.array(rows.keys, dtype=object), return_inverse=True)
    different = np.unique(np.stack([classes, groups]), axis=1)[0]
    kept = np.bincount(different) >= _LEAST_TEXTS
    usable = np.flatnonzero(kept[classes])
    if len(usable) < LEAST_ROWS or kept.sum() < 2:
        return (), (
            f"no label errors were looked for: that takes {LEAST_ROWS} rows or more, and two labels with {_LEAST_TEXTS} "
            f"different texts or more each, got {len(usable)} rows and {int(kept.sum())} such labels"
        )
    numbers = np.cumsum(kept) - 1  # of the labels that are used
    chosen = numbers[classes[usable]]
    labels = [rows.labels[i] for i in usable]
    found = _out_of_fold_probabilities([rows.texts[i] for i in usable], labels, groups[usable], seed=seed)
    suspects = []
    for at in confident_errors(found, chosen).tolist():
        index, likely = int(usable[at]), int(found[at].argmax())
        place, label = rows.place(index), int(chosen[at])
        suspects.append(
            Suspect(
                place.file,
                place.row,
                labels[at],
                str(names[kept][likely]),
                round(float(found[at, likely]), 4),
                round(float(found[at, label]), 4),
                rows.texts[index],
            )
        )
    return tuple(suspects), None


def _out_of_fold_probabilities(
    texts: Sequence[str], labels: Sequence[str], groups: npt.NDArray[np.int64], *, seed: int
) -> npt.NDArray[np.float64]:
    """Return the probability of each label in each row, (N, C), from the TF-IDF baseline fitted without the row's fold."""
    cleaned = [clean(text, lowercase=True) for text in texts]
    folds = _FOLDS if len(texts) < 2 * _MOST_ROWS else _FOLDS_OF_MANY
    try:
        scores = out_of_fold_scores(
            lambda: build_baseline("tfidf"), cleaned, labels, folds=folds, groups=groups, most_rows=_MOST_ROWS, seed=seed
        )
    except MissingDependencyError as error:
        raise MissingDependencyError(f"suspected label errors: {error}; or leave them out with --no-suspects") from None
    return np.nan_to_num(scores, nan=0.0, neginf=0.0)


def confident_errors(probabilities: npt.NDArray[np.float64], classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the rows whose label is probably wrong, the least likely label first.

    A row counts as another class where that class has a probability of at least its mean among the rows of that class
    (the threshold); where several have, as the likeliest of them. As many rows as count as a class other than their label are
    returned, those whose own label has the lowest probability, unless it is the likeliest.

    Args:
        probabilities: (N, C) float64, out of sample.
        classes: (N,) int64, the labels as numbers, each of which occurs.
    Shapes:
        returns: (M,) int64, M <= N
    Source:
        Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", section 3.1,
        equations 1 and 2 (the confident joint), with the ranking by self-confidence of section 3.2
    """
    count, rows = probabilities.shape[1], np.arange(len(probabilities))
    own = probabilities[rows, classes]
    thresholds = np.bincount(classes, weights=own, minlength=count) / np.maximum(np.bincount(classes, minlength=count), 1)
    above = probabilities >= thresholds - 1e-6
    counted = np.where(above, probabilities, -1.0).argmax(axis=1)
    errors = int((above.any(axis=1) & (counted != classes)).sum())
    lowest = np.argsort(own, kind="stable")[:errors]
    chosen: npt.NDArray[np.int64] = lowest[probabilities[lowest].argmax(axis=1) != classes[lowest]]
    return chosen
