"""A trained classifier with further labels behind its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.models._ngram_continuation import with_more_labels
from paddlenlp_embtune.models.factory import build_model

__all__ = ["grown", "with_labels"]

_SIZES = ("vocabulary_size", "dimension", "num_labels")


def with_labels(model: Any, name: str, num_labels: int) -> Any:
    """Build a model again with more labels; what it knows of its own stays, bit for bit, and the rest is new.

    Args:
        model: of a registered kind, with a linear head.
        name: what it is registered as.
        num_labels: C, more than it has.
    Raises:
        RecipeError: its head is for ordered labels, between which a new one would have to find a place.
        HostError: a weight does not grow at the end of one axis.
    """
    if getattr(getattr(model, "head", None), "ordered", False):
        raise RecipeError(
            f"continual.new_labels cannot be added to the {type(model).__name__}, whose labels are ordered; train anew with "
            "all labels in their order"
        )
    config = model.config()
    former = int(config["num_labels"])
    options = {**config, "num_labels": num_labels}
    larger = build_model(name, **{size: options.pop(size) for size in _SIZES}, options=options)
    before = model.state_dict()
    for key, value in larger.state_dict().items():
        if key not in before:
            raise HostError(f"{key!r} of {type(model).__name__} is there only with {num_labels} labels; train a new model")
        old = before[key].numpy()
        value.set_value(
            with_more_labels(old, former, num_labels) if key == "ngram_table" else _laid_over(value.numpy(), old, key)
        )
    if "ngram_bias" in before:
        known = before["ngram_bias"].numpy()
        unlikely = np.full(num_labels - former, known.min(), dtype=known.dtype)
        larger.ngram_bias.set_value(np.concatenate([known, unlikely]))
    larger.eval()
    return larger


def grown(old: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return an array with zeros behind its values along each axis, up to a shape."""
    return np.pad(old, [(0, wide - size) for size, wide in zip(old.shape, shape, strict=True)])


def _laid_over(new: npt.NDArray[np.float32], old: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    fits = new.ndim == old.ndim and all(size <= wide for size, wide in zip(old.shape, new.shape, strict=True))
    if not fits:
        raise HostError(f"{name!r} has the shape {old.shape} and cannot become {new.shape}; train a new model")
    laid: npt.NDArray[np.float32] = new.copy()
    laid[tuple(slice(size) for size in old.shape)] = old
    return laid
