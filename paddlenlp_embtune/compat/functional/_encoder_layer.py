"""A whole layer of an encoder as one operator: its parts without what Paddle's layers and autograd do between them.

Between two matrix products little is left in a processor's caches, so that every call of Python's takes ten times as long as
it does when it is repeated; here a layer is one entry in Paddle's graph of gradients, not sixteen.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional import _attention, _gelu, _layer_norm, _linear
from paddlenlp_embtune.compat.functional._arrays import Array, array_of, as_rows, empty_tensor, fresh_array
from paddlenlp_embtune.compat.functional._autograd import make_operator, save_inputs
from paddlenlp_embtune.compat.functional._dropout import draw_mask

__all__ = ["ENCODER_LAYER_PARTS", "EncoderLayerSettings", "encoder_layer"]

ENCODER_LAYER_PARTS = ("query", "key", "value", "out", "first_norm", "widen", "narrow", "second_norm")
"""The parts that have a weight, or scale, and a bias, or shift, in the order in which they are used."""


class EncoderLayerSettings(NamedTuple):
    """How a layer is set up.

    Args:
        heads: of its attention.
        attention_dropout: of attention weights.
        first_dropout: before the first sum.
        inner_dropout: behind the activation.
        second_dropout: before the second sum.
        first_epsilon: of the first norm.
        second_epsilon: of the second norm.
        bf16: as in :func:`linear`.
    """

    heads: int
    attention_dropout: float
    first_dropout: float
    inner_dropout: float
    second_dropout: float
    first_epsilon: float
    second_epsilon: float
    bf16: bool


def encoder_layer(hidden: Any, mask: Any | None, settings: EncoderLayerSettings, weights: Sequence[Any]) -> Any:
    """Attend, add, normalise; widen, apply GELU, narrow, add, normalise (Devlin et al. 2019, "BERT"; post-norm).

    Dropout takes the same draws as the parts one by one, in the same order.

    Args:
        hidden: what the layer reads.
        mask: as in :func:`attention`.
        settings: how it is set up.
        weights: weight and bias of each of ``ENCODER_LAYER_PARTS``.
    Shapes:
        hidden: (B, L, D); returns: (B, L, D)
    """
    return _operator().apply(hidden, mask, settings, *weights)


@functools.cache
def _operator() -> Any:
    return make_operator("encoder layer", _forward, _backward)


def _forward(context: Any, hidden: Any, mask: Any | None, settings: EncoderLayerSettings, *weights: Any) -> Any:
    save_inputs(context, hidden, *weights)
    wants_hidden, *wanted = context.wanted
    context.masked = mask is not None
    context.layer = _Layer(settings, weights, wanted[context.masked :], wants_hidden=wants_hidden)
    return context.layer.forward(hidden, mask)


def _backward(context: Any, gradient: Any) -> Any:
    hidden, found = context.layer.backward(gradient)
    return (hidden, *([None] * context.masked), *found)


class _Layer:
    """One pass through a layer: what its parts keep for the backward pass."""

    def __init__(
        self, settings: EncoderLayerSettings, weights: Sequence[Any], wanted: list[bool], *, wants_hidden: bool
    ) -> None:
        self._settings = settings
        self._wants_hidden = wants_hidden
        self._weights = {name: weights[2 * place : 2 * place + 2] for place, name in enumerate(ENCODER_LAYER_PARTS)}
        self._kept: dict[str, Any] = {}
        for place, name in enumerate(ENCODER_LAYER_PARTS):
            reads_hidden = name in ("query", "key", "value")
            self._kept[name] = SimpleNamespace(wanted=[wants_hidden or not reads_hidden, *wanted[2 * place : 2 * place + 2]])
        self._kept["attention"], self._kept["gelu"] = SimpleNamespace(wanted=[True] * 3), SimpleNamespace(wanted=[True])
        self._factors: dict[str, Array | None] = {}
        self._shape: list[int] = []

    def forward(self, hidden: Any, mask: Any | None) -> Any:
        """Return what the layer makes of it."""
        settings, self._shape = self._settings, hidden.shape
        hidden = as_rows(hidden)
        read = onednn.to_bfloat16(hidden) if settings.bf16 else hidden
        query, key, value = (array_of(self._linear(name, read)).reshape(self._shape) for name in ("query", "key", "value"))
        kept, arrays = self._kept["attention"], (query, key, value)
        seen = _attention.attend(kept, arrays, mask, settings.heads, settings.attention_dropout, shape=hidden.shape)
        middle = self._norm("first_norm", self._add("out", seen, hidden, settings.first_dropout), settings.first_epsilon)
        inner = _gelu.forward(self._kept["gelu"], self._linear("widen", middle))
        self._drop("inner", inner, settings.inner_dropout)
        last = self._add("narrow", inner, middle, settings.second_dropout)
        return self._norm("second_norm", last, settings.second_epsilon).reshape(self._shape)

    def backward(self, gradient: Any) -> tuple[Any | None, list[Any | None]]:
        """Return the gradients of what was read, and of the weights in their order."""
        found: dict[str, tuple[Any, Any]] = {}
        last = self._back("second_norm", as_rows(gradient), found)
        inner = self._back("narrow", self._dropped("narrow", last), found)
        wide = _gelu.backward(self._kept["gelu"], self._dropped("inner", inner))
        middle = _sum(self._back("widen", wide, found), last)
        first = self._back("first_norm", middle, found)
        seen = self._back("out", self._dropped("out", first), found)
        heads = _attention.backward(self._kept["attention"], seen)
        read = [self._back(name, arrived, found) for name, arrived in zip(("query", "key", "value"), heads, strict=False)]
        hidden = _sum(*read, first).reshape(self._shape) if self._wants_hidden else None
        return hidden, [each for name in ENCODER_LAYER_PARTS for each in found[name]]

    def _linear(self, name: str, values: Any) -> Any:
        weight, bias = self._weights[name]
        return _linear.forward(self._kept[name], values, weight, bias, self._settings.bf16)

    def _norm(self, name: str, values: Any, epsilon: float) -> Any:
        scale, shift = self._weights[name]
        return _layer_norm.forward(self._kept[name], values, scale, shift, epsilon)

    def _add(self, name: str, values: Any, other: Any, probability: float) -> Any:
        """Multiply by a weight, drop some of the result, and add what was there before."""
        out = self._linear(name, values)
        self._drop(name, out, probability)
        return _sum(out, other)

    def _drop(self, name: str, values: Any, probability: float) -> None:
        """Drop some of a result that nobody else holds."""
        factors = self._factors[name] = draw_mask(tuple(values.shape), probability) if probability else None
        if factors is not None:
            kept = fresh_array(values)
            kept *= factors

    def _dropped(self, name: str, gradient: Any) -> Any:
        factors = self._factors[name]
        if factors is None:
            return gradient
        made = empty_tensor(gradient.shape)
        np.multiply(array_of(gradient), factors, out=fresh_array(made))
        return made

    def _back(self, name: str, gradient: Any, found: dict[str, tuple[Any, Any]]) -> Any:
        """Note the gradients of a part's weight and bias; return that of what it read."""
        part = _layer_norm if name.endswith("norm") else _linear
        read, *found[name] = part.backward(self._kept[name], gradient)
        return read


def _sum(first: Any, *others: Any) -> Any:
    """Add to a result that nobody else holds."""
    total = fresh_array(first)
    for other in others:
        total += array_of(other)
    return first
