"""The diagonal of the Fisher information of a model's parameters, estimated on rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.models import embedding_name

paddle = compat.require_paddle()

__all__ = ["diagonal_fisher", "online_fisher"]

Arrays = dict[str, npt.NDArray[np.float32]]


def diagonal_fisher(model: Any, rows: Sequence[Sequence[int]], *, count: int, seed: int) -> Arrays:
    """Return the mean over rows of the squared gradient of the log-likelihood, of a label that the model itself draws.

    The gradient is that of the network as it is trained, without dropout: of a text CNN without its regression, which has no
    gradient.

    Args:
        model: a classifier.
        rows: N lists of ids to estimate it on.
        count: how many of them are drawn; all where there are fewer.
        seed: of the rows and the labels that are drawn.
    Returns:
        Values by the names of the parameters, in their shapes, float32.
    Source:
        Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", section 2; labels drawn from the
        model as in Martens 2014, "New insights and perspectives on the natural gradient method", section 5
    """
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(rows))[:count]
    draws = generator.random(len(chosen))
    names = {name: parameter for name, parameter in model.named_parameters() if "float" in str(parameter.dtype)}
    sums = {name: np.zeros(parameter.shape, dtype=np.float32) for name, parameter in names.items()}
    with _trainable(model, names):
        for row, draw in zip(chosen, draws, strict=True):
            ids = paddle.to_tensor(np.asarray(rows[row], dtype=np.int64)[None, :])
            logits = _network_logits(model, ids).astype("float32")
            cumulative = np.cumsum(paddle.nn.functional.softmax(logits).numpy()[0].astype(np.float64))
            label = min(int(np.searchsorted(cumulative, draw * cumulative[-1], side="right")), len(cumulative) - 1)
            paddle.nn.functional.cross_entropy(logits, paddle.to_tensor([label])).backward()
            for name, parameter in names.items():
                _add_squares(sums[name], parameter)
                parameter.clear_gradient(False)
    padding = sums.get(embedding_name(model))
    if padding is not None:
        padding[0] = 0.0
    return {name: values / np.float32(max(len(chosen), 1)) for name, values in sums.items()}


def online_fisher(former: Mapping[str, npt.NDArray[np.float32]] | None, new: Arrays, *, decay: float) -> Arrays:
    """Return the Fisher information of all tasks so far: the former one, which counts less where so wanted, and the new one.

    The former one may be of fewer rows of the embedding or labels, which are the first ones.

    Source:
        Schwarz et al. 2018, "Progress & Compress: A scalable framework for continual learning", section 3.2
    """
    found = {name: values.copy() for name, values in new.items()}
    for name, values in (former or {}).items():
        if name in found:
            found[name][tuple(slice(size) for size in values.shape)] += np.float32(decay) * values
    return found


def _network_logits(model: Any, ids: Any) -> Any:
    """Logits of the network that is trained, which a text CNN averages with a regression outside of training."""
    if hasattr(model, "features") and hasattr(model, "head"):
        return model.head(model.features(ids))
    return model(ids)


def _add_squares(total: npt.NDArray[np.float32], parameter: Any) -> None:
    if parameter.grad is None:
        return
    values, numbers = compat.gradient_values(parameter), compat.gradient_rows(parameter)
    if numbers is None:
        total += np.square(values.numpy())
        return
    dense = np.zeros_like(total)
    np.add.at(dense, numbers, values.numpy())
    total += np.square(dense)


@contextlib.contextmanager
def _trainable(model: Any, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Give every parameter a gradient while the model is in evaluation mode."""
    frozen = {name: parameter.stop_gradient for name, parameter in parameters.items()}
    was_training = model.training
    model.eval()
    for parameter in parameters.values():
        parameter.stop_gradient = False
        parameter.clear_gradient(False)
    try:
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.stop_gradient = frozen[name]
        if was_training:
            model.train()
