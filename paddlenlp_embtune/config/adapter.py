"""The part of a recipe about adapters, which tune an encoder with few parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most, require_name

__all__ = ["ADAPTER_KINDS", "AdapterSpec"]

_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "lora": {"rank": 8, "alpha": 16.0, "dropout": 0.0, "targets": ("q_proj", "v_proj")},
    "prefix": {"tokens": 16},
    "prompt": {"tokens": 16},
    "houlsby": {"bottleneck": 32},
}

ADAPTER_KINDS = tuple(_OPTIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """An adapter: few new parameters inside an encoder, which train with the head while all else stays bit-equal.

    Options that a kind does not take must be left out; those that it takes are filled in.

    Args:
        kind: ``lora`` adds a product of two thin matrices to linear layers, and can be folded into them after training;
            ``prefix`` gives each layer's attention trained keys and values, as P-tuning v2 does; ``prompt`` puts trained
            vectors before those of the tokens, below the lowest layer; ``houlsby`` puts a small network behind attention and
            behind feed-forward of each layer.
        rank: for ``lora``, the inner width of the product, 1 or more; None takes 8.
        alpha: for ``lora``, the product is multiplied by alpha / rank, above 0; None takes 16.
        dropout: for ``lora``, share of the product's inputs that are dropped in training; None takes 0.
        targets: for ``lora``, patterns of names of the encoder's linear layers, whole or their last part, ``*`` stands for
            anything; None takes the projections of queries and values, ``q_proj`` and ``v_proj``.
        tokens: for ``prefix`` and ``prompt``, how many keys and values, or vectors, 1 or more; None takes 16.
        bottleneck: for ``houlsby``, the inner width of the small networks, 1 or more; None takes 32.
        train_embedding: also train the token embedding.
        train_norms: also train the encoder's layer norms; None does for ``houlsby``, whose paper does.
        train_pooler: train the encoder's pooler as part of the head, where answers depend on it.
    Source:
        Hu et al. 2021, "LoRA", sections 4.1 and 4.2; Liu et al. 2022, "P-Tuning v2"; Lester et al. 2021, "The Power of Scale
        for Parameter-Efficient Prompt Tuning"; Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP"
    """

    kind: str = "lora"
    rank: int | None = None
    alpha: float | None = None
    dropout: float | None = None
    targets: tuple[str, ...] | None = None
    tokens: int | None = None
    bottleneck: int | None = None
    train_embedding: bool = False
    train_norms: bool | None = None
    train_pooler: bool = True

    def __post_init__(self) -> None:
        check_types(self, where="adapter", error=RecipeError)
        require_name("adapter.kind", self.kind, ADAPTER_KINDS)
        taken = _OPTIONS[self.kind]
        spare = [name for options in _OPTIONS.values() for name in options if name not in taken]
        for name in spare:
            value = getattr(self, name)
            require(value is None, f"adapter.{name}", value, f"left out for {self.kind!r}, which takes {', '.join(taken)}")
        for name, default in taken.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        if self.train_norms is None:
            object.__setattr__(self, "train_norms", self.kind == "houlsby")
        for name in ("rank", "tokens", "bottleneck"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"adapter.{name}", value, "1 or more")
            require_at_most(f"adapter.{name}", value, 65_536)
        require(self.alpha is None or self.alpha > 0, "adapter.alpha", self.alpha, "above 0")
        require(self.dropout is None or 0 <= self.dropout < 1, "adapter.dropout", self.dropout, "0 or more and below 1")
        require(self.targets != (), "adapter.targets", self.targets, "one or more patterns of names of linear layers, or null")

    def same_structure_as(self, other: AdapterSpec) -> bool:
        """Whether another adapter is of the same kind and options, whatever trains beside it."""
        return self.kind == other.kind and all(getattr(self, name) == getattr(other, name) for name in _OPTIONS[self.kind])
