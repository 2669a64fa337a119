"""Supported encoder families: their classes, tokenizers and weight names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "FAMILIES",
    "WORDPIECE_CLASSES",
    "Family",
    "convert_weights",
    "find_family",
    "is_torch_weights",
    "reserved_positions",
]

Weights = Mapping[str, npt.NDArray[Any]]

WORDPIECE_CLASSES = ("BertTokenizer", "ErnieTokenizer", "RobertaChineseTokenizer", "RobertaTokenizer")
"""Tokenizer classes of PaddleNLP, and of the same names elsewhere, whose ids our WordPiece reproduces."""


@dataclasses.dataclass(frozen=True)
class Family:
    """An encoder family.

    Args:
        stem: prefix of its class names: ``Bert`` for ``BertModel`` and ``BertForMaskedLM``.
        kind: its ``model_type`` in ``config.json``; with a dot, the prefix of weight names in models with a head.
        tokenizer: the default tokenizer class, if the folder does not name one.
        reserved: number of rows of its position table that no token uses, if padding has id 0.
        counts_padding: whether positions start after the padding id.
    """

    stem: str
    kind: str
    tokenizer: str
    reserved: int = 0
    counts_padding: bool = False

    @property
    def architecture(self) -> str:
        """The class of ``paddlenlp.transformers`` without a head."""
        return f"{self.stem}Model"


FAMILIES = (
    Family("Bert", "bert", "BertTokenizer"),
    Family("Ernie", "ernie", "ErnieTokenizer"),
    Family("Roberta", "roberta", "RobertaChineseTokenizer", reserved=1, counts_padding=True),
    Family("ErnieM", "ernie_m", "ErnieMTokenizer", reserved=2),
)

_TABLES = re.compile(r"(?:^|\.)embeddings\.")
_RENAMED = (
    (r"^embeddings\.LayerNorm\.", "embeddings.layer_norm."),
    (r"^encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.", r"encoder.layers.\1.self_attn.\2."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"encoder.layers.\1.self_attn.out_proj."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.", r"encoder.layers.\1.norm1."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"encoder.layers.\1.linear1."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"encoder.layers.\1.linear2."),
    (r"^encoder\.layer\.(\d+)\.output\.LayerNorm\.", r"encoder.layers.\1.norm2."),
    (r"\.self_attn\.self_attn\.", ".self_attn."),
    (r"\.self_attn\.query\.", ".self_attn.q_proj."),
    (r"\.self_attn\.key\.", ".self_attn.k_proj."),
    (r"\.self_attn\.value\.", ".self_attn.v_proj."),
    (r"(norm\d?)\.gamma$", r"\1.weight"),
    (r"(norm\d?)\.beta$", r"\1.bias"),
)
_OF_TORCH = re.compile(r"(?:^|\.)(?:encoder\.layer\.\d+\.|encoder\.layers\.\d+\.self_attn\.self_attn\.)")


def find_family(settings: Mapping[str, Any]) -> Family | None:
    """Return the family of a ``config.json``, by its ``architectures`` or else its ``model_type``; None for other families."""
    architectures = settings.get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    for family in FAMILIES:
        if names and all(re.fullmatch(rf"{family.stem}(?:Model|For[A-Z]\w*)", name) for name in names):
            return family
        if not names and settings.get("model_type") == family.kind:
            return family
    return None


def reserved_positions(architecture: str) -> int:
    """Return how many rows of an encoder's position table no token uses, if padding has id 0.

    Args:
        architecture: its class name, with or without a head.
    """
    family = find_family({"architectures": [architecture]})
    return 0 if family is None else family.reserved


def is_torch_weights(weights: Weights) -> bool:
    """Return whether weights have PyTorch names; PyTorch stores matrices as (out, in)."""
    return any(_OF_TORCH.search(name) for name in weights)


def convert_weights(weights: Weights, family: Family) -> dict[str, npt.NDArray[Any]]:
    """Rename the weights of an encoder as in PaddleNLP's class without a head.

    PyTorch names are mapped, and matrices are transposed, which PyTorch stores as (out, in).

    Args:
        weights: as stored in a file: of PaddleNLP or PyTorch, with or without the encoder's name as prefix.
        family: the family of the encoder.
    Returns:
        Weights by their new names; weights of heads keep their names.
    """
    of_torch = is_torch_weights(weights)
    found = dict[str, npt.NDArray[Any]]()
    for name, value in weights.items():
        own = name.removeprefix(f"{family.kind}.")
        for pattern, there in _RENAMED if of_torch else ():
            own = re.sub(pattern, there, own)
        turned = of_torch and value.ndim == 2 and not _TABLES.search(own)
        found[own] = np.ascontiguousarray(value.T) if turned else value
    return found
