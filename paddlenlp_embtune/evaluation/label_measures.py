"""What the kind of labels decides about measuring: the report, what a run monitors, the analysis of errors, and calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.evaluation.error_analysis import analyze_predictions, calibration_table, clip_text
from paddlenlp_embtune.evaluation.metrics import classification_report, monitored_metrics, ordinal_metrics
from paddlenlp_embtune.evaluation.several_labels import best_threshold, several_labels_report
from paddlenlp_embtune.inference import LabelKind

__all__ = ["LabelMeasures", "measures_of"]

Floats = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]
_BINS = 15
_LISTED = 20


class LabelMeasures:
    """Measures answers of one label a text.

    Args:
        kind: of the labels.
        labels: C names.
    """

    main = "f1_macro"
    """The metric that says most in one figure."""

    shown: Mapping[str, str] = {"f1_macro": "macro F1", "accuracy": "accuracy"}
    """Metrics of the report in the order in which people read them, with their names."""

    def __init__(self, kind: LabelKind, labels: Sequence[str]) -> None:
        self.kind, self.labels = kind, labels

    def report(self, truth: Ids, decided: Ids, scores: Floats | None = None) -> dict[str, Any]:
        """Compare answers with the truth, both as :meth:`paddlenlp_embtune.inference.LabelKind.encode` has them.

        Args:
            truth: of N rows.
            decided: of N rows.
            scores: (N, C); None leaves out what needs them.
        """
        found = classification_report(truth.tolist(), decided.tolist(), self.labels)
        return {**found, **ordinal_metrics(truth, decided, len(self.labels))} if self.kind.ordered else found

    def summary(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a bundle keeps of a report."""
        return {key: report[key] for key in ("n", *self.shown, "per_class") if key in report}

    def monitored(self, truth: Ids, logits: Floats) -> dict[str, float]:
        """Return what a run monitors, of (N, C) logits."""
        return self.watched(truth, logits.argmax(axis=-1))

    def watched(self, truth: Ids, decided: Ids) -> dict[str, float]:
        """Return the metrics of answers that a recipe can watch."""
        found = monitored_metrics(truth.tolist(), decided.tolist(), self.labels)
        return {**found, **ordinal_metrics(truth, decided, len(self.labels))} if self.kind.ordered else found

    def analyze(self, scores: Floats, truth: Ids, texts: Sequence[str], thresholds: Floats | None) -> dict[str, Any]:
        """Analyze the errors on N rows, see :func:`analyze_predictions`."""
        return analyze_predictions(scores, truth.tolist(), self.labels, texts)


class _SeveralMeasures(LabelMeasures):
    """Measures answers of any number of labels a text."""

    main = "f1_micro"
    shown: Mapping[str, str] = {
        "f1_micro": "micro F1",
        "f1_macro": "macro F1",
        "f1_samples": "samples F1",
        "accuracy": "subset accuracy",
        "ranking": "ranking precision",
    }

    def report(self, truth: Ids, decided: Ids, scores: Floats | None = None) -> dict[str, Any]:
        return several_labels_report(truth, decided, self.labels, scores)

    def monitored(self, truth: Ids, logits: Floats) -> dict[str, float]:
        """Measure at the one threshold of highest micro-F1 on these rows; those of each label are fitted when training ends."""
        scores = self.kind.probabilities(logits.astype(np.float32))
        limit, _ = best_threshold(scores, truth)
        return self.watched(truth, self.kind.decide(scores, np.full(scores.shape[1], limit, np.float32)))

    def watched(self, truth: Ids, decided: Ids) -> dict[str, float]:
        report = several_labels_report(truth, decided, self.labels)
        return {name: report[name] for name in ("accuracy", "f1_micro", "f1_macro", "f1_samples")}

    def analyze(self, scores: Floats, truth: Ids, texts: Sequence[str], thresholds: Floats | None) -> dict[str, Any]:
        decided = self.kind.decide(scores, thresholds)
        report = self.report(truth, decided, scores)
        flat, right = scores.ravel().astype(np.float64), truth.ravel().astype(np.bool_)
        surprise = np.where(truth > 0, 1 - scores, scores).max(axis=1)
        limits = np.full(scores.shape[1], self.kind.no_threshold) if thresholds is None else thresholds
        nearest = abs(scores - limits).min(axis=1)
        wrong = np.flatnonzero((truth != decided).any(axis=1))

        def listed(rows: Ids) -> list[dict[str, Any]]:
            return [self._row(int(row), scores[row], truth[row], decided[row], texts[int(row)]) for row in rows]

        return {
            "kind": self.kind.name,
            **{key: report[key] for key in report if key not in ("labels_per_row", "rows_without")},
            "labels": list(self.labels),
            "calibration": calibration_table(flat, right, _BINS),
            "brier": float(np.square(flat - right).mean()),
            "hardest": listed(wrong[np.argsort(-surprise[wrong], kind="stable")[:_LISTED]]),
            "uncertain": listed(np.argsort(nearest, kind="stable")[:_LISTED]),
        }

    def _row(self, row: int, scores: Floats, truth: Ids, decided: Ids, text: str) -> dict[str, Any]:
        def named(chosen: Ids) -> list[dict[str, Any]]:
            numbers = np.flatnonzero(chosen)
            numbers = numbers[np.argsort(-scores[numbers], kind="stable")]
            return [{"label": self.labels[each], "score": float(scores[each])} for each in numbers.tolist()]

        return {"row": row, "text": clip_text(text), "true": named(truth), "predicted": named(decided)}


def measures_of(kind: LabelKind, labels: Sequence[str]) -> LabelMeasures:
    """Return how answers of a kind of labels are measured."""
    build: Callable[[LabelKind, Sequence[str]], LabelMeasures] = _SeveralMeasures if kind.several else LabelMeasures
    return build(kind, labels)
