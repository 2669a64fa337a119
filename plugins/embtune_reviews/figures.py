"""What a bundle of the domain is worth on labelled rows, beside a linear baseline, as tables of a model card."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from paddlenlp_embtune import Predictor
from paddlenlp_embtune.data import Examples
from paddlenlp_embtune.evaluation import calibration_error, classification_report

__all__ = ["Measured", "abstaining_table", "calibration_table", "class_table", "measure", "quality_table", "tfidf"]

Ids = npt.NDArray[np.int64]
Baseline = Callable[[Sequence[str]], list[str]]

_DRAWS = 2000
_THRESHOLDS = (0.7, 0.8, 0.9, 0.95)
_MEASURES = {"accuracy": "accuracy", "macro-F1": "f1_macro"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """The answers of one bundle, and of the baseline, on one set.

    Args:
        name: what the tables call the set.
        labels: the labels in order.
        truth: (N,) class numbers.
        before: (N, C) probabilities at temperature 1.
        after: (N, C) probabilities at the temperature of the bundle.
        baseline: (N,) class numbers.
        thresholds: those of the bundle, in the order of the labels.
    """

    name: str
    labels: tuple[str, ...]
    truth: Ids
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    baseline: Ids
    thresholds: npt.NDArray[np.float64]

    @property
    def predicted(self) -> Ids:
        """The bundle's answers, (N,) class numbers."""
        return np.asarray(self.after.argmax(axis=1), dtype=np.int64)


def tfidf(train: Examples) -> Baseline:
    """Fit characters 1-2 with logistic regression (C = 4)."""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2))
    model = LogisticRegression(C=4, max_iter=2000).fit(vectorizer.fit_transform(train.texts), train.labels)
    return lambda texts: list(model.predict(vectorizer.transform(texts)))


def measure(bundle: Path, name: str, rows: Examples, baseline: Baseline) -> Measured:
    """Run a bundle and the baseline over a set."""
    with Predictor(bundle) as predictor:
        at = predictor.scaled_probabilities(rows.texts)
        number = {label: index for index, label in enumerate(predictor.labels)}
        manifest = predictor.bundle.manifest
        return Measured(
            name=name,
            labels=predictor.labels,
            truth=np.array([number[label] for label in rows.labels]),
            before=at(1.0),
            after=at(manifest.temperature),
            baseline=np.array([number[label] for label in baseline(rows.texts)]),
            thresholds=np.array([manifest.thresholds.get(label, 0.0) for label in predictor.labels]),
        )


def quality_table(runs: Sequence[Sequence[Measured]]) -> str:
    """Accuracy and macro-F1: each set is a list of runs, one a seed, the shipped one first."""
    lines = [
        "| set | texts | measure | shipped [interval] | seeds, mean (lowest to highest) | TF-IDF | difference [interval] |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for seeds in runs:
        shipped = seeds[0]
        for title, measure_name in _MEASURES.items():
            own, base, low, high, gap_low, gap_high = _intervals(shipped, measure_name)
            scores = [_score(run.truth, run.predicted, run.labels, measure_name) for run in seeds]
            spread = f"{statistics.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"
            gap = f"{own - base:+.3f} [{gap_low:+.3f}, {gap_high:+.3f}]"
            shown = f"{own:.3f} [{low:.3f}, {high:.3f}]"
            lines.append(f"| {shipped.name} | {len(shipped.truth):,} | {title} | {shown} | {spread} | {base:.3f} | {gap} |")
    return "\n".join(lines)


def class_table(run: Measured) -> str:
    """Precision, recall and F1 by label."""
    report = classification_report(run.truth.tolist(), run.predicted.tolist(), run.labels)
    rows = [
        f"| {label} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['support']} |"
        for label, row in report["per_class"].items()
    ]
    return "\n".join(["| label | precision | recall | F1 | texts |", "| --- | --- | --- | --- | --- |", *rows])


def calibration_table(runs: Sequence[Measured]) -> str:
    """Expected calibration error before and after the temperature."""
    rows = [
        f"| {run.name} | {calibration_error(run.before, run.truth):.3f} | {calibration_error(run.after, run.truth):.3f} |"
        for run in runs
    ]
    return "\n".join(["| set | before | after |", "| --- | --- | --- |", *rows])


def abstaining_table(runs: Sequence[Measured]) -> str:
    """Which share of the texts is answered, and how many of these answers are right, by threshold."""
    heads = ["as shipped", *(f"{threshold:g}" for threshold in _THRESHOLDS)]
    lines = [f"| set | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
    for run in runs:
        score, right = run.after.max(axis=1), run.predicted == run.truth
        passed = [score >= run.thresholds[run.predicted], *(score >= threshold for threshold in _THRESHOLDS)]
        cells = [f"{kept.mean():.0%}, {right[kept].mean():.3f}" if kept.any() else "0%" for kept in passed]
        lines.append(f"| {run.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _score(truth: Ids, predicted: Ids, labels: Sequence[str], name: str) -> float:
    if name == "accuracy":
        return float((truth == predicted).mean())
    confusion = np.bincount(truth * len(labels) + predicted, minlength=len(labels) ** 2).reshape(len(labels), -1)
    return float((2 * confusion.diagonal() / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1)).mean())


def _intervals(run: Measured, name: str) -> tuple[float, ...]:
    """Score of the bundle and of the baseline, then percentile bootstrap intervals of the score and of their difference.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13; rows are drawn in pairs for the difference
    """
    generator = np.random.default_rng(0)
    own, gaps = [], []
    for _ in range(_DRAWS):
        drawn = generator.integers(len(run.truth), size=len(run.truth))
        scores = [_score(run.truth[drawn], answers[drawn], run.labels, name) for answers in (run.predicted, run.baseline)]
        own.append(scores[0])
        gaps.append(scores[0] - scores[1])
    points = [_score(run.truth, answers, run.labels, name) for answers in (run.predicted, run.baseline)]
    return (*points, *np.percentile(own, [2.5, 97.5]).tolist(), *np.percentile(gaps, [2.5, 97.5]).tolist())
