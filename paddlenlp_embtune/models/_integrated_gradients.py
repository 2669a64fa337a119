"""Integrated gradients: what each token adds to an answer, by following the answer from padding to the text."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.inference import Attribution
from paddlenlp_embtune.models._ngram_regression import CHECK_MODULUS, ngram_codes
from paddlenlp_embtune.models.factory import embedding_name
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.text import PAD_ID

paddle = compat.require_paddle()

__all__ = ["Parts", "attribute", "parts_of"]

_FIRST_STEPS = 54
_MOST_STEPS = 4374
_TOLERANCE = 5e-4
_TOKENS_PER_RUN = 1 << 14

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Parts:
    """The ways that ids take through a model: ``model(ids) = through(ids) + beside(ids).sum(over tokens) + constant``.

    Args:
        through: maps (B, L) ids to the (B, C) logits of whatever uses ids to look the embedding up and, at most, to tell
            padding from other tokens.
        beside: maps the (L,) ids of a text to the (L, C) logits that reach the answer in another way; None if none do.
        constant: (C,) logits that are in neither.
    """

    through: Callable[[Any], Any]
    beside: Callable[[Ids], npt.NDArray[np.float32]] | None = None
    constant: npt.NDArray[np.float32] | float = 0.0


@functools.singledispatch
def parts_of(model: Any) -> Parts:
    """Return the parts of a model; all goes through the embedding unless ``parts_of.register`` says otherwise."""
    return Parts(through=model)


@parts_of.register(TextCNN)
def _(model: Any) -> Parts:
    """The network, and the regression: the exact logits of each n-gram, in equal parts to its tokens."""
    if not model.ngram_buckets:
        return Parts(through=model)
    share, table, labels = float(model.ngram_share.item()), model.ngram_table.numpy(), model.num_labels

    def beside(ids: Ids) -> npt.NDArray[np.float32]:
        spread = np.zeros((len(ids), model.num_labels), np.float32)
        squares = 1e-6
        for later, codes in enumerate(ngram_codes(ids, model.ngram_length)):
            found = table[np.where(ids[later:] != PAD_ID, codes % (len(table) - 1) + 1, PAD_ID)]
            if model.ngram_checked:
                found = np.where((found[:, -1] == codes % CHECK_MODULUS)[:, None], found, 0.0)
            squares += found[:, labels].sum()
            for place in range(later + 1):
                spread[place : place + len(found)] += found[:, :labels] / (later + 1)
        spread *= share / np.sqrt(squares)
        return spread

    network: Callable[[Any], Any] = lambda ids: model.head(model.features(ids)) * (1.0 - share)  # noqa: E731
    return Parts(network, beside, model.ngram_bias.numpy() * share)


def attribute(
    model: Any, ids: Sequence[int], *, label: int, temperature: float = 1.0, fixed: tuple[int, int] = (0, 0)
) -> Attribution:
    """Attribute the log-odds of a label to the tokens of one text by integrated gradients.

    The path is straight: every token's vector goes from that of padding to its own, and the logits beside the embedding (see
    ``Parts``) from none to all of them. Steps are trebled until the contributions add up, or there are 4,374.

    Args:
        model: a layer in evaluation mode that nothing else uses meanwhile: its embedding is exchanged for a while.
        ids: of one text, without padding.
        label: the class to explain.
        temperature: logits are divided by it.
        fixed: how many ids before and after the text's own the tokenizer added; they stay what they are all the way.
    Raises:
        HostError: the path does not end at the model's answer, as it uses ids in ways that ``parts_of`` does not know.
    Source:
        Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", equation 1; the midpoint rule
    """
    path = _Path(model, np.asarray(ids, dtype=np.int64), label=label, temperature=temperature, fixed=fixed)
    own = slice(fixed[0], len(ids) - fixed[1])
    compat.fix_layer_norm_gradients(model, always=True)
    try:
        total, difference = _integrate(path)
    finally:
        compat.restore_layer_norms(model)
    return Attribution("integrated_gradients", total[own].astype(np.float32), difference)


def _integrate(path: _Path) -> tuple[Floats, float]:
    """Follow a path until the contributions of the tokens, (L,), add up to the difference of the log-odds."""
    difference = path.difference()
    steps = _FIRST_STEPS
    total = path.slopes((np.arange(steps) + 0.5) / steps)
    while abs(total.sum() / steps - difference) > _TOLERANCE and steps < _MOST_STEPS:
        steps *= 3
        # Every third midpoint has been there before.
        total += path.slopes((np.flatnonzero(np.arange(steps) % 3 != 1) + 0.5) / steps)
    return total / steps, difference


class _Path:
    """The straight way from padding to a text, for one label."""

    def __init__(self, model: Any, ids: Ids, *, label: int, temperature: float, fixed: tuple[int, int]) -> None:
        self._model, self._ids, self._label, self._temperature = model, ids, label, temperature
        name = embedding_name(model)
        self._owner = functools.reduce(getattr, name.split(".")[:-1], model)
        self._name = name.rpartition(".")[2]
        table = getattr(self._owner, self._name).detach()
        moving = np.ones((len(ids), 1), dtype=np.float32)
        moving[: fixed[0]] = moving[len(ids) - fixed[1] :] = 0.0
        self._padding, end = table[PAD_ID], table[paddle.to_tensor(ids)]
        self._way = (end - self._padding) * paddle.to_tensor(moving)
        self._start = end - self._way
        self._parts = parts_of(model)
        self._spread = None if self._parts.beside is None else self._parts.beside(ids)

    def difference(self) -> float:
        """Return the log-odds at the end less those at the start.

        Raises:
            HostError: the end is not the model's own answer.
        """
        with paddle.no_grad():
            start, end = self._log_odds(self._logits(np.array([0.0, 1.0]))[0]).tolist()
            real = float(self._log_odds(self._model(paddle.to_tensor(self._ids[None]))).item())
        if not abs(end - real) < 1e-3:
            raise HostError(
                f"integrated gradients through the embedding of {type(self._model).__name__} end at the log-odds {end:.4f}, "
                f"the model answers {real:.4f}: it uses ids for more than its embedding; register its parts with "
                "paddlenlp_embtune.models._integrated_gradients.parts_of, or explain by occlusion"
            )
        return float(end - start)

    def slopes(self, shares: Floats) -> Floats:
        """Sum over places on the way, as shares of it, what each token adds to the slope there, (L,) float64."""
        total = np.zeros(len(self._ids))
        rows = max(1, _TOKENS_PER_RUN // len(self._ids))
        for first in range(0, len(shares), rows):
            logits, vectors = self._logits(shares[first : first + rows])
            by_vector, by_logit = paddle.grad(self._log_odds(logits).sum(), [vectors, logits])
            total += (by_vector.sum(axis=0) * self._way).sum(axis=-1).numpy()
            if self._spread is not None:
                total += self._spread @ by_logit.sum(axis=0).numpy()
        return total

    def _logits(self, shares: Floats) -> tuple[Any, Any]:
        """Logits (S, C) at places on the way, and the vectors (S, L, D) there, each with a row of the exchanged table."""
        along = paddle.to_tensor(shares.astype(np.float32))
        vectors = self._start + along.reshape([-1, 1, 1]) * self._way
        vectors.stop_gradient = False
        rows = paddle.concat([self._padding.unsqueeze(0), vectors.reshape([-1, vectors.shape[-1]])])
        numbers = paddle.arange(1, rows.shape[0], dtype="int64").reshape(vectors.shape[:2])
        with _instead(self._owner, self._name, rows):
            logits = self._parts.through(numbers)
        beside = np.float32(0.0) if self._spread is None else shares[:, None] * self._spread.sum(axis=0)
        return logits + paddle.to_tensor((beside + self._parts.constant).astype(np.float32)), vectors

    def _log_odds(self, logits: Any) -> Any:
        """Map (B, C) logits to (B,) log-odds."""
        others = [number for number in range(logits.shape[1]) if number != self._label]
        scaled = logits / self._temperature
        return scaled[:, self._label] - paddle.logsumexp(paddle.index_select(scaled, paddle.to_tensor(others), axis=1), axis=1)


@contextlib.contextmanager
def _instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let an attribute of the object stand before the layer's parameter of the same name."""
    vars(owner)[name] = value
    try:
        yield
    finally:
        del vars(owner)[name]
