"""What a run leaves when training has ended: weights, proof, figures, and the embedding before and after."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.embeddings.metrics import describe_drift
from paddlenlp_embtune.embeddings.store import VectorStore
from paddlenlp_embtune.errors import EmbtuneError, HostError, ParityError, PluginError
from paddlenlp_embtune.evaluation import analyze_predictions, classification_report, monitored_metrics
from paddlenlp_embtune.inference import softmax
from paddlenlp_embtune.text import content_ids
from paddlenlp_embtune.training._prepare import Prepared, data_summary, term_groups
from paddlenlp_embtune.training.run_log import RunRecord
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.bundle import Bundle

__all__ = ["INSIGHT", "OWN_VERSIONS", "VERSIONS", "deliver"]

INSIGHT = "insight.json"
VERSIONS = "vectors"
OWN_VERSIONS = ("start", "end")
_MANY_ROWS = 100_000


def deliver(
    recipe: Recipe, prepared: Prepared, trainer: Any, folder: Path, record: RunRecord
) -> tuple[dict[str, Any], EmbtuneError | None]:
    """Save the weights, export with proof, evaluate; return the figures, and the error if an engine could not be exported."""
    from paddlenlp_embtune.export import BundleContent, add_engines, write_bundle
    from paddlenlp_embtune.inference import Predictor
    from paddlenlp_embtune.training._trainer import encode_rows, predict_logits

    dev = encode_rows(prepared.dev, prepared.labels, prepared.tokenizer, text=recipe.text)
    truth = list(dev.truth)

    def logits() -> npt.NDArray[np.float32]:
        return predict_logits(trainer.model, dev, batch_size=trainer.args.per_device_eval_batch_size)

    if hasattr(trainer.model, "fit_after_training"):
        _fit_after_training(recipe, trainer.model, logits, truth, prepared.labels)
    answers = logits()
    live = classification_report(truth, answers.argmax(axis=1).tolist(), prepared.labels)
    teacher = _beside_teacher(prepared, truth, answers, live)
    content = BundleContent(
        model=trainer.model,
        model_name=recipe.model.name,
        tokenizer=prepared.tokenizer,
        labels=prepared.labels,
        ordered=prepared.ordered,
        max_length=recipe.text.max_length,
        windows=recipe.text.windows,
        domain=recipe.domain,
        recipe=_without_folders(recipe).to_dict(),
        data=data_summary(prepared, folders=False),
        vectors=prepared.origins,
        metrics={"dev": {key: live[key] for key in ("n", "accuracy", "f1_macro", "per_class")}},
        teacher=teacher,
        sample_texts=prepared.dev.texts[:256],
    )
    bundle, failure = write_bundle(folder / "bundle", content, engines=()), None
    bundle = _calibrated(recipe, prepared, bundle, record)
    try:
        if recipe.export.engines:
            bundle = add_engines(bundle, bundle.path, engines=recipe.export.engines, sample_texts=content.sample_texts)
        if recipe.export.int8 is not None:
            bundle = _quantized(recipe, prepared, bundle, record)
    except (ParityError, HostError, PluginError) as error:
        failure = error
        record.write("export_failed", message=str(error))
    for name, parity in bundle.manifest.parity.items():
        record.write("parity", engine=name, **dataclasses.asdict(parity))
    engine = next((name for name in recipe.export.engines if name in bundle.manifest.engines), "paddle")
    predictor = Predictor(bundle, engine=engine)
    probabilities = predictor.probabilities(prepared.dev.texts)
    predicted = probabilities.argmax(axis=1).tolist()
    metrics = {
        **classification_report(truth, predicted, prepared.labels),
        "engine": engine,
        "data": prepared.dev.source,
    }
    if teacher:
        metrics["teacher"] = {"name": teacher["name"], **teacher["dev"]}
    write_text(folder / "metrics.json", dump_json(metrics, indent=1) + "\n")
    record.write("metrics", **metrics)
    record.write("shipped", **_shipped(recipe, record, truth, predicted, prepared.labels))
    _write_insight(
        recipe, prepared, trainer, folder, analyze_predictions(probabilities, truth, prepared.labels, prepared.dev.texts)
    )
    _keep_versions(recipe, prepared, trainer, folder)
    size = sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file())
    record.write("bundle", bytes=size)
    return metrics, failure


def _watched_metric(recipe: Recipe) -> tuple[str, str]:
    """The metric that the recipe watches, without ``eval_``, and whether more or less of it is better."""
    if recipe.early_stopping is not None:
        metric, mode = recipe.early_stopping.metric, recipe.early_stopping.mode
    elif recipe.average is not None:
        average = recipe.average.resolved(None)
        metric, mode = str(average.metric), str(average.mode)
    else:
        metric, mode = "f1_macro", "max"
    return metric.removeprefix("eval_"), mode


def _fit_after_training(
    recipe: Recipe, model: Any, logits: Callable[[], npt.NDArray[np.float32]], truth: list[int], labels: Sequence[str]
) -> None:
    """Let a model fit what it fits when the best weights are back, by the metric that chose these where it can."""
    metric, mode = _watched_metric(recipe)

    def score(found: npt.NDArray[np.float32]) -> float:
        value = monitored_metrics(truth, found.argmax(axis=1).tolist(), labels).get(metric, 0.0)  # a loss: by likelihood alone
        return value if mode == "max" else -value

    if "score" in inspect.signature(model.fit_after_training).parameters:
        model.fit_after_training(logits, truth, score=score)
    else:
        model.fit_after_training(logits, truth)


def _shipped(
    recipe: Recipe, record: RunRecord, truth: list[int], predicted: list[int], labels: Sequence[str]
) -> dict[str, Any]:
    """Say what the bundle itself reaches in the metric that the recipe watches, or in macro F1, and which weights it has."""
    found = monitored_metrics(truth, predicted, labels)
    metric = _watched_metric(recipe)[0]
    metric = metric if metric in found else "f1_macro"
    averaged = any(event["kept"] == "average" for event in record.of("averaged"))
    weights = "average" if averaged else "best" if record.of("restored") else "last"
    return {"metric": metric, "value": found[metric], "weights": weights}


def _beside_teacher(
    prepared: Prepared, truth: list[int], answers: npt.NDArray[np.float32], live: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the bundle says about its teacher, with figures of both on the development rows; empty without one."""
    if prepared.teaching is None or prepared.soft_targets is None:
        return {}
    taught = prepared.soft_targets.dev
    report = classification_report(truth, taught.argmax(axis=1).tolist(), prepared.labels)
    theirs, ours = softmax(taught).astype(np.float64), np.maximum(softmax(answers).astype(np.float64), 1e-30)
    divergence = (theirs * (np.log(np.maximum(theirs, 1e-30)) - np.log(ours))).sum(axis=1)
    figures = {
        "agreement": float((taught.argmax(axis=1) == answers.argmax(axis=1)).mean()),
        "divergence": float(divergence.mean()),
        "teacher_accuracy": report["accuracy"],
        "teacher_f1_macro": report["f1_macro"],
        "f1_macro_kept": live["f1_macro"] / report["f1_macro"] if report["f1_macro"] else None,
    }
    return {**prepared.teaching.summary(), "dev": figures}


def _calibrated(recipe: Recipe, prepared: Prepared, bundle: Bundle, record: RunRecord) -> Bundle:
    """Fit temperature and thresholds on the development rows, as far as the recipe and their number allow."""
    from paddlenlp_embtune.export import MIN_CALIBRATION_ROWS, calibrate

    if not recipe.export.calibrate or len(prepared.dev) < MIN_CALIBRATION_ROWS:
        return bundle
    wanted = recipe.export.target_precision
    bundle = calibrate(bundle, prepared.dev.texts, prepared.dev.labels, target_precision=wanted)
    manifest = bundle.manifest
    record.write(
        "calibrated",
        temperature=manifest.temperature,
        thresholds=dict(manifest.thresholds),
        **to_plain(manifest.calibration),
    )
    return bundle


def _quantized(recipe: Recipe, prepared: Prepared, bundle: Bundle, record: RunRecord) -> Bundle:
    """Add a program in 8 bits, measured on the development rows."""
    from paddlenlp_embtune.export import quantize

    method = recipe.export.int8 or "static"
    bundle = quantize(bundle, prepared.dev.texts, prepared.dev.labels, precision="int8", method=method)
    record.write("quantized", precision="int8", **to_plain(bundle.manifest.quantized["int8"]))
    return bundle


def _keep_versions(recipe: Recipe, prepared: Prepared, trainer: Any, folder: Path) -> None:
    """Store the embedding as training found it and as it left it."""
    from paddlenlp_embtune.models import embedding_name

    wanted = recipe.vectors.versions
    if not (wanted if wanted is not None else len(prepared.table) < _MANY_ROWS):
        return
    store = VectorStore.open(folder / VERSIONS, create=True)
    tokens, groups = prepared.tokenizer.vocabulary.tokens, term_groups(recipe)
    end = dict(trainer.model.named_parameters())[embedding_name(trainer.model)].numpy()
    for name, table in zip(OWN_VERSIONS, (prepared.table, end), strict=True):
        store.save(name, tokens, table, source=prepared.coverage.source, groups=groups)


def _write_insight(recipe: Recipe, prepared: Prepared, trainer: Any, folder: Path, dev: Mapping[str, Any]) -> None:
    """Write what the report shows beyond the record: answers on the development rows, and how the embedding moved."""
    from paddlenlp_embtune.models import embedding_name

    end = dict(trainer.model.named_parameters())[embedding_name(trainer.model)]
    ids = np.fromiter(itertools.chain.from_iterable(trainer.train_dataset.ids), dtype=np.int64)
    counts = np.bincount(ids, minlength=len(prepared.table))
    moved = describe_drift(
        prepared.table,
        end.numpy(),
        prepared.tokenizer.vocabulary.tokens,
        term_groups(recipe),
        counts=counts,
        rows_of=lambda term: content_ids(prepared.tokenizer, term),
    )
    write_text(folder / INSIGHT, dump_json({"dev": dev, "movement": moved}) + "\n")


def _without_folders(recipe: Recipe) -> Recipe:
    return recipe.with_paths(lambda path: Path(path).name)
