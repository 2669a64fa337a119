"""Unlabelled texts as further training rows, labelled by a regression on the vectors of the recipe's encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.config import Recipe, SelfTrainingSpec
from paddlenlp_embtune.data import Examples, UnlabelledTexts, read_unlabelled

__all__ = ["SelfTraining", "self_trained"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfTraining:
    """What became of the unlabelled texts.

    Args:
        texts: how many were answered.
        added: how many became rows.
        by_label: the same by label.
        accuracy: of the labelled rows out of fold; None where there were too few.
        confidence: the mean there.
        temperature: at which confidence was measured.
        left_out: why none became rows; empty where some did.
        files: what was left out of the files, and why.
    """

    texts: int
    added: int
    by_label: dict[str, int]
    accuracy: float | None
    confidence: float | None
    temperature: float
    left_out: str
    files: dict[str, int]


def self_trained(
    recipe: Recipe, spec: SelfTrainingSpec, rows: Examples, dev: Examples, labels: Sequence[str]
) -> tuple[Examples, SelfTraining]:
    """Put the texts that could be labelled behind the training rows, with weights.

    Args:
        recipe: its encoder and ``text``, and how files are read.
        spec: the texts, and how many of them.
        rows: labelled training rows.
        dev: development rows, which are never answered.
        labels: class names in order.
    Raises:
        DataError: a file cannot be read.
        HostError: PaddleNLP cannot build the encoder.
    """
    from paddlenlp_embtune.models import pseudo_labels
    from paddlenlp_embtune.training._encoder_vectors import EncoderVectors

    data = recipe.data
    read = read_unlabelled(spec.unlabelled, rows.texts, dev.texts, text_column=data.text_column, options=data.read_options)
    texts = _drawn(read.texts, spec.most, recipe.seed)
    vectors = EncoderVectors(recipe)([*rows.texts, *texts])
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    number = {label: place for place, label in enumerate(labels)}
    truth = np.array([number[label] for label in rows.labels], dtype=np.int64)
    own = np.ones(len(rows)) if rows.weights is None else np.asarray(rows.weights, dtype=np.float64)
    found = pseudo_labels(
        vectors[: len(rows)], truth, own, vectors[len(rows) :], spec, num_labels=len(labels), seed=recipe.seed
    )
    named = [labels[label] for label in found.labels]
    report = SelfTraining(
        texts=len(texts),
        added=len(named),
        by_label={label: named.count(label) for label in labels},
        accuracy=found.accuracy,
        confidence=found.confidence,
        temperature=found.temperature,
        left_out=found.left_out,
        files=_left_out(read),
    )
    if not named:
        return rows, report
    added = tuple(texts[row] for row in found.rows)
    weights = (*own.tolist(), *found.weights.tolist())
    extended = dataclasses.replace(rows, texts=(*rows.texts, *added), labels=(*rows.labels, *named), weights=weights)
    return extended, report


def _drawn(texts: Sequence[str], most: int, seed: int) -> list[str]:
    """Return all texts, or as many as are read at most, in their order."""
    if len(texts) <= most:
        return list(texts)
    return [texts[row] for row in sorted(np.random.default_rng(seed).permutation(len(texts))[:most])]


def _left_out(read: UnlabelledTexts) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(read).items() if name != "texts"}
