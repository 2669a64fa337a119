"""What a run leaves when training has ended: weights, proof, figures, and the embedding before and after."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.embeddings.metrics import describe_drift
from paddlenlp_embtune.embeddings.store import VectorStore
from paddlenlp_embtune.errors import EmbtuneError, HostError, ParityError, PluginError
from paddlenlp_embtune.evaluation import LabelMeasures, classification_report, measures_of
from paddlenlp_embtune.inference import kind_of, softmax, thresholds_of
from paddlenlp_embtune.text import content_ids
from paddlenlp_embtune.training._baseline import BaselineFit
from paddlenlp_embtune.training._continual_store import keep_for_next_step, with_accuracies
from paddlenlp_embtune.training._prepare import Prepared, data_summary
from paddlenlp_embtune.training._stages import Stages
from paddlenlp_embtune.training.run_log import RunRecord
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json
from paddlenlp_embtune.utils.run_layout import BUNDLE, INSIGHT, METRICS, RUN_VERSIONS, VERSIONS
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.data import EncodedDataset
    from paddlenlp_embtune.export import BundleBuilder, BundleContent, LabelledRows
    from paddlenlp_embtune.training.context import TrainingContext

__all__ = ["finalize"]

Ids = npt.NDArray[np.int64]
_MANY_ROWS = 100_000
_SAMPLE_TEXTS, _ENCODER_SAMPLE_TEXTS = 256, 64
"""Real texts in a proof, beside random ones of all lengths; four passes over them are what an encoder's proof costs."""


def finalize(
    prepared: Prepared, context: TrainingContext, folder: Path, baseline: BaselineFit, stages: Stages
) -> tuple[dict[str, Any], EmbtuneError | None]:
    """Write the bundle with its proofs and evaluate it; return the figures, and the error if an engine could not be exported.

    The bundle is built in one transaction. The first of its exported engines reads the development rows, once: the calibration,
    the check of a quantized program and the figures share what it answers; where the export fails, the engine ``paddle`` does.

    Args:
        prepared: the recipe, the data, the tokenizer, and the embedding as it was before.
        context: of the run, whose Trainer has trained the model.
        folder: of the run.
        baseline: what the model is compared with.
        stages: measures the parts: ``measure``, the proof of the weights, calibration and figures; ``export``, the engines
            with their proofs; ``close``, the seal, the analysis and the versions of the embedding.
    """
    from paddlenlp_embtune.export import exporters_ahead, new_bundle
    from paddlenlp_embtune.models import embedding_name

    recipe, trainer, record = prepared.recipe, context.trainer, context.record
    dev = prepared.dev_dataset()
    truth = np.asarray(dev.truth, dtype=np.int64)
    measures = measures_of(prepared.kind, prepared.labels)
    trainer.model.eval()
    stages.begin("measure")
    with exporters_ahead(recipe.export.engines):
        if hasattr(trainer.model, "fit_after_training"):
            _fit_after_training(recipe, trainer, dev, truth, measures)
        with new_bundle(folder / BUNDLE, _content(recipe, prepared, trainer.model)) as builder:
            if prepared.continuation is not None:
                builder.update(continual=keep_for_next_step(prepared, trainer.model, builder.folder))
            rows = builder.rows(prepared.dev.texts, prepared.dev.labels_of_rows, tokenized=prepared.dev_ids)
            builder.prove()
            stages.begin("export")
            failure = _trying(record, lambda: _add_engines(recipe, builder))
            stages.begin("measure")
            engine = next((name for name in recipe.export.engines if name in builder.manifest.engines), "paddle")
            teacher = _measure(builder, rows, engine, prepared, truth, measures)
            uncalibrated = _trying(record, lambda: _calibrate(recipe, builder, rows, record))
            failure = failure or uncalibrated
            stages.begin("export")
            failure = failure or _trying(record, lambda: _quantize(recipe, builder, rows, record))
            stages.begin("close")
            probabilities = rows.probabilities(engine)
            _measure_tasks(builder, engine, prepared, record)
            thresholds = thresholds_of(None, prepared.labels, builder.manifest.thresholds, unset=measures.kind.no_threshold)
            decided = measures.kind.decide(probabilities, thresholds)
            report = measures.report(truth, decided, probabilities)
            builder.update(metrics={"dev": measures.summary(report)})
    bundle = builder.bundle
    for name, parity in bundle.manifest.parity.items():
        record.write("parity", engine=name, **dataclasses.asdict(parity))
    metrics = {**report, "engine": engine, "data": prepared.dev.source}
    if teacher:
        metrics["teacher"] = {"name": teacher["name"], **teacher["dev"]}
    if compared := baseline.compare(truth, decided, prepared.labels, chosen_on_them=bool(record.of("restored"))):
        metrics["baseline"] = compared
    write_text(folder / METRICS, dump_json(metrics, indent=1) + "\n")
    record.write("metrics", **metrics)
    if compared:
        record.write("baseline", **compared)
    record.write("shipped", **_shipped(recipe, record, measures, measures.watched(truth, decided)))
    tuned = dict(trainer.model.named_parameters())[embedding_name(trainer.model)].numpy()
    analysis = {
        "dev": measures.analyze(probabilities, truth, prepared.dev.texts, thresholds),
        "movement": _drift(prepared, tuned, context.token_counts),
    }
    write_text(folder / INSIGHT, dump_json(analysis) + "\n")
    _keep_versions(prepared, tuned, folder)
    record.write("bundle", bytes=sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file()))
    return metrics, failure


def _content(recipe: Recipe, prepared: Prepared, model: Any) -> BundleContent:
    """What the bundle holds and says before it has been measured."""
    from paddlenlp_embtune.export import BundleContent

    samples = _SAMPLE_TEXTS if recipe.model.encoder is None else _ENCODER_SAMPLE_TEXTS
    return BundleContent(
        model=model,
        model_name=recipe.model.bundled_name,
        tokenizer=prepared.tokenizer,
        labels=prepared.labels,
        ordered=prepared.kind.ordered,
        kind=prepared.kind.name,
        max_length=recipe.text.max_length,
        windows=recipe.text.windows,
        domain=recipe.domain,
        recipe=_without_folders(recipe).to_dict(),
        data=data_summary(prepared, folders=False),
        vectors=prepared.origins,
        sample_texts=prepared.dev.texts[:samples],
    )


def _measure(
    builder: BundleBuilder, rows: LabelledRows, engine: str, prepared: Prepared, truth: Ids, measures: LabelMeasures
) -> Mapping[str, Any]:
    """Let the bundle say what it reaches on the development rows, also beside the teacher; return the latter."""
    answers = rows.at_temperature(engine)(1.0)
    found = measures.report(truth, measures.kind.decide(answers))
    teacher = _beside_teacher(prepared, truth, answers, found)
    builder.update(metrics={"dev": measures.summary(found)}, teacher=teacher)
    return teacher


def _measure_tasks(builder: BundleBuilder, engine: str, prepared: Prepared, record: RunRecord) -> None:
    """Let the bundle say what it reaches on the rows of each task that the recipe names, former ones too."""
    continuation = prepared.continuation
    if continuation is None or not continuation.measured:
        return
    number = {label: place for place, label in enumerate(prepared.labels)}
    found = {}
    for name, rows in continuation.measured.items():
        truth = np.array([number[label] for label in rows.labels])
        answers = builder.rows(rows.texts, rows.labels).probabilities(engine)
        found[name] = float((answers.argmax(axis=1) == truth).mean())
    builder.update(continual=with_accuracies(builder.manifest.continual, found))
    record.write("tasks", accuracies=found, sequence=builder.manifest.continual.get("sequence"))


def _calibrate(recipe: Recipe, builder: BundleBuilder, rows: LabelledRows, record: RunRecord) -> None:
    """Fit temperature and thresholds on the development rows, as far as the recipe and their number allow."""
    from paddlenlp_embtune.export import MIN_CALIBRATION_ROWS

    if not recipe.export.calibrate or len(rows) < MIN_CALIBRATION_ROWS:
        return
    builder.calibrate(rows, target_precision=recipe.export.target_precision)
    manifest = builder.manifest
    several = kind_of(manifest).several
    record.write(
        "calibrated",
        **({"labels": len(manifest.scaling)} if several else {}),
        temperature=manifest.temperature,
        thresholds=dict(manifest.thresholds),
        **to_plain(manifest.calibration),
    )


def _add_engines(recipe: Recipe, builder: BundleBuilder) -> None:
    """Export for the engines of the recipe."""
    if recipe.export.engines:
        builder.add_engines(recipe.export.engines)


def _quantize(recipe: Recipe, builder: BundleBuilder, rows: LabelledRows, record: RunRecord) -> None:
    """Add a program in 8 bits, if the recipe asks for one."""
    if recipe.export.int8 is not None:
        builder.quantize(rows, precision="int8", method=recipe.export.int8)
        record.write("quantized", precision="int8", **to_plain(builder.manifest.quantized["int8"]))


def _trying(record: RunRecord, step: Callable[[], None]) -> EmbtuneError | None:
    """Take a step of the export, which leaves the bundle as it was where it fails; return what made it fail."""
    try:
        step()
    except (ParityError, HostError, PluginError) as error:
        record.write("export_failed", message=str(error))
        return error
    return None


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


def _fit_after_training(recipe: Recipe, trainer: Any, dev: EncodedDataset, truth: Ids, measures: LabelMeasures) -> None:
    """Let a model fit what it fits when the best weights are back, by the metric that chose these where it can."""
    from paddlenlp_embtune.training._trainer import predict_logits

    model = trainer.model

    def logits() -> npt.NDArray[np.float32]:
        return predict_logits(model, dev, batch_size=trainer.args.per_device_eval_batch_size)

    metric, mode = _watched_metric(recipe)

    def score(found: npt.NDArray[np.float32]) -> float:
        value = measures.monitored(truth, found).get(metric, 0.0)  # a loss: by likelihood alone
        return value if mode == "max" else -value

    if "score" in inspect.signature(model.fit_after_training).parameters:
        model.fit_after_training(logits, truth.tolist(), score=score)
    else:
        model.fit_after_training(logits, truth.tolist())


def _shipped(recipe: Recipe, record: RunRecord, measures: LabelMeasures, found: Mapping[str, float]) -> dict[str, Any]:
    """Say what the bundle itself reaches in the metric that the recipe watches, or the main one, and which weights it has."""
    metric = _watched_metric(recipe)[0]
    metric = metric if metric in found else measures.main
    averaged = any(event["kept"] == "average" for event in record.of("averaged"))
    weights = "average" if averaged else "best" if record.of("restored") else "last" if recipe.model.tunes else "fitted"
    return {"metric": metric, "value": found[metric], "weights": weights}


def _beside_teacher(
    prepared: Prepared, truth: Ids, answers: npt.NDArray[np.float32], live: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the bundle says about its teacher, with figures of both on the development rows; empty without one.

    Args:
        prepared: holds the teacher's answers.
        truth: N class numbers.
        answers: (N, C) float32 probabilities at temperature 1.
        live: the figures of these answers.
    """
    other_head = prepared.continuation is not None and prepared.continuation.head is not None
    if prepared.teaching is None or prepared.soft_targets is None or other_head:
        return {}
    taught = prepared.soft_targets.dev
    report = classification_report(truth.tolist(), taught.argmax(axis=1).tolist(), prepared.labels)
    theirs, ours = softmax(taught).astype(np.float64), answers[:, : taught.shape[1]].astype(np.float64)  # not of new labels
    ours = np.maximum(ours / np.maximum(ours.sum(axis=1, keepdims=True), 1e-30), 1e-30)
    divergence = (theirs * (np.log(np.maximum(theirs, 1e-30)) - np.log(ours))).sum(axis=1)
    figures = {
        "agreement": float((taught.argmax(axis=1) == answers.argmax(axis=1)).mean()),
        "divergence": float(divergence.mean()),
        "teacher_accuracy": report["accuracy"],
        "teacher_f1_macro": report["f1_macro"],
        "f1_macro_kept": live["f1_macro"] / report["f1_macro"] if report["f1_macro"] else None,
    }
    return {**prepared.teaching.summary(), "dev": figures}


def _keep_versions(prepared: Prepared, tuned: npt.NDArray[np.float32], folder: Path) -> None:
    """Store the embedding as training found it and as it left it."""
    wanted = prepared.recipe.vectors.versions
    if not (wanted if wanted is not None else len(prepared.table) < _MANY_ROWS):
        return
    store = VectorStore.open(folder / VERSIONS, create=True)
    tokens, groups = prepared.tokenizer.vocabulary.tokens, prepared.term_groups
    for name, table in zip(RUN_VERSIONS, (prepared.table, tuned), strict=True):
        store.save(name, tokens, table, source=prepared.coverage.source, groups=groups)


def _drift(prepared: Prepared, tuned: npt.NDArray[np.float32], counts: npt.NDArray[np.int64] | None) -> Mapping[str, Any]:
    """Describe for the report how training moved the embedding."""
    return describe_drift(
        prepared.table,
        tuned,
        prepared.tokenizer.vocabulary.tokens,
        prepared.term_groups,
        counts=counts,
        rows_of=lambda term: content_ids(prepared.tokenizer, term),
    )


def _without_folders(recipe: Recipe) -> Recipe:
    return recipe.with_paths(lambda path: Path(path).name)
