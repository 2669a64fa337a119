"""Several heads on one network: the weights that belong to a label set, exchanged for those of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import BundleError, RecipeError
from paddlenlp_embtune.models.factory import build_model

paddle = compat.require_paddle()

__all__ = ["head_arrays", "head_names", "set_former_head", "with_head"]

Arrays = Mapping[str, npt.NDArray[np.float32]]

_SIZES = ("vocabulary_size", "dimension", "num_labels")
_OF_A_HEAD = ("head.", "ngram_share")
"""What belongs to a head whatever its shape; whose shape depends on the number of labels belongs to it anyway."""


def head_names(model: Any, name: str) -> frozenset[str]:
    """Return the names of the weights that belong to a model's head, and not to the network below.

    Args:
        model: of a registered kind.
        name: what it is registered as.
    """
    larger = _built(model, name, int(model.config()["num_labels"]) + 1).state_dict()
    return frozenset(
        key
        for key, value in model.state_dict().items()
        if key.startswith(_OF_A_HEAD) or tuple(larger[key].shape) != tuple(value.shape)
    )


def head_arrays(model: Any, name: str) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of a model's head by their names."""
    weights = model.state_dict()
    return {key: weights[key].numpy() for key in sorted(head_names(model, name))}


def with_head(model: Any, name: str, num_labels: int, arrays: Arrays | None = None) -> Any:
    """Build a model again with another head on the same network.

    Args:
        model: of a registered kind.
        name: what it is registered as.
        num_labels: C of the other head.
        arrays: its weights; None for a new head.
    Raises:
        BundleError: the weights are not those of such a head.
    """
    names, before = head_names(model, name), model.state_dict()
    other = _built(model, name, num_labels)
    for key, value in other.state_dict().items():
        if key not in names:
            value.set_value(before[key])
        elif arrays is not None:
            if key not in arrays or arrays[key].shape != tuple(value.shape):
                raise BundleError(f"the head that is kept has no {key!r} of shape {list(value.shape)}; train it again")
            value.set_value(arrays[key])
    other.eval()
    return other


def set_former_head(model: Any, former: Any) -> None:
    """Let a model answer by a former linear head too, while it trains: ``former_logits(features)``; the head stays as it is.

    Raises:
        RecipeError: there is no vector of a text below a linear head.
    """
    head = getattr(former, "head", None)
    if not isinstance(head, paddle.nn.Linear) or not hasattr(model, "features"):
        raise RecipeError(
            f"lwf and multitask with another label set need a linear head on the vector of a text, which "
            f"{type(former).__name__} has not; leave lwf out"
        )
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    model.former_logits = lambda features: paddle.matmul(features, weight) + bias


def _built(model: Any, name: str, num_labels: int) -> Any:
    options = {**model.config(), "num_labels": num_labels}
    sizes = {size: options.pop(size) for size in _SIZES}
    return build_model(name, **sizes, options=options)
