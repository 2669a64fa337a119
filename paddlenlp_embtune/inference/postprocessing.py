"""From logits of windows to answers: aggregation, labels, levels, abstaining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError, expected_names
from paddlenlp_embtune.text import TokenizedTexts, WindowSpec

if TYPE_CHECKING:
    from paddlenlp_embtune.inference.label_kinds import LabelKind

__all__ = [
    "above_threshold",
    "aggregate",
    "combine_windows",
    "format_predictions",
    "level_of",
    "probabilities_of",
    "softmax",
    "thresholds_of",
    "without_scores",
]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
_WITH_SCORES = ("scores", "level", "level_spread")


def softmax(logits: Floats) -> Floats:
    """Turn logits into probabilities along the last axis.

    Shapes:
        logits: (B, C) float32; returns: (B, C) float32
    """
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Floats = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities


def aggregate(windows: Floats, tokenized: TokenizedTexts, *, method: str) -> tuple[Floats, Ids]:
    """Combine the windows of each text into one answer.

    Args:
        windows: (W, C) probabilities.
        tokenized: which windows belong to which text.
        method: ``mean``, ``length`` or ``max``, as in :class:`paddlenlp_embtune.text.windows.WindowSpec`.
    Returns:
        (N, C) float32 probabilities, and (N,) int64, the decisive window of each text: the one with the highest probability of
        its label.
    """
    result, decisive = combine_windows(windows, tokenized, method)
    return result.astype(np.float32, copy=False), decisive


def combine_windows(
    windows: npt.NDArray[Any], tokenized: TokenizedTexts, method: str, *, whole: bool = True
) -> tuple[npt.NDArray[Any], Ids]:
    """Combine windows as :func:`aggregate` does, in the precision given; ``whole`` tells whether scores add up to 1."""
    first = tokenized.first[:-1]
    if len(first) == len(windows):
        return windows, first
    if method == "max":
        highest = np.maximum.reduceat(windows, first)
        result = highest / highest.sum(axis=1, keepdims=True) if whole else highest
    else:
        lengths = [max(1, len(ids)) for ids in tokenized.ids] if method == "length" else np.ones(len(windows))
        weights = np.asarray(lengths, dtype=np.float64)[:, None]
        result = np.add.reduceat(windows * weights, first) / np.add.reduceat(weights, first)
    best = result.argmax(axis=1)
    decisive = [
        start + int(windows[start:end, label].argmax())
        for start, end, label in zip(first, tokenized.first[1:], best, strict=True)
    ]
    return result, np.asarray(decisive, dtype=np.int64)


def probabilities_of(
    logits: Floats, tokenized: TokenizedTexts, *, temperature: float, windows: WindowSpec | None
) -> tuple[Floats, Ids]:
    """Turn the logits of windows, (W, C) float32, into the answers of texts, as :func:`aggregate` returns them.

    The temperature changes neither a text's label nor its decisive window: it acts on the combined answer, and where float32
    no longer separates the best two labels, the best one stays just above the other.

    Args:
        logits: of windows.
        tokenized: which windows belong to which text.
        temperature: 0.001 to 1000.
        windows: how windows are combined; None takes the mean.
    """
    method = windows.aggregate if windows is not None else "mean"
    first = tokenized.first[:-1]
    if len(first) == len(logits):
        result = softmax(logits / np.float32(temperature))
        return _keep_best(result, logits.argmax(axis=1)), first
    plain, decisive = combine_windows(softmax(logits.astype(np.float64)), tokenized, method)
    with np.errstate(divide="ignore"):
        result = softmax(np.log(plain) / temperature).astype(np.float32)
    alone = np.diff(tokenized.first) == 1  # a text's answer is the same whether others beside it have windows or not
    result[alone] = softmax(logits[first[alone]] / np.float32(temperature))
    best = np.where(alone, logits[first].argmax(axis=1), plain.argmax(axis=1))
    return _keep_best(result, best), decisive


def _keep_best(probabilities: Floats, best: Ids) -> Floats:
    """Make the label that is best without rounding the first of the highest, in place."""
    lost = np.flatnonzero(probabilities.argmax(axis=1) != best)
    if lost.size:
        probabilities[lost, best[lost]] = np.nextafter(probabilities[lost].max(axis=1), np.float32(2))
    return probabilities


def level_of(probabilities: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the expected level of ordered labels, 0 for the first to C - 1 for the last, and its standard deviation.

    Shapes:
        probabilities: (N, C) float32; returns: (N,) and (N,) float64
    """
    levels = np.arange(probabilities.shape[1], dtype=np.float64)
    mean = probabilities @ levels
    variance = (probabilities * np.square(levels - mean[:, None])).sum(axis=1)
    return mean, np.sqrt(variance)


def thresholds_of(
    abstain_below: float | Mapping[str, float] | None,
    labels: Sequence[str],
    bundle: Mapping[str, float],
    *,
    unset: float = 0.0,
) -> npt.NDArray[np.float32] | None:
    """Return the score below which an answer of each label abstains.

    Args:
        abstain_below: of the user, for all labels or by label; None takes those of the bundle.
        labels: in order.
        bundle: by label.
        unset: threshold of a label for which none is set.
    Returns:
        (C,) float32, or None where no thresholds are set.
    Raises:
        DataError: a label is not known, or a threshold is not a probability.
    """
    given: Any = bundle if abstain_below is None else abstain_below
    by_label = dict(given) if isinstance(given, Mapping) else dict.fromkeys(labels, given)
    for label, value in by_label.items():
        if label not in labels:
            raise DataError(f"abstain_below names the label {label!r}; {expected_names(str(label), labels)}")
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not 0 <= value <= 1:
            raise DataError(f"abstain_below is {value!r} for {label!r}; expected a probability, 0 to 1")
    thresholds = np.array([by_label.get(label, unset) for label in labels], dtype=np.float32)
    return thresholds if abstain_below is not None or bundle else None


def above_threshold(probabilities: Floats, thresholds: Floats) -> npt.NDArray[np.bool_]:
    """Return which answers reach the threshold of their label; none reaches a threshold of 1.

    Shapes:
        probabilities: (N, C) float32; thresholds: (C,) float32; returns: (N,)
    """
    limits = thresholds[probabilities.argmax(axis=1)]
    answered: npt.NDArray[np.bool_] = (probabilities.max(axis=1) >= limits) & (limits < 1)
    return answered


def format_predictions(
    texts: Sequence[str],
    tokenized: TokenizedTexts,
    logits: Floats,
    *,
    labels: Sequence[str],
    kind: LabelKind,
    temperature: float = 1.0,
    windows: WindowSpec | None = None,
    thresholds: Floats | None = None,
    scores: bool = False,
) -> list[dict[str, Any]]:
    """Turn logits into what :meth:`paddlenlp_embtune.inference.Predictor.predict` returns.

    Args:
        texts: N texts, as given.
        tokenized: their W windows.
        logits: (W, C) float32.
        labels: the C labels in order.
        kind: of the labels.
        temperature: logits are divided by it.
        windows: how the windows of a text become one answer.
        thresholds: (C,) float32; None marks no answer as abstained.
        scores: include the probability of every label, and with ordered labels the expected level and its spread.
    """
    if not len(texts):  # an array of texts has no truth value
        return []
    found, decisive = kind.combine(logits, tokenized, temperature=temperature, windows=windows)
    columns = {"text": texts, **kind.columns(found, labels, thresholds=thresholds, all_scores=scores)}
    if (spans := tokenized.spans) is not None:
        rows = zip(decisive.tolist(), np.diff(tokenized.first).tolist(), strict=True)
        columns["window"] = [{"start": spans[at][0], "end": spans[at][1], "windows": count} for at, count in rows]
    answers = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for index in tokenized.cut:
        answers[index]["cut"] = True
    for blank in np.flatnonzero([not tokenized.ids[window] for window in decisive]).tolist():
        kind.clear(answers[blank])
    return answers


def without_scores(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer without what ``scores=True`` adds to it."""
    return {key: value for key, value in answer.items() if key not in _WITH_SCORES}
