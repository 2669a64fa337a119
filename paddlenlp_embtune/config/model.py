"""The part of a recipe about the network: which one, on which encoder, and with which options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require

__all__ = ["EXPERTS", "PRETRAINED", "ModelSpec", "is_folder"]

PRETRAINED = "pretrained"
EXPERTS = "experts"
"""What the model of a bundle is registered as that was made of several experts."""

_KNOWN_EXPERTS = ("network", "vectors", "ngrams")


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
            What a model fits before training, such as the n-gram regression of the text CNN, is fitted again to the run's rows,
            or with a method of ``continual`` as a change of the former one.
        experts: classifiers on the encoder that answer together, each with a share that is chosen on rows that it was not
            fitted to: ``network``, the tuned encoder; ``vectors``, a logistic regression on the sentence vectors of the encoder
            as it comes; ``ngrams``, one over characters and their pairs. Without ``network`` nothing is tuned. None tunes the
            encoder alone.
        options: passed to the model as they are; the model refuses those it does not know.
    """

    name: str = "textcnn"
    encoder: str | None = None
    start: str | None = None
    experts: tuple[str, ...] | None = None
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
        self._check_experts()
        both = self.start is not None and bool(self.options)
        require(not both, "model.options", dict(self.options), "empty beside model.start, which brings its own")

    @property
    def tunes(self) -> bool:
        """Whether training changes weights by gradients; experts without a network are fitted at once."""
        return self.experts is None or "network" in self.experts

    @property
    def bundled_name(self) -> str:
        """What the model of the bundle is registered as."""
        return self.name if self.experts is None else EXPERTS

    def _check_experts(self) -> None:
        stated = self.experts
        require(self.name != EXPERTS, "model.name", self.name, "left out; state model.experts beside model.encoder")
        if stated is None:
            return
        named = bool(stated) and len(set(stated)) == len(stated) and set(stated) <= set(_KNOWN_EXPERTS)
        require(named, "model.experts", list(stated), f"some of {', '.join(_KNOWN_EXPERTS)}, each once, or null")
        require(self.encoder is not None, "model.experts", list(stated), "null without model.encoder")
        alone = stated in (("network",), ("ngrams",))
        require(not alone, "model.experts", list(stated), "vectors, or network and another one; null tunes the network alone")
        bare = not self.tunes and bool(self.options)
        require(not bare, "model.options", dict(self.options), "empty where model.experts has no network")
