"""The part of a recipe about the network: which one, on which encoder, and with which options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require

__all__ = ["PRETRAINED", "ModelSpec", "is_folder"]

PRETRAINED = "pretrained"


def is_folder(encoder: str) -> bool:
    """Whether an encoder is stated as a folder, and not by a name, which may hold points and slashes too."""
    return encoder.startswith(("/", "./", "../")) or encoder in (".", "..")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network, and its own options.

    Args:
        name: a registered model.
        encoder: a pretrained encoder under a new classifier: its registered name, PaddleNLP's name for it, or a folder, written
            with ``./`` or ``/`` in front; its tokenizer and its embedding come with it, and ``text.terms`` extend them.
        start: path of a bundle that training continues from, with its tokenizer, its embedding and all its weights;
            ``text.terms`` extend it; the rest of ``text`` but the lengths, ``vectors`` and ``name`` are then the bundle's.
            What a model fits before training, such as the n-gram regression of the text CNN, is fitted again to the run's rows.
        options: passed to the model as they are; the model refuses those it does not know.
    """

    name: str = "textcnn"
    encoder: str | None = None
    start: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self, where="model", error=RecipeError)
        require(self.start != "", "model.start", self.start, "the path of a bundle, or null")
        require(self.encoder != "", "model.encoder", self.encoder, "a name, or a folder such as ./encoder, or null")
        two = self.start is not None and self.encoder is not None
        require(not two, "model.encoder", self.encoder, "null beside model.start, whose bundle has its encoder")
        if self.encoder is not None:
            require(self.name in ("textcnn", PRETRAINED), "model.name", self.name, "left out beside model.encoder")
            object.__setattr__(self, "name", PRETRAINED)
        if self.name == PRETRAINED:
            stated = self.options.get("adapter")
            require(stated is None, "model.options.adapter", stated, "left out here and stated in the recipe's part adapter")
            for part in ("architecture", "settings"):
                require(part not in self.options, f"model.options.{part}", self.options.get(part), "the encoder's own")
        bare = self.name == PRETRAINED and self.encoder is None and self.start is None
        require(not bare, "model.encoder", self.encoder, f"a name or a folder for the model {PRETRAINED}")
        both = self.start is not None and bool(self.options)
        require(not both, "model.options", dict(self.options), "empty beside model.start, which brings its own")
