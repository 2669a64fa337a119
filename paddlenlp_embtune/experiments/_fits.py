"""Fitting an arm on rows: a baseline, the vectors of a frozen encoder, or a recipe."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import DataSpec, EvaluationSpec, Recipe
from paddlenlp_embtune.data import Examples
from paddlenlp_embtune.evaluation.baselines import build_baseline, predict_labels
from paddlenlp_embtune.experiments._row_files import WEIGHT, write_rows
from paddlenlp_embtune.experiments.arms import FROZEN, recipe_of
from paddlenlp_embtune.experiments.cell import Cell

__all__ = ["Fitted", "fit", "load_packages"]

_ENGINE, _WITHOUT_EXPORT = "onnxruntime", "paddle"


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A classifier that can be used.

    Args:
        predict: labels of texts.
        size_bytes: of what would be stored.
        notes: what must be known about it.
        bundle: its folder; None for arms that leave none.
        learning_seconds: of the loop of its training; 0 for arms without one.
    """

    predict: Callable[[Sequence[str]], list[str]]
    size_bytes: int
    notes: tuple[str, ...] = ()
    bundle: Path | None = None
    learning_seconds: float = 0.0


def load_packages(cell: Cell) -> None:
    """Import what the arm of a cell needs, so that its time is not counted.

    Raises:
        MissingDependencyError: a package is not installed.
    """
    for name in ("sklearn.linear_model", "sklearn.svm"):
        importlib.import_module(name)
    if cell.arm.kind != "baseline":
        compat.require_paddle()
        compat.quiet_logging()
        for name in ("onnxruntime", "sklearn.metrics", "sklearn.pipeline", "sklearn.preprocessing"):
            importlib.import_module(name)
        from paddlenlp_embtune import models, training

        _ = models.TextCNN, models.PretrainedClassifier, training.attach, training.train


def fit(cell: Cell, train: Examples, dev: Examples | None, folder: Path) -> Fitted:
    """Fit the arm of a cell.

    Args:
        cell: its arm and its seed.
        train: rows to learn from.
        dev: rows to stop on; None holds some of ``train`` out, where the arm needs any.
        folder: for files; the classifier needs it.
    """
    if cell.arm.kind == "baseline":
        baseline = build_baseline(cell.arm.parts[0], train.texts, train.labels, seed=cell.seed).fit(train.texts, train.labels)
        return Fitted(lambda texts: predict_labels(baseline, texts), baseline.size_bytes)
    recipe = recipe_of(cell.arm, rows=len(train))
    if cell.arm.kind == FROZEN:
        return _fit_frozen(recipe, train, cell.seed)
    return _fit_recipe(recipe, cell, train, dev, folder)


def _fit_frozen(recipe: Recipe, train: Examples, seed: int) -> Fitted:
    """A logistic regression on the vectors of an encoder, each value scaled to mean 0 and variance 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from paddlenlp_embtune.training import EncoderVectors

    vectors = EncoderVectors(recipe)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, random_state=seed))
    model.fit(vectors(train.texts), list(train.labels), logisticregression__sample_weight=train.weights)
    return Fitted(lambda texts: list(map(str, model.predict(vectors(texts)))), vectors.size_bytes)


def _fit_recipe(recipe: Recipe, cell: Cell, train: Examples, dev: Examples | None, folder: Path) -> Fitted:
    """Train as ``embtune train`` does, with one engine, or none where the recipe has none, and without a baseline beside it."""
    from paddlenlp_embtune.inference import Predictor
    from paddlenlp_embtune.training import train as run

    data: dict[str, Any] = {name: getattr(recipe.data, name) for name in ("labels", "ordered")}
    data["train"] = write_rows(train, folder / "train.jsonl")
    data["weight_column"] = None if train.weights is None else WEIGHT
    if dev is not None:
        data["dev"] = write_rows(dev, folder / "dev.jsonl")
    engines = (_ENGINE,) if recipe.export.engines else ()
    changed = dataclasses.replace(
        recipe,
        seed=cell.seed,
        data=DataSpec(**data),
        evaluation=EvaluationSpec(baseline=None),
        train=dataclasses.replace(recipe.train, checkpoint_seconds=None),
        export=dataclasses.replace(recipe.export, engines=engines, int8=None),
    )
    result = run(changed, folder / "run")
    predictor = Predictor(result.bundle, engine=engines[0] if engines else _WITHOUT_EXPORT, num_threads=1)
    size = sum(file.stat().st_size for file in result.bundle.rglob("*") if file.is_file())
    labels = predictor.bundle.manifest.labels

    def predict(texts: Sequence[str]) -> list[str]:
        return [labels[index] for index in predictor.probabilities(texts).argmax(axis=1)]

    return Fitted(predict, size, result.notes, result.bundle, result.seconds)
