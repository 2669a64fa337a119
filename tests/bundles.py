"""Small bundles, and the contents they are written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlenlp_embtune.export import BundleContent
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.text import CharTokenizer, Vocabulary

TEXTS = ("公司拟回购股份", "控股股东减持", "今天开会", "a", "停牌" * 40, "净利润同比增长五成，超出预期", "")
ENGINES = ("onnxruntime", "paddle_inference")


def content(*, padding: float = 0.0, **changes: Any) -> BundleContent:
    characters = sorted({c for text in TEXTS for c in text})
    paddle.seed(1)
    model = TextCNN(vocabulary_size=len(characters) + 2, dimension=8, num_labels=3, filters=6, ngram_buckets=31)
    table = np.abs(np.random.default_rng(0).normal(size=(31, 5))).astype(np.float32)
    codes = 7919 * np.arange(2, len(characters) + 2)
    table[codes % 30 + 1, 4] = codes  # each bucket is for one of the characters
    table[0, :4] = padding
    table[0, 4] = 0.0
    model.ngram_table.set_value(table)
    tokenizer = CharTokenizer(Vocabulary(["[PAD]", "[UNK]", *characters]))
    options: dict[str, Any] = {
        "model": model,
        "model_name": "textcnn",
        "tokenizer": tokenizer,
        "labels": ("利空", "中性", "利好"),
        "ordered": True,
        "max_length": 64,
        "sample_texts": TEXTS,
        **changes,
    }
    return BundleContent(**options)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
