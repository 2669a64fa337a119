"""Labels for unlabelled vectors by a regression that learns from its own surest answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.config import SelfTrainingSpec
from paddlenlp_embtune.inference import softmax
from paddlenlp_embtune.models.head_regression import HeadRegression, fit_head

__all__ = ["PSEUDO_REGULARIZATION", "PseudoLabels", "pseudo_labels"]

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_TEMPERATURES = np.geomspace(0.05, 20.0, 60)
_FIRST_SHARE = 0.4
"""Part of the last round's share that is taken in the first."""
_LEAST_ADVANTAGE, _MOST_GAP = 1.0, 2.58
"""In standard errors: of accuracy above that of the largest label; of confidence from accuracy, two-sided 99%."""
PSEUDO_REGULARIZATION = 0.01
"""C of regressions on answers of their own kind, which must not be learned by heart."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PseudoLabels:
    """What was taken of the unlabelled texts.

    Args:
        rows: (M,) their numbers, ascending.
        labels: (M,) class numbers.
        weights: (M,) of each beside rows of weight 1.
        accuracy: of the labelled rows out of fold; None where there were too few.
        confidence: the mean confidence there, at the temperature that fits them best.
        temperature: this temperature.
        left_out: why none were taken; empty where some were.
    """

    rows: Ids
    labels: Ids
    weights: Floats
    accuracy: float | None = None
    confidence: float | None = None
    temperature: float = 1.0
    left_out: str = ""


def pseudo_labels(
    vectors: npt.NDArray[np.float32],
    labels: Ids,
    weights: Floats,
    unlabelled: npt.NDArray[np.float32],
    spec: SelfTrainingSpec,
    *,
    num_labels: int,
    seed: int = 0,
) -> PseudoLabels:
    """Answer unlabelled texts, as far as the confidence of the answers can be trusted.

    Args:
        vectors: of the labelled rows, (N, H).
        labels: (N,) class numbers below C.
        weights: (N,) of the rows, above 0.
        unlabelled: vectors of the texts, (U, H).
        spec: rounds, share and weight.
        num_labels: C.
        seed: of the folds.
    """
    options: dict[str, Any] = {"num_labels": num_labels, "inverse_regularization": PSEUDO_REGULARIZATION, "seed": seed}
    regression = fit_head(vectors, labels, weights, **options)
    trust = _trust(regression.out_of_fold, labels, num_labels)
    taken = trust
    if trust.left_out or not len(unlabelled):
        return trust
    of_labels = np.bincount(labels, weights=weights, minlength=num_labels)
    for number in range(spec.rounds):
        part = spec.share if spec.rounds == 1 else spec.share * np.interp(number, (0, spec.rounds - 1), (_FIRST_SHARE, 1.0))
        rows, found = _surest(regression, unlabelled, trust.temperature, float(part), num_labels)
        counts = np.bincount(found, minlength=num_labels)
        weighs = spec.weight * of_labels[found] / counts[found]
        taken = dataclasses.replace(trust, rows=rows, labels=found, weights=weighs)
        if number < spec.rounds - 1:
            regression = fit_head(
                np.concatenate([vectors, unlabelled[rows]]),
                np.concatenate([labels, found]),
                np.concatenate([weights, weighs]),
                **options,
            )
    return taken


def _surest(
    regression: HeadRegression, vectors: npt.NDArray[np.float32], temperature: float, share: float, num_labels: int
) -> tuple[Ids, Ids]:
    """Take a share of each label's answers, the surest first: their numbers and labels."""
    answers = _at(regression(vectors), temperature)
    found, confidence = answers.argmax(axis=1), answers.max(axis=1)
    chosen: list[int] = []
    for label in range(num_labels):
        mine = np.flatnonzero(found == label)
        best = mine[np.argsort(-confidence[mine], kind="stable")]
        chosen += best[: int(np.ceil(share * len(mine)))].tolist()
    rows = np.array(sorted(chosen), dtype=np.int64)
    return rows, found[rows].astype(np.int64)


def _trust(out_of_fold: Floats | None, labels: Ids, num_labels: int) -> PseudoLabels:
    """Say whether confidence out of fold can be trusted, and at which temperature."""
    nothing: dict[str, Any] = {"rows": np.zeros(0, np.int64), "labels": np.zeros(0, np.int64), "weights": np.zeros(0)}
    if out_of_fold is None:
        return PseudoLabels(**nothing, left_out="a label has fewer than 4 rows, so confidence cannot be checked out of fold")
    count, own = len(labels), np.arange(len(labels))
    losses = [-np.log(np.maximum(_at(out_of_fold, each)[own, labels], 1e-12)).mean() for each in _TEMPERATURES]
    temperature = float(_TEMPERATURES[int(np.argmin(losses))])
    answers = _at(out_of_fold, temperature)
    right, confidence = answers.argmax(axis=1) == labels, answers.max(axis=1)
    accuracy, mean = float(right.mean()), float(confidence.mean())
    largest = float(np.bincount(labels, minlength=num_labels).max()) / count
    known: dict[str, Any] = {**nothing, "accuracy": accuracy, "confidence": mean, "temperature": temperature}
    if accuracy - largest < _LEAST_ADVANTAGE * np.sqrt(max(accuracy * (1 - accuracy), 0.25 / count) / count):
        why = (
            f"out of fold {accuracy:.0%} of {count} rows are right, which is not beyond the {largest:.0%} of the largest label"
        )
        return PseudoLabels(**known, left_out=why)
    spread = float(np.sqrt(np.maximum(confidence * (1 - confidence), 1e-3).sum())) / count
    if abs(mean - accuracy) > _MOST_GAP * spread:
        why = f"its mean confidence out of fold is {mean:.2f}, and {accuracy:.2f} of the rows are right"
        return PseudoLabels(**known, left_out=why)
    return PseudoLabels(**known)


def _at(logits: Floats, temperature: float) -> Floats:
    found: Floats = softmax((logits / temperature).astype(np.float32)).astype(np.float64)
    return found
