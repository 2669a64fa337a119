"""Kinds of labels: how logits become scores, scores a decision, and a decision the answer to a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Manifest
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.inference._occlusion import log_odds
from paddlenlp_embtune.inference.postprocessing import (
    above_threshold,
    combine_windows,
    level_of,
    probabilities_of,
    softmax,
)
from paddlenlp_embtune.text import TokenizedTexts, WindowSpec

__all__ = ["MULTI", "ORDERED", "SINGLE", "LabelKind", "SeveralLabels", "kind_named", "kind_of", "refuse_several_labels"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Columns = dict[str, Iterable[Any]]
_HALF = 0.5
_LEAST = 1e-30  # so that no logarithm is infinite


@dataclasses.dataclass(frozen=True, eq=False)
class LabelKind:
    """One label a text: the scores of a text add up to 1, and the largest decides.

    Args:
        name: as a recipe and a bundle state it.
        ordered: whether the order of the labels means something, so that answers have a level.
    """

    name: str = "single"
    ordered: bool = False

    several = False
    """Whether a text has any number of labels, none included."""

    no_threshold = 0.0
    """The threshold of a label for which none is set."""

    def encode(self, labels: Sequence[Sequence[str]], names: Sequence[str]) -> Ids:
        """Turn the labels of N rows into what losses and metrics compare with: class numbers, (N,) int64."""
        number = {name: index for index, name in enumerate(names)}
        return np.array([number[label] for (label,) in labels], dtype=np.int64)

    def probabilities(self, logits: Floats, *, temperature: float = 1.0) -> Floats:
        """Turn the logits of single windows into scores, (B, C) float32 to the same."""
        return softmax(logits / np.float32(temperature))

    def combine(
        self, logits: Floats, tokenized: TokenizedTexts, *, temperature: float = 1.0, windows: WindowSpec | None = None
    ) -> tuple[Floats, Ids]:
        """Turn the logits of the windows of N texts, (W, C), into their scores, (N, C), and their decisive windows, (N,)."""
        return probabilities_of(logits, tokenized, temperature=temperature, windows=windows)

    def logits(self, scores: Floats) -> Floats:
        """Return logits that have these scores, (N, C) float32."""
        found: Floats = np.log(np.maximum(scores, np.float32(_LEAST)))
        return found

    def log_odds(self, logits: Floats, *, label: int, temperature: float = 1.0) -> npt.NDArray[np.float64]:
        """Turn (B, C) logits into ln(p / (1 - p)) of a label, (B,) float64."""
        return log_odds(logits, label=label, temperature=temperature)

    def decide(self, scores: Floats, thresholds: Floats | None = None) -> Ids:
        """Return the answers to N texts in the form of :meth:`encode`; thresholds leave the label of a text as it is.

        Args:
            scores: (N, C).
            thresholds: (C,); None for none.
        """
        found: Ids = scores.argmax(axis=1)
        return found

    def columns(self, scores: Floats, names: Sequence[str], *, thresholds: Floats | None, all_scores: bool) -> Columns:
        """Return what the answers to N texts say of their labels, by key.

        Args:
            scores: (N, C).
            names: C labels.
            thresholds: (C,); None marks no answer as abstained.
            all_scores: include the score of every label, and with ordered labels the level.
        """
        best = scores.argmax(axis=1)
        highest = scores[np.arange(len(best)), best]
        columns: Columns = {"label": [names[each] for each in best.tolist()], "score": highest.tolist()}
        if thresholds is not None:
            columns["abstained"] = (~above_threshold(scores, thresholds)).tolist()
        if all_scores:
            columns |= _all_scores(scores, names)
        if all_scores and self.ordered:
            columns["level"], columns["level_spread"] = (part.tolist() for part in level_of(scores))
        return columns

    def clear(self, answer: dict[str, Any]) -> None:
        """Turn an answer into that of a text without a visible character, in place."""
        _clear(answer, {"label": None, "score": 0.0, "abstained": True, "level": None, "level_spread": None})


@dataclasses.dataclass(frozen=True, eq=False)
class SeveralLabels(LabelKind):
    """Any number of labels a text: each has a score of its own, and is given from its threshold on.

    Args:
        scale, offset: calibration of each label, (C,) float32: the score is the sigmoid of scale times logit plus offset; None
            for scores as they come.
    """

    name: str = "multi"
    scale: Floats | None = None
    offset: Floats | None = None

    several = True
    no_threshold = _HALF

    def encode(self, labels: Sequence[Sequence[str]], names: Sequence[str]) -> Ids:
        """Turn the labels of N rows into 1 for each that a row has, and 0 for the others, (N, C) int64."""
        number = {name: index for index, name in enumerate(names)}
        found = np.zeros((len(labels), len(names)), dtype=np.int64)
        for row, own in enumerate(labels):
            found[row, [number[label] for label in own]] = 1
        return found

    def probabilities(self, logits: Floats, *, temperature: float = 1.0) -> Floats:
        """Turn logits into scores, (B, C) float32 to the same."""
        return _sigmoid(self._scaled(logits, temperature))

    def log_odds(self, logits: Floats, *, label: int, temperature: float = 1.0) -> npt.NDArray[np.float64]:
        """Turn (B, C) logits into ln(p / (1 - p)) of a label, (B,) float64."""
        found: npt.NDArray[np.float64] = self._scaled(logits, temperature)[:, label]
        return found

    def combine(
        self, logits: Floats, tokenized: TokenizedTexts, *, temperature: float = 1.0, windows: WindowSpec | None = None
    ) -> tuple[Floats, Ids]:
        """Combine the scores of windows, and then calibrate: of a single window this is :meth:`probabilities`.

        The decisive window of a text is the one with the highest score of its best label.
        """
        first = tokenized.first[:-1]
        if len(first) == len(logits):
            return self.probabilities(logits, temperature=temperature), first
        method = windows.aggregate if windows is not None else "mean"
        plain, decisive = combine_windows(_sigmoid(logits.astype(np.float64)), tokenized, method, whole=False)
        return self.probabilities(self.logits(plain.astype(np.float32)), temperature=temperature), decisive

    def logits(self, scores: Floats) -> Floats:
        """Return logits that have these scores without calibration, (N, C) float32."""
        clipped = np.clip(scores.astype(np.float64), _LEAST, 1 - 1e-7)
        found: Floats = (np.log(clipped) - np.log1p(-clipped)).astype(np.float32)
        return found

    def decide(self, scores: Floats, thresholds: Floats | None = None) -> Ids:
        """Return 1 for each label that a text gets, (N, C): whose score reaches its threshold, unless that is 1."""
        limits = np.full(scores.shape[1], _HALF, np.float32) if thresholds is None else thresholds
        return ((scores >= limits) & (limits < 1)).astype(np.int64)

    def columns(self, scores: Floats, names: Sequence[str], *, thresholds: Floats | None, all_scores: bool) -> Columns:
        """Return ``labels``, those that each text gets with their scores, the surest first; and ``scores`` if asked for."""
        given = self.decide(scores, thresholds).astype(np.bool_)
        answers = []
        for row, own in zip(scores, given, strict=True):
            numbers = np.flatnonzero(own)
            numbers = numbers[np.argsort(-row[numbers], kind="stable")]
            answers.append([{"label": names[each], "score": float(row[each])} for each in numbers.tolist()])
        return {"labels": answers, **(_all_scores(scores, names) if all_scores else {})}

    def clear(self, answer: dict[str, Any]) -> None:
        """Turn an answer into that of a text without a visible character, which has no label, in place."""
        _clear(answer, {"labels": []})

    def _scaled(self, logits: Floats, temperature: float) -> npt.NDArray[np.float64]:
        scaled = logits.astype(np.float64) / temperature
        return scaled if self.scale is None or self.offset is None else scaled * self.scale + self.offset


SINGLE, ORDERED, MULTI = LabelKind(), LabelKind("ordered", ordered=True), SeveralLabels()
_KINDS: Mapping[str, LabelKind] = {kind.name: kind for kind in (SINGLE, ORDERED, MULTI)}


def kind_named(name: str) -> LabelKind:
    """Return a kind of labels, without any calibration, by its name in a recipe."""
    return _KINDS[name]


def kind_of(manifest: Manifest) -> LabelKind:
    """Return the kind of a bundle's labels, with its calibration of each."""
    kind = kind_named(manifest.label_kind)
    if not isinstance(kind, SeveralLabels) or not manifest.scaling:
        return kind
    own = [manifest.scaling.get(label) for label in manifest.labels]
    scale = np.array([1.0 if each is None else each.scale for each in own], dtype=np.float32)
    offset = np.array([0.0 if each is None else each.offset for each in own], dtype=np.float32)
    return dataclasses.replace(kind, scale=scale, offset=offset)


def refuse_several_labels(manifest: Manifest, feature: str) -> None:
    """Refuse a bundle that gives a text several labels where only one is known.

    Args:
        manifest: of the bundle.
        feature: what knows one label a text, for the message.
    Raises:
        DataError: it gives several.
    """
    if kind_of(manifest).several:
        raise DataError(
            f"{feature} knows one label a text, and this bundle gives any number of its {len(manifest.labels)} labels; take a "
            "bundle with labels of the kind single or ordered"
        )


def _all_scores(scores: Floats, names: Sequence[str]) -> Columns:
    return {"scores": [dict(zip(names, row, strict=True)) for row in scores.tolist()]}


def _clear(answer: dict[str, Any], nothing: Mapping[str, Any]) -> None:
    answer.update({key: value for key, value in nothing.items() if key in answer})
    if "scores" in answer:
        answer["scores"] = dict.fromkeys(answer["scores"], 0.0)


def _sigmoid(logits: npt.NDArray[np.float64]) -> Floats:
    found: Floats = (1 / (1 + np.exp(-np.clip(logits, -80.0, 80.0)))).astype(np.float32)
    return found
