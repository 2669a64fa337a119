"""What frozen lower layers of an encoder give for a text, computed once and looked up from then on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.models._state_store import StateStore
from paddlenlp_embtune.models.adapters._layers import PromptEncoder
from paddlenlp_embtune.models.factory import embedding_name
from paddlenlp_embtune.models.layers import layer_prefix
from paddlenlp_embtune.text import pad

paddle = compat.require_paddle()

__all__ = ["LayerCache", "cacheable_layers"]

_TOKENS_AT_ONCE = 4096

Compute = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]


def cacheable_layers(model: Any) -> int:
    """Return how many layers from below are frozen, all that stands below them included; 0 where the embedding trains.

    An adapter of kind ``prompt`` comes in between the two, so nothing can be cached above it.

    Raises:
        RecipeError: the model has no layers by depth.
        HostError: the model has no parameter that is clearly the embedding.
    """
    prefix, numbers = layer_prefix(model)
    if any(isinstance(layer, PromptEncoder) for layer in model.sublayers(include_self=True)):
        return 0
    below = f"{_below(model)}."
    training = [name for name, parameter in model.named_parameters() if not parameter.stop_gradient]
    if any(name.startswith(below) for name in training):
        return 0
    frozen = (not any(name.startswith(f"{prefix}.{number}.") for name in training) for number in numbers)
    return next((depth for depth, held in enumerate(frozen) if not held), len(numbers))


class LayerCache:
    """Looks the outputs of the lowest layers up for texts that it knows, and lets the layers compute them for others.

    The lowest layers see no dropout in what is looked up, as if they were in evaluation mode.

    Args:
        model: an encoder whose layers are a numbered list, above an embedding.
        depth: how many layers from below, 1 or more; they must not change while the cache is in use.
    """

    def __init__(self, model: Any, depth: int) -> None:
        layers = dict(model.named_sublayers())
        prefix, numbers = layer_prefix(model)
        self.depth = depth
        self._model = model
        self._below = layers[_below(model)]
        self._lowest = [layers[f"{prefix}.{number}"] for number in numbers[:depth]]
        self._higher = [layers[f"{prefix}.{number}"] for number in numbers[depth:]]
        self.width = self._width()
        self._places: dict[bytes, tuple[int, int]] = {}
        self._store = StateStore(0, self.width, half=False)
        self._found = False
        self._forwards: list[tuple[Any, Any]] = []

    @property
    def store(self) -> StateStore:
        """What holds the states."""
        return self._store

    def fill(
        self,
        ids: Sequence[Sequence[int]],
        *,
        compute: Compute | None = None,
        half: bool = False,
        folder: Path | None = None,
        most_in_memory: int = 2**63,
    ) -> None:
        """Compute the outputs for texts, in an order that depends on them alone; equal ones once.

        Args:
            ids: N lists of ids without padding.
            compute: as :meth:`compute`, which it stands for; None takes that.
            half: keep half precision, unless some token's vector does not bear it: then all are kept in single precision.
            folder: of a file that holds more than ``most_in_memory`` bytes; None keeps all in memory.
            most_in_memory: bytes.
        Raises:
            OSError: the disk has no room for the file.
        """
        texts = sorted({tuple(text) for text in ids if len(text)}, key=lambda text: (len(text), text))
        rows = sum(map(len, texts))
        with self.evaluating():
            for precise in (False, True) if half else (True,):
                large = rows * self.width * (4 if precise else 2) > most_in_memory
                self._store = StateStore(rows, self.width, half=not precise, folder=folder if large else None)
                if self._fill(texts, compute or self.compute):
                    break

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Hold the model in evaluation mode, without dropout."""
        was_training = self._model.training
        self._model.eval()
        try:
            yield
        finally:
            if was_training:
                self._model.train()

    def _fill(self, texts: Sequence[Sequence[int]], compute: Compute) -> bool:
        """Write the states of texts into the store; return whether it can hold them."""
        start = 0
        self._places = {}
        while start < len(texts):
            end = start + max(1, _TOKENS_AT_ONCE // len(texts[min(start + 255, len(texts) - 1)]))
            batch = texts[start : min(end, start + 256)]
            for text, states in zip(batch, compute(pad(batch)), strict=True):
                place = self._store.append(states[: len(text)])
                if place is None:
                    return False
                self._places[_key(np.asarray(text, np.int64))] = (place, len(text))
            start += len(batch)
        return True

    def use(self) -> None:
        """Look texts up from now on."""
        self._replace(self._below, self._look_up)
        for layer in self._lowest:
            self._replace(layer, self._passing)

    def release(self) -> None:
        """Let the layers compute again."""
        for layer, forward in self._forwards:
            if forward is None:
                layer.__dict__.pop("forward", None)
            else:
                layer.__dict__["forward"] = forward
        self._forwards = []

    def _replace(self, layer: Any, make: Any) -> None:
        self._forwards.append((layer, layer.__dict__.get("forward")))
        # Not by attribute: PaddleNLP then wants the signature of its own patches.
        layer.__dict__["forward"] = make(layer.forward)

    def _look_up(self, compute: Any) -> Any:
        """Give the cached states where the embedding was asked for, if all texts of the batch are known."""

        def forward(*arguments: Any, **options: Any) -> Any:
            given = arguments[0] if arguments else options["input_ids"]
            rows = given.numpy()
            places = [self._places.get(_key(_trimmed(row))) for row in rows]
            self._found = all(place is not None for place in places)
            if not self._found:
                return compute(*arguments, **options)
            states = np.zeros((*rows.shape, self.width), np.float32)
            for number, place in enumerate(places):
                start, length = place or (0, 0)
                states[number, :length] = self._store.read(start, length)
            return paddle.to_tensor(states)

        return forward

    def _passing(self, compute: Any) -> Any:
        """Hand states on as they are, if they are the cached ones."""

        def forward(states: Any, *arguments: Any, **options: Any) -> Any:
            return states if self._found else compute(states, *arguments, **options)

        return forward

    def compute(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Let the model in evaluation mode compute what its lowest layers give: (B, L) int64 ids to (B, L, H) float32."""
        with paddle.no_grad():
            states: npt.NDArray[np.float32] = self._states_of(paddle.to_tensor(ids)).numpy()
        return states

    def lowest_layers(self) -> Any:
        """Return a layer that maps (B, L) int64 ids to (B, L, H) float32 as :meth:`compute` does, to be traced and exported."""
        self._model.eval()
        return _LowestLayers(self._model, self._states_of)

    def _states_of(self, ids: Any) -> Any:
        """Run the model, its higher layers handing on what they get, and return what the highest of the lowest answered."""
        kept: list[Any] = []

        def keeping(compute: Any) -> Any:
            def forward(*arguments: Any, **options: Any) -> Any:
                kept.append(compute(*arguments, **options))
                return kept[-1]

            return forward

        self._replace(self._lowest[-1], keeping)
        for layer in self._higher:
            self._replace(layer, _handing_on)
        try:
            self._model(ids)
        finally:
            self.release()
        return kept[0][0] if isinstance(kept[0], (tuple, list)) else kept[0]

    def _width(self) -> int:
        parameter = next(p for name, p in self._lowest[-1].named_parameters() if name.endswith("bias") and "norm" in name)
        return int(parameter.shape[0])


class _LowestLayers(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """The lowest layers of a model as a model.

    Args:
        model: whose parameters they are.
        states_of: runs it as far as these layers.
    """

    def __init__(self, model: Any, states_of: Any) -> None:
        super().__init__()
        self.model = model
        self.states_of = states_of
        self.eval()

    def forward(self, input_ids: Any) -> Any:
        """Map (B, L) int64 ids to (B, L, H) float32."""
        return self.states_of(input_ids)


def _handing_on(_: Any) -> Any:
    def forward(states: Any, *_: Any, **__: Any) -> Any:
        return states

    return forward


def _below(model: Any) -> str:
    """Name of the layer that holds the token embedding and all that is added to it."""
    return embedding_name(model).rsplit(".", 2)[0]


def _trimmed(row: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return row[: int(np.count_nonzero(row))]


def _key(ids: npt.NDArray[np.int64]) -> bytes:
    return ids.astype(np.int32).tobytes()
