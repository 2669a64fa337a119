"""One training run: a recipe in, a bundle and a record out."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import host, registry
from paddlenlp_embtune.data import DataReport, Rows, check_rows, discover_labels, hold_out, read_rows
from paddlenlp_embtune.domain import Domain
from paddlenlp_embtune.errors import (
    EmbtuneError,
    HostError,
    MissingDependencyError,
    ParityError,
    RecipeError,
    legal_names,
)
from paddlenlp_embtune.evaluation import classification_report
from paddlenlp_embtune.evaluation.insight import insight
from paddlenlp_embtune.files import replace_folder, sha256_of, write_text
from paddlenlp_embtune.recipe import Recipe
from paddlenlp_embtune.text import CharTokenizer, Tokenizer, Vocabulary, unknown_report
from paddlenlp_embtune.text.vocabulary import UNK_ID
from paddlenlp_embtune.tuning.record import RunRecord
from paddlenlp_embtune.vectors import Coverage, VectorTable, initialise, initialise_random
from paddlenlp_embtune.vectors.movement import movement

if TYPE_CHECKING:
    from paddlenlp_embtune.tuning.finder import RateCurve
    from paddlenlp_embtune.tuning.watched import Watched

__all__ = ["Prepared", "RunResult", "build", "prepare", "rate_curves", "train"]

RECORD = "record.jsonl"
INSIGHT = "insight.json"
_RANDOM_DIMENSION = 128


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Everything that is settled before the first step.

    Args:
        train, dev: labelled rows.
        labels: class names in order.
        ordered: whether their order means anything.
        report: what a look at the data found.
        tokenizer: with its vocabulary.
        table: (V, D) float32, the embedding's start.
        coverage: where its rows came from.
    """

    train: Rows
    dev: Rows
    labels: tuple[str, ...]
    ordered: bool
    report: DataReport
    tokenizer: Tokenizer
    table: npt.NDArray[np.float32]
    coverage: Coverage


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run leaves.

    Args:
        run_dir: its folder, with ``recipe.yaml``, ``record.jsonl`` and ``metrics.json``.
        bundle: folder of the bundle.
        metrics: figures of the bundle on the development rows, through its first exported engine.
        seconds: wall time of the training loop alone.
    """

    run_dir: Path
    bundle: Path
    metrics: Mapping[str, Any]
    seconds: float


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    listeners: Sequence[Callable[[Mapping[str, Any]], None]] = (),
) -> RunResult:
    """Run a recipe: read and check data, tune, export with proof, evaluate the bundle.

    The run is written into a hidden sibling of ``out`` and renamed when it is complete: a run that fails in training leaves
    nothing; one whose export fails keeps its weights, in a bundle for the engine ``paddle``, and raises. While it trains, and
    until it is complete, checkpoints stand beside ``out`` in ``OUT.checkpoints``.

    Args:
        recipe: what to do; ``recipe.data.train`` is needed.
        out: folder of the run.
        overwrite: replace an earlier run there, once the new one is complete; checkpoints of an unfinished one are dropped.
        resume: go on from the last checkpoint of a run that was killed, with the same recipe and data; the result is bit-equal
            to that of a run that was not. Without a checkpoint, begin at the beginning.
        listeners: called with every event of the run's record.
    Raises:
        RecipeError, DataError, VectorError, HostError, ParityError, BundleError, PluginError: see their docstrings; the
            message says what to do.
    """
    run_dir = Path(out)
    _check_run_dir(run_dir, overwrite=overwrite)
    checkpoints = run_dir.resolve().with_name(f"{run_dir.resolve().name}.checkpoints")
    _check_checkpoints(checkpoints, overwrite=overwrite, resume=resume)
    _check_names(recipe)
    prepared = prepare(recipe)
    recipe = _settle(recipe, rows=len(prepared.train)).relative_to(Path.cwd())
    with replace_folder(run_dir) as folder:
        recipe.save(folder / "recipe.yaml")
        record = RunRecord(folder / RECORD, listeners=tuple(listeners))
        record.write("start", recipe=recipe.fingerprint(), cpu=dataclasses.asdict(host.cpu_setup()))
        record.write("data", **_data_summary(prepared))
        record.write("vectors", **prepared.coverage.summary())
        trainer, seconds = _tune(recipe, prepared, record, checkpoints)
        metrics, failure = _deliver(recipe, prepared, trainer, folder, record)
    if failure is not None:
        engines = " ".join(f"--engine {name}" for name in recipe.export.engines)
        raise type(failure)(
            f"{failure}; the trained weights are kept in {run_dir / 'bundle'} for the engine paddle; when the cause is mended: "
            f"embtune export {run_dir / 'bundle'} {engines}"
        ) from failure
    shutil.rmtree(checkpoints, ignore_errors=True)
    registry.current().call("embtune_after_train", trainer=trainer, recipe=recipe, run_dir=run_dir)
    return RunResult(run_dir, run_dir / "bundle", metrics, seconds)


def prepare(recipe: Recipe) -> Prepared:
    """Read and check the data, build vocabulary and embedding; no Paddle yet.

    Raises:
        RecipeError: the recipe names no training data.
        DataError: the data cannot be trained on.
        VectorError: the vectors do not fit.
    """
    data = recipe.data
    if data.train is None:
        raise RecipeError("the recipe names no training data; set data.train, or pass --data FILE")
    columns = {"text_column": data.text_column, "label_column": data.label_column, "skip_empty": data.skip_empty}
    rows = read_rows(data.train, **columns)  # type: ignore[arg-type]
    domain: Domain | None = registry.current().get("domain", recipe.domain) if recipe.domain is not None else None
    labels = discover_labels(rows, data.labels or (domain.labels if domain else None))
    if data.dev is not None:
        dev = read_rows(data.dev, **columns)  # type: ignore[arg-type]
    else:
        rows, dev = hold_out(rows, ratio=data.dev_ratio, seed=recipe.seed)
    report = check_rows(rows, dev, labels)
    vectors = _read_vectors(recipe)
    tokenizer = _build_tokenizer(recipe, rows, vectors)
    vocabulary, rms = tokenizer.vocabulary, recipe.vectors.rms
    if vectors is None:
        table, coverage = initialise_random(vocabulary, _RANDOM_DIMENSION, rms=rms, seed=recipe.seed)
    else:
        table, coverage = initialise(vocabulary, vectors, rms=rms, seed=recipe.seed)
    ordered = domain.ordered if domain and labels == domain.labels else data.labels is not None
    return Prepared(rows, dev, labels, ordered, report, tokenizer, table, coverage)


def _settle(recipe: Recipe, *, rows: int) -> Recipe:
    """Replace what follows from the number of rows: the epochs."""
    epochs = recipe.train.epochs
    if epochs is None:
        steps_per_epoch = -(-rows // recipe.train.batch_size)
        epochs = min(40, max(8, round(1200 / steps_per_epoch)))
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=epochs))


def _read_vectors(recipe: Recipe) -> VectorTable | None:
    source = recipe.vectors.source
    if source == "random":
        return None
    formats = registry.current().names("vector format")
    if source not in formats:
        raise RecipeError(f"vectors.source is {source!r}; {legal_names(source, [*formats, 'random'])}")
    table: VectorTable = registry.current().get("vector format", source)(source)
    return table


def _build_tokenizer(recipe: Recipe, rows: Rows, vectors: VectorTable | None) -> CharTokenizer:
    text = recipe.text
    if text.tokenizer != "char":
        raise RecipeError(f"text.tokenizer is {text.tokenizer!r}; {legal_names(text.tokenizer, ['char'])}")
    counts = CharTokenizer.count(rows.texts, lowercase=text.lowercase)
    further: list[str] = []
    if vectors is not None and text.extra_rows:
        folded = (word.lower() if text.lowercase else word for word in vectors.rows)
        further = [w for w in dict.fromkeys(folded) if w not in counts and w.strip() and len(w) == 1][: text.extra_rows]
    return CharTokenizer(Vocabulary.from_counts(counts, min_count=text.min_count, extra=further), text.lowercase)


def build(recipe: Recipe, prepared: Prepared, *, out: Path) -> Any:
    """Build the model with its embedding, and a Trainer for it that no recipe is attached to yet.

    Args:
        recipe: what to do.
        prepared: what :func:`prepare` settled.
        out: folder for the Trainer's checkpoints.
    """
    from paddlenlp_embtune.models import build_model, set_embedding
    from paddlenlp_embtune.tuning.trainer import build_trainer, seed_everything

    seed_everything(recipe.seed)
    model = build_model(
        recipe.model.name,
        vocabulary_size=len(prepared.tokenizer.vocabulary),
        dimension=prepared.table.shape[1],
        num_labels=len(prepared.labels),
        options=recipe.model.options,
    )
    set_embedding(model, prepared.table)
    rows = (prepared.train, prepared.dev)
    return build_trainer(recipe, model, rows=rows, labels=prepared.labels, tokenizer=prepared.tokenizer, out=str(out))


def rate_curves(
    recipe: Recipe,
    *,
    groups: Sequence[str | None] = (None,),
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> list[RateCurve]:
    """Run the rate finder on the data and the model of a recipe.

    Args:
        recipe: what would be trained.
        groups: names of groups, a test for each; None stands for all groups together.
        progress: called with (steps done, steps) of each test.
        options: ``lowest``, ``highest`` and ``steps`` of :func:`paddlenlp_embtune.tuning.finder.find_rates`.
    """
    from paddlenlp_embtune.tuning.finder import find_rates
    from paddlenlp_embtune.tuning.groups import group_specs, resolve_groups

    _check_names(recipe)
    prepared = prepare(recipe)
    recipe = _settle(recipe, rows=len(prepared.train))
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        trainer = build(recipe, prepared, out=Path(scratch))
        resolved = resolve_groups(trainer.model, group_specs(recipe, trainer.model))
        norm = recipe.clip.global_norm if recipe.clip is not None else None
        return [find_rates(trainer, resolved, group=group, global_norm=norm, progress=progress, **options) for group in groups]


def _tune(recipe: Recipe, prepared: Prepared, record: RunRecord, checkpoints: Path) -> tuple[Any, float]:
    """Attach the recipe to a Trainer and train; return the Trainer and the seconds of the loop."""
    from paddlenlp_embtune.tuning import attach, last_checkpoint

    trainer = build(recipe, prepared, out=checkpoints)
    attach(
        trainer,
        recipe,
        record=record,
        tokens=prepared.tokenizer.vocabulary.tokens,
        watched=_watched(recipe, prepared),
        identity=_identity(recipe, prepared),
    )
    checkpoint = last_checkpoint(checkpoints)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    seconds = time.perf_counter() - started
    record.write("trained", seconds=round(seconds, 2), steps=int(trainer.state.global_step), epochs=trainer.state.epoch)
    return trainer, seconds


def _watched(recipe: Recipe, prepared: Prepared) -> Watched:
    """What is known about the rows: the terms of the domain, the unknown token, whether the rows come from somewhere."""
    from paddlenlp_embtune.tuning.watched import Watched

    vocabulary, groups = prepared.tokenizer.vocabulary, {}
    domain: Domain | None = registry.current().get("domain", recipe.domain) if recipe.domain is not None else None
    for name, terms in (domain.term_groups if domain is not None else {}).items():
        rows = [prepared.tokenizer.encode(term, max_length=recipe.text.max_length) for term in terms]
        known = [list(row) for row in rows if len(row) and UNK_ID not in row]
        if len(known) >= 2:
            groups[name] = known
    pretrained = recipe.vectors.source != "random"
    return Watched(tokens=vocabulary.tokens, groups=groups, unknown=UNK_ID, pretrained=pretrained)


def _identity(recipe: Recipe, prepared: Prepared) -> dict[str, Any]:
    """What else a checkpoint must have been made with: the rest of the recipe, and the contents of the data."""
    plain = recipe.to_dict()
    rest = {name: plain[name] for name in ("seed", "domain", "text", "vectors", "model", "train")}
    rest["train"].pop("checkpoint_seconds")
    rows = {
        name: hashlib.sha256(repr((part.texts, part.labels)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        for name, part in (("train", prepared.train), ("dev", prepared.dev))
    }
    return {**rest, "labels": list(prepared.labels), "rows": rows}


def _deliver(
    recipe: Recipe, prepared: Prepared, trainer: Any, folder: Path, record: RunRecord
) -> tuple[dict[str, Any], EmbtuneError | None]:
    """Save the weights, export with proof, evaluate; return the figures, and the error if an engine could not be exported."""
    from paddlenlp_embtune.export import BundleContent, add_engines, write_bundle
    from paddlenlp_embtune.serving import Predictor
    from paddlenlp_embtune.tuning.trainer import encode_rows, predict_logits

    dev = encode_rows(prepared.dev, prepared.labels, prepared.tokenizer, max_length=recipe.text.max_length)
    truth = list(dev.labels)

    def logits() -> npt.NDArray[np.float32]:
        return predict_logits(trainer.model, dev, batch_size=recipe.train.eval_batch_size)

    if hasattr(trainer.model, "fit_after_training"):
        trainer.model.fit_after_training(logits, truth)
    live = classification_report(truth, logits().argmax(axis=1).tolist(), prepared.labels)
    content = BundleContent(
        model=trainer.model,
        model_name=recipe.model.name,
        tokenizer=prepared.tokenizer,
        labels=prepared.labels,
        ordered=prepared.ordered,
        max_length=recipe.text.max_length,
        domain=recipe.domain,
        recipe=_without_folders(recipe).to_dict(),
        data=_data_summary(prepared, folders=False),
        vectors=prepared.coverage.summary(),
        metrics={"dev": {key: live[key] for key in ("n", "accuracy", "f1_macro", "per_class")}},
        sample_texts=prepared.dev.texts[:256],
    )
    bundle, failure = write_bundle(folder / "bundle", content, engines=()), None
    try:
        if recipe.export.engines:
            bundle = add_engines(bundle, bundle.path, engines=recipe.export.engines, sample_texts=content.sample_texts)
    except (ParityError, HostError) as error:
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
    write_text(folder / "metrics.json", json.dumps(metrics, ensure_ascii=False, indent=1) + "\n")
    record.write("metrics", **metrics)
    _write_insight(recipe, prepared, trainer.model, folder, insight(probabilities, truth, prepared.labels, prepared.dev.texts))
    size = sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file())
    record.write("bundle", bytes=size)
    return metrics, failure


def _write_insight(recipe: Recipe, prepared: Prepared, model: Any, folder: Path, dev: Mapping[str, Any]) -> None:
    """Write what the report shows beyond the record: answers on the development rows, and how the embedding moved."""
    from paddlenlp_embtune.models import embedding_name

    end = dict(model.named_parameters())[embedding_name(model)]
    domain: Domain | None = registry.current().get("domain", recipe.domain) if recipe.domain is not None else None
    counts = np.zeros(len(prepared.table), dtype=np.int64)
    for text in prepared.train.texts:
        np.add.at(counts, prepared.tokenizer.encode(text, max_length=recipe.text.max_length), 1)
    moved = movement(
        prepared.table,
        end.numpy(),
        prepared.tokenizer.vocabulary.tokens,
        domain.term_groups if domain is not None else {},
        counts=counts,
        rows_of=lambda term: prepared.tokenizer.encode(term, max_length=recipe.text.max_length),
    )
    write_text(folder / INSIGHT, json.dumps({"dev": dev, "movement": moved}, ensure_ascii=False) + "\n")


def _data_summary(prepared: Prepared, *, folders: bool = True) -> dict[str, Any]:
    """Counts and fingerprints of the data; a bundle, which travels, gets the names of files without their folders."""
    unknown = unknown_report(prepared.tokenizer, prepared.dev.texts)

    def shown(source: str) -> str:
        return source if folders else Path(source).name

    return {
        "train": shown(prepared.train.source),
        "dev": shown(prepared.dev.source),
        "train_rows": len(prepared.train),
        "dev_rows": len(prepared.dev),
        "classes": prepared.report.classes,
        "duplicates": prepared.report.duplicates,
        "conflicts": prepared.report.conflicts,
        "leaks": prepared.report.leaks,
        "skipped_empty": prepared.train.skipped_empty,
        "warnings": prepared.report.warnings(),
        "vocabulary": len(prepared.tokenizer.vocabulary),
        "dev_unknown_rate": round(unknown.rate, 6),
        "sha256": {shown(source): sha256_of(Path(source)) for source in _files(prepared)},
    }


def _without_folders(recipe: Recipe) -> Recipe:
    names: dict[str, Any] = {
        name: Path(path).name for name in ("train", "dev") if (path := getattr(recipe.data, name)) is not None
    }
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **names))


def _files(prepared: Prepared) -> list[str]:
    return [rows.source for rows in (prepared.train, prepared.dev) if Path(rows.source).is_file()]


def _check_names(recipe: Recipe) -> None:
    """Refuse unknown names and missing packages before any work is done."""
    known = registry.current()
    wanted = [("model", [recipe.model.name]), ("loss", [recipe.train.loss]), ("exporter", recipe.export.engines)]
    for kind, names in wanted:
        for name in names:
            if name not in known.names(kind):
                raise RecipeError(f"the recipe asks for the {kind} {name!r}; {legal_names(name, known.names(kind))}")
    for name in recipe.export.engines:
        for package in getattr(known.get("exporter", name), "requires", ()):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"the exporter {name!r} needs {package}, which is not installed; install it with: pip install {package}, "
                    "or leave the engine out of export.engines"
                )
    if recipe.domain is not None and recipe.domain not in known.names("domain"):
        raise RecipeError(f"the recipe's domain is {recipe.domain!r}; {legal_names(recipe.domain, known.names('domain'))}")


def _check_checkpoints(checkpoints: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse to pass over the checkpoints of an unfinished run; drop them where that was asked for."""
    if resume or not checkpoints.is_dir():
        return
    if overwrite:
        shutil.rmtree(checkpoints)
        return
    raise RecipeError(
        f"{checkpoints} holds checkpoints of a run that was not finished; go on with --resume, or begin afresh with --overwrite"
    )


def _check_run_dir(run_dir: Path, *, overwrite: bool) -> None:
    if run_dir.exists() and not run_dir.is_dir():
        raise RecipeError(f"{run_dir} is a file; legal: a folder for the run, new or empty")
    first = next(run_dir.iterdir(), None) if run_dir.exists() else None
    if first is None:
        return
    if not overwrite:
        raise RecipeError(f"{run_dir} is not empty (it holds {first.name}); choose another --out, or pass --overwrite")
    if not (run_dir / RECORD).is_file():
        raise RecipeError(f"{run_dir} holds {first.name} but no {RECORD}, so it is no earlier run and will not be replaced")
