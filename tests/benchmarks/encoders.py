"""A small ERNIE-type classifier, trained from random weights for a moment: what a PaddleNLP user's checkpoint looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import paddlenlp_embtune

paddlenlp_embtune.prepare_cpu()

import numpy as np  # noqa: E402
import paddle  # noqa: E402
from paddlenlp.transformers import ErnieConfig, ErnieForSequenceClassification, ErnieTokenizer  # noqa: E402

from paddlenlp_embtune.text import pad  # noqa: E402

VOCABULARY = Path(__file__).resolve().parents[3] / "shared" / "data" / "vocab" / "ernie-3.0-base-zh.vocab.txt"


def train_checkpoint(
    folder: Path,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    layers: int = 4,
    width: int = 312,
    steps: int,
    batch: int = 32,
    length: int = 64,
    rate: float = 5e-4,
    seed: int = 0,
) -> None:
    """Train, and save what ``save_pretrained`` saves.

    Args:
        folder: of the checkpoint.
        texts, labels: labelled rows.
        layers, width: size of the encoder.
        steps, batch, length, rate: of the training; longer texts are cut.
        seed: seeds weights and the order of rows.
    """
    paddle.seed(seed)
    tokenizer = ErnieTokenizer(str(VOCABULARY))
    names = sorted(set(labels))
    config = ErnieConfig(
        vocab_size=VOCABULARY.read_bytes().count(b"\n"),  # not len(tokenizer), which counts a token that stands twice once
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=12 if width % 12 == 0 else 4,
        intermediate_size=4 * width,
        max_position_embeddings=2048,
        type_vocab_size=4,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
    )
    model = ErnieForSequenceClassification(config)
    optimizer = paddle.optimizer.AdamW(rate, parameters=model.parameters(), grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0))
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = generator.integers(0, len(texts), batch)
        ids = pad([tokenizer(texts[row], max_length=length, truncation=True)["input_ids"] for row in chosen])
        truth = paddle.to_tensor([names.index(labels[row]) for row in chosen])
        paddle.nn.functional.cross_entropy(model(paddle.to_tensor(ids)), truth).backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
