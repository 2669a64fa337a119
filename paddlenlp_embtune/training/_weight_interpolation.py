"""Weights between those of the former bundle and those after training, as near to the former ones as costs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.models import grown

__all__ = ["SHARES", "choose_new_share", "interpolate_weights", "set_weights"]

Arrays = Mapping[str, npt.NDArray[np.float32]]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_CHOSEN_LATER = ("ngram_share",)


def interpolate_weights(former: Arrays, new: Arrays, share: float) -> dict[str, npt.NDArray[np.float32]]:
    """Return ``(1 - share) * former + share * new``; what only the new weights have stays as it is there.

    Args:
        former: arrays by name; along an axis they may be shorter than the new ones, which have grown behind them.
        new: arrays by name.
        share: of the new ones, 0 to 1.
    Source:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation 1
    """
    found = {}
    for name, values in new.items():
        if name not in former or name in _CHOSEN_LATER or not np.issubdtype(values.dtype, np.floating):
            found[name] = values
            continue
        old, shape = former[name], values.shape
        part = grown(np.full(old.shape, 1.0 - share, dtype=np.float32), shape)
        found[name] = (part * grown(old, shape) + (1 - part) * values).astype(values.dtype)
    return found


def choose_new_share(right: Callable[[float], npt.NDArray[np.float64]], *, errors: float) -> tuple[float, dict[float, float]]:
    """Return the least share of new weights that is as good as the best, as far as rows can tell, and the accuracies.

    A share is as good if it is behind by no more than so many standard errors of the difference, taken row by row from which
    of the two is right.

    Args:
        right: which of N rows a share answers correctly, (N,) of 0 and 1.
        errors: standard errors that may be given up.
    Source:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3: the rule of one standard error
    """
    found = {share: right(share) for share in SHARES}
    accuracies = {share: float(hits.mean()) for share, hits in found.items()}
    best = max(SHARES, key=lambda share: (accuracies[share], share))
    for share in SHARES:
        difference = found[best] - found[share]
        if accuracies[best] - accuracies[share] <= errors * float(difference.std()) / math.sqrt(len(difference)):
            return share, accuracies
    return best, accuracies


def set_weights(model: Any, weights: Arrays) -> None:
    """Put arrays into a model's parameters and buffers."""
    for name, value in model.state_dict().items():
        value.set_value(weights[name])
