"""A bundle that is large enough for 8 bits to be smaller and faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from paddlenlp_embtune.export import BundleContent
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.text import CharTokenizer, Vocabulary

LABELS = ("bad", "so-so", "good")
LETTERS = [chr(0x4E00 + number) for number in range(300)]


def make_texts(count: int, *, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(LETTERS, generator.integers(1, 64))) for _ in range(count)]


def large_content(buckets: int = 4096) -> BundleContent:
    """Large enough for 8 bits to be smaller and faster, with answers of all labels."""
    paddle.seed(1)
    generator = np.random.default_rng(0)
    model = TextCNN(vocabulary_size=302, dimension=64, num_labels=3, filters=256, ngram_buckets=buckets, ngram_checked=False)
    table = np.abs(generator.normal(size=(4096, 4))).astype(np.float32)
    table[0] = 0
    if buckets:
        model.ngram_table.set_value(table)
    model.head.weight.set_value(generator.normal(size=(256, 3)).astype(np.float32))
    model.eval()
    logits = model(paddle.to_tensor(generator.integers(2, 302, (200, 32)))).numpy()
    model.head.bias.set_value(-2 * logits.mean(axis=0))
    tokenizer = CharTokenizer(Vocabulary(["[PAD]", "[UNK]", *LETTERS]))
    options: dict[str, Any] = {"model_name": "textcnn", "labels": LABELS, "ordered": True, "max_length": 64}
    return BundleContent(model=model, tokenizer=tokenizer, **options)
