"""A small text CNN, and the same by the definition."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import paddle

from paddlenlp_embtune.models import set_embedding
from paddlenlp_embtune.models._ngram_regression import CHECK_MODULUS
from paddlenlp_embtune.models.textcnn import TextCNN


def model(**options: Any) -> TextCNN:
    paddle.seed(3)
    built = TextCNN(vocabulary_size=40, dimension=6, num_labels=3, **{"filters": 5, "ngram_buckets": 17, **options})
    table = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    table[0] = 0.0
    set_embedding(built, table)
    if built.ngram_buckets:
        weights = np.random.default_rng(1).normal(size=(17, 4 + built.ngram_checked)).astype(np.float32)
        weights[:, 3] = np.abs(weights[:, 3])
        if built.ngram_checked:
            for token in range(1, 40):  # each bucket is for one of them
                weights[token * 7919 % 16 + 1, 4] = token * 7919 % CHECK_MODULUS
        weights[0] = 0.0
        built.ngram_table.set_value(weights)
        built.ngram_bias.set_value(np.array([0.1, 0.2, 0.3], dtype=np.float32))
        built.ngram_share.set_value(np.array([0.3], dtype=np.float32))
    built.eval()
    return built


def by_hand(net: TextCNN, ids: list[int]) -> np.ndarray:
    """The definition, one text, loops only."""
    table, window = net.embedding.weight.numpy().astype(np.float64), net.window
    wide = [0] * (window - 1) + ids + [0] * window
    weight, bias = (p.numpy().astype(np.float64) for p in (net.convolution.weight, net.convolution.bias))
    spans = range(len(wide) - window + 1)
    matches = [np.concatenate([table[i] for i in wide[s : s + window]]) @ weight + bias for s in spans]
    features = np.maximum(np.max(matches, axis=0), 0)
    network = features @ net.head.weight.numpy().astype(np.float64) + net.head.bias.numpy()
    triples = zip(ids, ids[1:], ids[2:], strict=False)
    codes = [token * 7919 for token in ids] + [a * 7919 + b for a, b in itertools.pairwise(ids)]
    codes += [(a * 7919 + b) * 7919 + c for a, b, c in triples] if net.ngram_length == 3 else []
    looked_up = net.ngram_table.numpy().astype(np.float64)[[code % (net.ngram_buckets - 1) + 1 for code in codes]]
    own = looked_up[:, 4] == np.array(codes) % CHECK_MODULUS if net.ngram_checked else np.ones(len(codes), bool)
    rows = looked_up[own].sum(axis=0)
    regression = rows[:3] / np.sqrt(rows[3] + 1e-6) + net.ngram_bias.numpy()
    share = net.ngram_share.item()
    return network * (1 - share) + regression * share
