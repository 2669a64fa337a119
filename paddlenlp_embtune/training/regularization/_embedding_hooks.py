"""What a model looks up in its embedding during a training step: dropped by whole tokens, moved by small changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import forward_hook
from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.models import embedding_name

paddle = compat.require_paddle()

__all__ = ["EmbeddingHooks", "Perturbations", "drop_tokens"]


def drop_tokens(ids: Any, *, chance: float, padding: int | None, passes: int = 1) -> Any:
    """Draw the factors by which looked-up rows are multiplied: 0 for a dropped token, the same wherever it stands.

    Args:
        ids: what is looked up.
        chance: that a token is dropped, 0 or more and below 1.
        padding: the id whose factor is 1; None takes all ids for tokens.
        passes: so many equal parts of the rows that draw for themselves.
    Shapes:
        ids: (B, ...) integers; returns: (B, ..., 1) float32, 0, 1 or 1 / (1 - chance)
    Source:
        Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models", section 4.3
    """
    tokens, places = paddle.unique(ids.flatten(), return_inverse=True)
    kept = (paddle.rand([passes, tokens.shape[0]]) >= chance).astype("float32") / (1 - chance)
    if padding is not None:
        kept = paddle.where((tokens == padding).unsqueeze(0), paddle.ones_like(kept), kept)
    first = paddle.arange(passes, dtype=places.dtype).unsqueeze(1) * tokens.shape[0]
    factors = paddle.gather(kept.flatten(), (places.reshape([passes, -1]) + first).flatten())
    return factors.reshape([*ids.shape, 1])


class Perturbations:
    """Small changes that are added to looked-up rows, one for each lookup of a pass, in the order of the lookups.

    Args:
        start: draws the first change from (rows, mask of tokens). Asked in every pass, so that whatever the pass draws after
            it is the same.
    """

    def __init__(self, start: Callable[[Any, Any], Any]) -> None:
        self.start = start
        self.values: list[Any] = []
        self._masks: list[Any] = []
        self._place = 0

    def add(self, rows: Any, mask: Any) -> Any:
        """Add the change whose turn it is.

        Shapes:
            rows: (B, ..., D); mask: (B, ..., 1), 1 for tokens and 0 for padding
        """
        begin = self.start(rows, mask)
        if self._place == len(self.values):
            self.values.append(_leaf(begin))
            self._masks.append(mask)
        change = self.values[self._place]
        self._place += 1
        if change.shape != rows.shape:
            raise HostError(
                f"two passes over one batch look up {tuple(change.shape)} and {tuple(rows.shape)} rows; adversarial "
                "training needs equal passes, so set regularization.adversarial to null"
            )
        return rows + change.astype(rows.dtype)

    def move(self, rule: Callable[[Any, Any], Any], *, last: bool) -> None:
        """Replace every change by rule(change, its gradient), and begin the next pass.

        Args:
            rule: gets (B, ..., D) float32 tensors; the gradient of padding is 0.
            last: no gradients of the changes will be wanted any more.
        """
        with paddle.no_grad():
            for place, (change, mask) in enumerate(zip(self.values, self._masks, strict=True)):
                gradient = paddle.zeros_like(change) if change.grad is None else change.grad
                moved = rule(change.detach(), gradient * mask)
                self.values[place] = moved.detach() if last else _leaf(moved)
        self._place = 0


class EmbeddingHooks:
    """The layers that look tokens up in a model's embedding.

    Args:
        model: anybody's; it may state the id of padding as ``padding_id``.
        chance: that a token is dropped, 0 or more and below 1.
    Raises:
        HostError: the model has no parameter that is clearly the embedding.
        RecipeError: no ``nn.Embedding`` looks it up.
    """

    def __init__(self, model: Any, *, chance: float = 0.0) -> None:
        self.name = embedding_name(model)
        self.kind = type(model).__name__
        self.layers = compat.embedding_layers(model, dict(model.named_parameters())[self.name])
        if not self.layers:
            raise RecipeError(self._refusal())
        self.padding = _padding(model, self.layers)
        self.chance = chance
        self.changes: Perturbations | None = None
        self.mix: Callable[[Any], Any] | None = None
        self.passes = 1
        self._seen = 0

    @contextlib.contextmanager
    def changed(self) -> Iterator[None]:
        """Change what is looked up, for the time being.

        Raises:
            RecipeError: none of the layers was called meanwhile.
        """
        self._seen = 0
        try:
            with forward_hook(self.layers, self._change):
                yield
        finally:
            self.changes = None
        if not self._seen:
            raise RecipeError(self._refusal())

    def _change(self, layer: Any, inputs: Any, rows: Any) -> Any:
        self._seen += 1
        ids = inputs[0]
        if self.chance:
            factors = drop_tokens(ids, chance=self.chance, padding=self.padding, passes=self.passes)
            rows = rows * factors.astype(rows.dtype)
        if self.mix is not None:
            rows = self.mix(rows)
        if self.changes is not None:
            mask = paddle.ones_like(ids) if self.padding is None else ids != self.padding
            rows = self.changes.add(rows, mask.astype("float32").unsqueeze(-1))
        return rows

    def _refusal(self) -> str:
        return (
            f"{self.kind} reads {self.name!r} without calling an nn.Embedding, so what it looks up cannot be changed; "
            "such a model can use label_smoothing and r_drop; switch embedding_dropout and adversarial off"
        )


def _leaf(values: Any) -> Any:
    leaf = values.detach()
    leaf.stop_gradient = False
    return leaf


def _padding(model: Any, layers: list[Any]) -> int | None:
    """Return the id of padding: the one that the model states, its layer's, or that of a configuration, as PaddleNLP has it."""
    configs = [getattr(layer, "config", None) for layer in model.sublayers(include_self=True)]
    stated = [getattr(model, "padding_id", None), compat.padding_row(layers)]
    stated += [getattr(config, "pad_token_id", None) for config in configs]
    return next((number for number in stated if isinstance(number, int)), None)
