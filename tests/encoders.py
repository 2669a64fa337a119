"""Tiny pretrained encoders, made in the tests."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddlenlp.transformers as transformers

from paddlenlp_embtune import hookimpl
from paddlenlp_embtune.data.dataset import EncodedDataset
from paddlenlp_embtune.encoders.pretrained import Pretrained
from paddlenlp_embtune.text import Vocabulary, WordPieceTokenizer
from tests.helpers import ROWS

CHARACTERS = "公司业绩大增长股价涨停利好回购增持净利润超预期下滑亏损跌违约退市风险警示减分红预盈首次控股东"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@functools.cache
def tiny_encoder(
    architecture: str = "BertModel",
    *,
    layers: int = 3,
    width: int = 16,
    positions: int = 64,
    pooling: str = "mean",
    characters: str = CHARACTERS,
    seed: int = 0,
) -> Pretrained:
    """An encoder with drawn weights, wide enough that layers matter."""
    vocabulary = Vocabulary([*SPECIAL, *dict.fromkeys(characters)])
    kind = getattr(transformers, architecture)
    paddle.seed(seed)
    config = kind.config_class(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=positions,
        initializer_range=0.2,
        pad_token_id=0,
    )
    model = kind(config)
    generator = np.random.default_rng(seed)
    weights = {}
    for name, value in model.state_dict().items():
        array = value.numpy()
        weights[name] = array + generator.normal(0, 0.1, array.shape).astype(np.float32)  # norms and biases too
    settings = {name: value for name, value in config.to_dict().items() if isinstance(value, (int, float, str, bool))}
    return Pretrained(
        architecture=architecture,
        settings=settings,
        weights=weights,
        tokenizer=WordPieceTokenizer(vocabulary),
        source=f"a tiny {architecture}",
        pooling=pooling,
    )


def encoder_of_rows() -> Pretrained:
    """One that knows the characters of the invented rows."""
    return tiny_encoder(characters="".join(dict.fromkeys("".join(text for text, _ in ROWS))))


class RowsPlugin:
    """Registers it as ``tiny``."""

    @hookimpl
    def embtune_register_encoders(self) -> Mapping[str, Any]:
        """Return it by name."""
        return {"tiny": encoder_of_rows}


def texts(number: int, *, seed: int = 0, longest: int = 20, characters: Sequence[str] = CHARACTERS) -> list[str]:
    """Invented texts of varied lengths."""
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list(characters), generator.integers(2, longest))) for _ in range(number)]


def ids_of(number: int, *, seed: int = 0) -> list[list[int]]:
    """Invented texts as a tiny encoder reads them."""
    tokenizer = tiny_encoder().tokenizer
    return [tokenizer.encode(text) for text in texts(number, seed=seed)]


def dataset(number: int, *, seed: int) -> EncodedDataset:
    """Such texts, labelled by whether their first token is odd."""
    ids = ids_of(number, seed=seed)
    return EncodedDataset(ids, [row[1] % 2 for row in ids])
