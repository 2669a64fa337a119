"""Rows whose label is decided by a planted word, and a bundle that has learnt them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import paddle

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.export import BundleContent, write_bundle
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.text import CharTokenizer, Vocabulary, pad

LABELS = ("利空", "中性", "利好")
PLANTED = {"立案调查": "利空", "回购注销": "利好"}
FILLER = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动"


def planted_rows(count: int) -> list[tuple[str, str]]:
    generator = random.Random(0)
    words = [*PLANTED, ""]
    rows = []
    for number in range(count):
        word = words[number % 3]
        text = "".join(generator.choices(FILLER, k=generator.randint(4, 16)))
        at = generator.randint(0, len(text))
        rows.append((text[:at] + word + text[at:], PLANTED.get(word, "中性")))
    return rows


def train_planted(folder: Path) -> Bundle:
    """Train a text CNN on texts whose label is decided by a word planted in them, and write its bundle."""
    rows = planted_rows(300)
    tokenizer = CharTokenizer(Vocabulary(["[PAD]", "[UNK]", *sorted({c for text, _ in rows for c in text})]))
    ids, labels = [tokenizer.encode(text) for text, _ in rows], [LABELS.index(label) for _, label in rows]
    paddle.seed(0)
    model = TextCNN(vocabulary_size=len(tokenizer.vocabulary), dimension=16, num_labels=3, filters=24, ngram_buckets=1024)
    model.fit_before_training(ids, labels, class_weights=np.ones(3, dtype=np.float32))
    optimizer = paddle.optimizer.Adam(0.01, parameters=model.parameters())
    for _ in range(60):
        paddle.nn.functional.cross_entropy(model(paddle.to_tensor(pad(ids))), paddle.to_tensor(labels)).backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()
    content = BundleContent(
        model=model,
        model_name="textcnn",
        tokenizer=tokenizer,
        labels=LABELS,
        ordered=True,
        max_length=64,
        sample_texts=[text for text, _ in rows[:20]],
    )
    return write_bundle(folder, content, engines=("onnxruntime",))
