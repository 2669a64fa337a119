"""The loss of a run: a registered one, with the weights of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.data import EncodedDataset
from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.plugin import cause, registry
from paddlenlp_embtune.utils.json_yaml import shorten

paddle = compat.require_paddle()

__all__ = ["build_criterion", "class_weights", "row_weights_of"]


def build_criterion(name: str, weights: npt.NDArray[np.float32]) -> Any:
    """Make a registered loss, and try that of a plugin on four rows before anything is trained with it.

    Raises:
        PluginError: it cannot be made or called as its contract says, or gives no finite scalar.
    """
    known = registry.current()
    criterion = known.guarded("loss", name)(class_weights=weights)
    if known.owner("loss", name) == registry.BUILTIN:
        return criterion
    logits = paddle.to_tensor(np.linspace(-1.0, 1.0, 4 * len(weights), dtype=np.float32).reshape(4, -1))
    labels = paddle.to_tensor(np.arange(4, dtype=np.int64) % len(weights))
    try:
        with paddle.no_grad():
            found = criterion(logits, labels)
    except EmbtuneError:
        raise
    except Exception as error:
        raise known.breach("loss", name, f"gives a callable that raised {cause(error)}") from error
    if not isinstance(found, paddle.Tensor) or found.numel() != 1 or not np.isfinite(float(found)):
        raise known.breach("loss", name, f"gives a callable that returned {shorten(found)}")
    return criterion


def row_weights_of(rows: EncodedDataset, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """What each row counts in the mean that the cross-entropy is: the weight of its class."""
    found: npt.NDArray[np.float64] = weights[np.asarray(rows.labels)].astype(np.float64)
    return found


def class_weights(labels: Sequence[int], num_labels: int, *, balance: float) -> npt.NDArray[np.float32]:
    """Weights that are inverse to the frequency of a class, to the power of ``balance``; their mean over all rows is 1.

    Shapes:
        returns: (C,) float32
    Source:
        King and Zeng 2001, "Logistic Regression in Rare Events Data", section 4.2, for ``balance`` 1
    """
    counts = np.maximum(np.bincount(labels, minlength=num_labels), 1)
    weights = counts.astype(np.float64) ** -balance
    scaled: npt.NDArray[np.float64] = weights * counts.sum() / (weights * counts).sum()
    return scaled.astype(np.float32)
