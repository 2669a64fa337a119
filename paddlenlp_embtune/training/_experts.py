"""Experts on an encoder: what a recipe asks for, fitted, weighed, and made one classifier."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.data import EncodedDataset
from paddlenlp_embtune.encoders import Pretrained
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import (
    Experts,
    SentenceVectors,
    characters_of,
    piece_characters,
    prefix_ids,
    sentence_vectors_of,
)
from paddlenlp_embtune.text import pad
from paddlenlp_embtune.training._build import build_evaluator
from paddlenlp_embtune.training._criterion import class_weights_of
from paddlenlp_embtune.training._linear_experts import LinearExperts, Rows, fit_linear_experts
from paddlenlp_embtune.training._opinion_pool import pool_weights, pooled
from paddlenlp_embtune.training._prepare import Prepared
from paddlenlp_embtune.training._trainer import seed_everything
from paddlenlp_embtune.training._vector_engine import layer_vectors
from paddlenlp_embtune.training.context import TrainingContext
from paddlenlp_embtune.training.run_log import RunRecord

paddle = compat.require_paddle()

__all__ = ["fit_alone", "fit_experts"]

_HIGHEST = 3


def fit_experts(prepared: Prepared, record: RunRecord, *, network: Any = None) -> Experts:
    """Fit the regressions that a recipe asks for, weigh all experts, and make one classifier of them.

    The regressions are weighed on the training rows, each of which is answered by regressions that were fitted without it.
    Beside a tuned network, what they say together is weighed against it on the development rows.

    Args:
        prepared: the data, the encoder, and the recipe, whose ``model.experts`` is stated.
        record: gets the event ``experts``.
        network: the tuned classifier, with its best weights and without an adapter; None where it is no expert.
    Raises:
        RecipeError: texts are longer than the encoder reads behind its prefix.
    """
    began = time.perf_counter()
    asked, pretrained = prepared.recipe.model.experts or (), prepared.pretrained
    if pretrained is None:
        raise RecipeError("model.experts are on an encoder, and there is none; set model.encoder")
    rows, ids = _rows(prepared)
    layers: tuple[int, ...] = ()
    vectors, engine, source = None, None, None
    if "vectors" in asked:
        layers = _highest_layers(pretrained)
        prefix = prefix_ids(pretrained, prepared.tokenizer)
        source = sentence_vectors_of(pretrained, prepared.table, layers=layers, prefix=prefix)
        _check_length(prepared, source)
        vectors, engine = layer_vectors(source, ids)
    table = piece_characters(prepared.tokenizer.vocabulary.tokens) if "ngrams" in asked else None
    linear = fit_linear_experts(
        rows,
        vectors=vectors,
        layers=layers,
        characters=None if table is None else characters_of(ids, table),
        seed=prepared.recipe.seed,
    )
    model = _assemble(prepared, linear, network=network, source=source, table=table)
    weights, figures = dict(linear.weights), dict(linear.figures)
    if network is not None:
        weights, figures["dev"] = _weigh_on_dev(model, prepared.dev_dataset(), linear.weights)
    model.set_weights(weights)
    total = sum(weights.values())
    record.write(
        "experts",
        shares={name: round(weights[name] / total, 4) for name in model.names},
        layers=list(linear.layers),
        penalty=linear.penalty,
        engine=engine,
        **figures,
        seconds=round(time.perf_counter() - began, 2),
    )
    return model


def fit_alone(prepared: Prepared, record: RunRecord, *, out: Path) -> tuple[TrainingContext, float]:
    """Fit experts none of which is tuned.

    Args:
        prepared: the data, the encoder, and the recipe.
        record: gets the events ``experts`` and ``trained``.
        out: folder for what a Trainer writes; nothing is written there.
    Returns:
        a context with a Trainer that has them for its model and trains nothing, and the seconds
    """
    from paddlenlp_embtune.training.callbacks.learning_rate import LearningRateCallback
    from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows

    seed_everything(prepared.recipe.seed)
    began = time.perf_counter()
    model = fit_experts(prepared, record)
    seconds = time.perf_counter() - began
    record.write("trained", seconds=round(seconds, 2), steps=0, epochs=0)
    context = TrainingContext(
        trainer=build_evaluator(prepared, model, out=out),
        recipe=prepared.recipe,
        groups=(),
        record=record,
        tokens=None,
        monitored_rows=MonitoredRows(),
        learning_rates=LearningRateCallback(()),
    )
    return context, seconds


def _rows(prepared: Prepared) -> tuple[Rows, Sequence[Sequence[int]]]:
    """Return the labelled rows and their ids; windows of a text share its weight."""
    dataset = prepared.train_dataset()
    counts = getattr(dataset, "counts", np.ones(len(dataset), np.int64))
    weights = np.ones(len(dataset), np.float32) if dataset.weights is None else dataset.weights
    rows = Rows(
        labels=np.asarray(dataset.labels, dtype=np.int64),
        texts=np.repeat(np.arange(len(counts)), counts),
        weights=(weights / np.repeat(counts, counts)).astype(np.float32),
        class_weights=class_weights_of(prepared.recipe.train, dataset, prepared.labels),
    )
    return rows, dataset.ids


def _highest_layers(pretrained: Pretrained) -> tuple[int, ...]:
    """Return the numbers of the highest layers, ascending."""
    most = int(pretrained.settings["num_hidden_layers"])
    return tuple(range(max(1, most - _HIGHEST + 1), most + 1))


def _check_length(prepared: Prepared, source: SentenceVectors) -> None:
    """Refuse texts for whose last tokens there are no positions behind the prefix."""
    most, asked = source.most_tokens, prepared.recipe.text.max_length
    if most is not None and asked > most:
        raise RecipeError(
            f"text.max_length is {asked}; expected for sentence vectors of this encoder: at most {most}, as it has "
            f"{most + len(source.prefix)} positions and its prefix takes {len(source.prefix)}"
        )


def _assemble(
    prepared: Prepared,
    linear: LinearExperts,
    *,
    network: Any,
    source: SentenceVectors | None,
    table: npt.NDArray[np.int64] | None,
) -> Experts:
    """Build the classifier with all that was fitted in it."""
    rows, width = prepared.table.shape
    sizes: dict[str, Any] = {"vocabulary_size": rows, "dimension": width, "num_labels": len(prepared.labels)}
    options: dict[str, Any] = {}
    if network is not None:
        options["network"] = {name: value for name, value in network.config().items() if name not in sizes}
    if source is not None:
        stated = {**source.config(), "layers": list(linear.layers)}
        options["vectors"] = {name: stated[name] for name in ("architecture", "settings", "layers", "prefix")}
    if table is not None and linear.ngrams is not None:
        options["ngrams"] = {"buckets": len(linear.ngrams[0]), "longest": table.shape[1]}
    model = Experts(**sizes, **options)
    if network is not None:
        model.network.set_state_dict(network.state_dict())
    if source is not None and linear.vectors is not None:
        known = source.network.state_dict()
        model.vectors.network.set_state_dict({name: known[name] for name in model.vectors.network.state_dict()})
        model.regression.weight.set_value(linear.vectors[0].astype(np.float32))
        model.regression.bias.set_value(linear.vectors[1].astype(np.float32))
    if table is not None and linear.ngrams is not None:
        model.ngrams.characters.set_value(table.astype(np.float32))
        model.ngrams.table.set_value(linear.ngrams[0])
        model.ngrams.bias.set_value(linear.ngrams[1])
    model.eval()
    return model


def _weigh_on_dev(
    model: Experts, dev: EncodedDataset, weights: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Weigh the network against the regressions together; return the weights of all, and accuracies on these rows."""
    answers = _expert_logits(model, dev)
    truth = np.asarray(dev.truth, dtype=np.int64)
    names = list(weights)
    together = pooled([answers[name] for name in names], np.array([weights[name] for name in names]))
    network, others = pool_weights([answers["network"], together], truth).tolist()
    found = {"network": network, **{name: weights[name] * others for name in names}}
    pool = pooled([answers["network"], together], np.array([network, others]))
    figures: dict[str, npt.NDArray[Any]] = {"network": answers["network"], "regressions": together, "together": pool}
    return found, {name: round(float((logits.argmax(axis=1) == truth).mean()), 4) for name, logits in figures.items()}


def _expert_logits(model: Experts, dev: EncodedDataset) -> dict[str, npt.NDArray[np.float32]]:
    """Return the logits of each expert for texts, by name, (N, C) each; of their windows together where they have any."""
    order = np.argsort(dev.lengths, kind="stable")
    parts: list[npt.NDArray[np.float32]] = []
    start = 0
    while start < len(order):
        most = max(1, 1024 // max(1, int(dev.lengths[order[min(start + 31, len(order) - 1)]])))
        batch = pad([dev.ids[row] for row in order[start : start + most]])
        with paddle.no_grad():
            parts.append(np.stack([logits.numpy() for logits in model.logits(paddle.to_tensor(batch))]))
        start += most
    found = np.concatenate(parts, axis=1)
    restored = np.empty_like(found)
    restored[:, order] = found
    return {name: dev.by_text(logits, dev.labels)[0] for name, logits in zip(model.names, restored, strict=True)}
