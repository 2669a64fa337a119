"""Occlusion: how much each token adds to the log-odds of a label, found by leaving tokens out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.inference.explain import Attribution
from paddlenlp_embtune.text import PAD_ID

__all__ = ["log_odds", "occlude"]

_WIDTHS, _ZOOM = (1, 2, 4), 8
_TOKENS_PER_TEXT, _TOKENS_PER_RUN = 1 << 16, 1 << 14

Run = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
LogOdds = Callable[..., npt.NDArray[np.float64]]


def log_odds(logits: npt.NDArray[np.float32], *, label: int, temperature: float) -> npt.NDArray[np.float64]:
    """Turn (B, C) logits into ln(p / (1 - p)) of a label, (B,) float64."""
    scaled = logits.astype(np.float64) / temperature
    return np.subtract(scaled[:, label], np.logaddexp.reduce(np.delete(scaled, label, axis=1), axis=1))


def occlude(
    run: Run,
    ids: Sequence[int],
    *,
    label: int,
    temperature: float = 1.0,
    fixed: tuple[int, int] = (0, 0),
    log_odds: LogOdds = log_odds,
) -> Attribution:
    """Leave windows of 1, 2 and 4 tokens out, and find the contributions that add up to the drops best.

    What is left is closed up and padded on the right, which no answer depends on: export proves it (``verify_padding``).
    No model is proven to ignore padding in the middle, and the vector of the unknown token is often untrained. Contributions
    are the least-squares solution in which those of a window sum to its drop: where a character can be left out because its
    neighbours say the same, they share the drop. In long texts, only the eight strongest blocks are searched: 450 rows at most.

    Args:
        run: the engine's.
        ids: of one text.
        label: the class to explain.
        temperature: logits are divided by it.
        fixed: how many ids before and after the text's own the tokenizer added; they are never left out.
        log_odds: turns logits into log-odds of the label, as its kind has it.
    Source:
        Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2; the additive fit as in
        Ribeiro et al. 2016, "Why Should I Trust You?", section 3.4, with windows in place of random samples
    """
    length, tokens = len(ids) - sum(fixed), np.asarray(ids, dtype=np.int64)

    def drops(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        masks = np.pad(masks, ((0, 0), fixed))
        order = masks.argsort(axis=1, kind="stable")
        batch = np.where(np.take_along_axis(masks, order, axis=1), PAD_ID, tokens[order])
        rows = max(1, _TOKENS_PER_RUN // len(tokens))
        logits = [run(batch[start : start + rows]) for start in range(0, len(batch), rows)]
        lost: npt.NDArray[np.float64] = whole - log_odds(np.concatenate(logits), label=label, temperature=temperature)
        return lost

    def windows(firsts: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.bool_]:
        return (np.arange(length) >= firsts[:, None]) & (np.arange(length) < firsts[:, None] + width)

    whole = log_odds(run(tokens[None]), label=label, temperature=temperature)[0]
    (difference,) = drops(np.ones((1, length), dtype=np.bool_)).tolist()
    starts, block = np.arange(length), 1
    masks, found = np.zeros((0, length), dtype=np.bool_), np.zeros(0)
    while len(_WIDTHS) * length**2 > _TOKENS_PER_TEXT and length > 64 * block:
        block *= _ZOOM
    while block > 1:
        firsts = starts[starts % block == 0]
        coarse = windows(firsts, block)
        masks, found = np.concatenate([masks, coarse]), np.concatenate([found, drops(coarse)])
        strongest = firsts[np.argsort(-np.abs(found[-len(firsts) :]))[:_ZOOM]]
        starts = starts[np.isin(starts - starts % block, strongest)]
        block //= _ZOOM
    fine = np.concatenate([windows(starts, width) for width in _WIDTHS])
    masks, found = np.concatenate([masks, fine]), np.concatenate([found, drops(fine)])
    contributions = np.linalg.lstsq(masks.astype(np.float64), found, rcond=None)[0]
    return Attribution("occlusion", contributions.astype(np.float32), difference)
