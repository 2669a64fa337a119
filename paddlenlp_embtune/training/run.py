"""One training run: a recipe in, a bundle and a record out."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import BundleError, EmbtuneError, HostError, RecipeError, TrainingError
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import content_ids
from paddlenlp_embtune.training._finalize import deliver
from paddlenlp_embtune.training._outcome import checking_outcome, outcome_notes
from paddlenlp_embtune.training._preflight import (
    RECORD,
    check_checkpoints,
    check_dev_rows,
    check_length,
    check_run_dir,
    checkpoints_of,
    drop_idle,
    keeping_checkpoints,
    run_lock,
)
from paddlenlp_embtune.training._prepare import Prepared, check_names, data_summary, prepare, resolve_defaults, term_groups
from paddlenlp_embtune.training._teacher import ANSWERS, check_student, compute_teacher_logits, save_soft_targets
from paddlenlp_embtune.training.run_log import RunRecord
from paddlenlp_embtune.utils.files.atomic_io import replace_folder
from paddlenlp_embtune.utils.files.os_errors import next_step

if TYPE_CHECKING:
    from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows
    from paddlenlp_embtune.training.lr_finder import LearningRateCurve

__all__ = ["RunResult", "build", "learning_rate_curves", "train"]


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run leaves.

    Args:
        run_dir: its folder, with ``recipe.yaml``, ``record.jsonl`` and ``metrics.json``.
        bundle: folder of the bundle.
        metrics: figures of the bundle on the development rows, through its first exported engine.
        seconds: wall time of the training loop alone.
        notes: what must be known about how the training ended, a sentence each; empty where it ended as it should.
    """

    run_dir: Path
    bundle: Path
    metrics: Mapping[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    listeners: Sequence[Callable[[Mapping[str, Any]], None]] = (),
    progress: Callable[[int, int], object] | None = None,
    teaching: Callable[[int, int], object] | None = None,
) -> RunResult:
    """Run a recipe: read and check data, tune, export with proof, evaluate the bundle.

    The run is written into a hidden sibling of ``out`` and renamed when it is complete: a run that fails in training leaves
    nothing; one whose export fails keeps its weights, in a bundle for the engine ``paddle``, and raises. While it trains, and
    until it is complete, checkpoints stand beside ``out`` in ``OUT.checkpoints``, and no other run can write to ``out``.

    Args:
        recipe: what to do; ``recipe.data.train`` is needed.
        out: folder of the run.
        overwrite: replace an earlier run there, once the new one is complete; checkpoints of an unfinished one are dropped.
        resume: continue from the last checkpoint of a run that was killed, with the same recipe and data; the result is
            bit-equal to that of a run that was not. Without a checkpoint, begin at the beginning.
        listeners: called with every event of the run's record.
        progress: called with the bytes of a vector file that have been read, and their number.
        teaching: called with the texts that a teacher has answered, and their number.
    Raises:
        RecipeError, DataError, VectorError, HostError, ParityError, BundleError, PluginError, TrainingError: see their
            docstrings; the message says what to do.
    """
    run_dir = Path(out)
    if not run_dir.resolve().name:
        raise RecipeError(f"a run cannot be written to {run_dir}; give a folder below it")
    checkpoints = checkpoints_of(run_dir)

    def check_free() -> None:
        check_run_dir(run_dir, overwrite=overwrite)
        check_checkpoints(checkpoints, overwrite=overwrite, resume=resume)

    check_free()
    check_names(recipe)
    with _naming_plugins():
        prepared = prepare(recipe, progress=progress)
    recipe = resolve_defaults(recipe, prepared).relative_to(Path.cwd())
    with run_lock(run_dir), _worded(run_dir, checkpoints):
        check_free()  # another run may have ended there while this one read its data
        if overwrite and not resume:
            shutil.rmtree(checkpoints, ignore_errors=True)
        if not resume:
            drop_idle(checkpoints)
        with keeping_checkpoints(checkpoints), replace_folder(run_dir) as folder:
            recipe.save(folder / "recipe.yaml")
            record = RunRecord(folder / RECORD, listeners=tuple(listeners))
            record.write("start", recipe=recipe.fingerprint(), cpu=dataclasses.asdict(compat.cpu_setup()))
            record.write("data", **data_summary(prepared))
            record.write("vectors", **prepared.origins)
            prepared = _taught(recipe, prepared, record, checkpoints=checkpoints, progress=teaching)
            with _naming_plugins():
                try:
                    trainer, seconds = _tune(recipe, prepared, record, checkpoints)
                except TrainingError:
                    shutil.rmtree(checkpoints, ignore_errors=True)  # going on from there would end the same way
                    raise
                metrics, failure = deliver(recipe, prepared, trainer, folder, record)
        if failure is None:
            shutil.rmtree(checkpoints, ignore_errors=True)
    if failure is not None:
        engines = " ".join(f"--engine {name}" for name in recipe.export.engines)
        raise type(failure)(
            f"{failure}; the trained weights are kept in {run_dir / 'bundle'} for the engine paddle; when the cause is fixed: "
            f"embtune export {run_dir / 'bundle'} {engines}"
        ) from failure
    registry.current().call("embtune_after_train", trainer=trainer, recipe=recipe, run_dir=run_dir)
    return RunResult(run_dir, run_dir / "bundle", metrics, seconds, outcome_notes(record))


@contextlib.contextmanager
def _worded(run_dir: Path, checkpoints: Path) -> Iterator[None]:
    """Word what the disk refuses: of which run, what is left, and the next step.

    Raises:
        HostError: the disk does not take the run.
    """
    from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint

    try:
        yield
    except (OSError, BundleError) as error:
        refused = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(refused, OSError) or refused.errno is None:
            raise
        if last_checkpoint(checkpoints) is None:
            shutil.rmtree(checkpoints, ignore_errors=True)
            left = "nothing was left behind"
        else:
            left = f"its checkpoints are kept in {checkpoints}: continue with --resume after that, or remove them"
        raise HostError(
            f"cannot write the run {run_dir}: {refused.strerror or refused}; {next_step(refused)}; {left}"
        ) from error


def build(recipe: Recipe, prepared: Prepared, *, out: Path) -> Any:
    """Build the model with its embedding, and a Trainer for it that no recipe is attached to yet.

    Args:
        recipe: what to do.
        prepared: what :func:`prepare` settled.
        out: folder for the Trainer's checkpoints.
    Raises:
        RecipeError: the model does not read texts of ``text.max_length``, or does not know an option.
    """
    from paddlenlp_embtune.models import build_model, classifier_on, load_layer, set_embedding, try_model, with_table
    from paddlenlp_embtune.models.adapters import add_adapter
    from paddlenlp_embtune.training._trainer import build_trainer, seed_everything

    seed_everything(recipe.seed)
    if prepared.bundle is not None:
        layer = load_layer(prepared.bundle.path)
        prepared.bundle.check_current("weights.safetensors", "model.json")
        model = with_table(layer, recipe.model.name, prepared.table)
    elif prepared.pretrained is not None:
        model = classifier_on(
            prepared.pretrained, prepared.table, num_labels=len(prepared.labels), options=recipe.model.options
        )
    else:
        model = build_model(
            recipe.model.name,
            vocabulary_size=len(prepared.tokenizer.vocabulary),
            dimension=prepared.table.shape[1],
            num_labels=len(prepared.labels),
            options=recipe.model.options,
        )
        set_embedding(model, prepared.table)
        sizes = {"vocabulary_size": len(prepared.tokenizer.vocabulary), "num_labels": len(prepared.labels)}
        try_model(model, recipe.model.name, **sizes)
    if recipe.adapter is not None:
        add_adapter(model, recipe.adapter)
    check_length(recipe, model)
    rows = (prepared.train, prepared.dev)
    return build_trainer(
        recipe,
        model,
        rows=rows,
        labels=prepared.labels,
        tokenizer=prepared.tokenizer,
        out=str(out),
        soft_targets=prepared.soft_targets,
    )


def learning_rate_curves(
    recipe: Recipe,
    *,
    groups: Sequence[str | None] = (None,),
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> list[LearningRateCurve]:
    """Run the rate finder on the data and the model of a recipe.

    Args:
        recipe: what would be trained.
        groups: names of groups, a test for each; None stands for all groups together.
        progress: called with (steps done, steps) of each test.
        options: ``lowest``, ``highest`` and ``steps`` of :func:`paddlenlp_embtune.training.lr_finder.find_learning_rates`.
    """
    from paddlenlp_embtune.training.lr_finder import find_learning_rates
    from paddlenlp_embtune.training.parameter_groups import group_specs, resolve_groups

    check_names(recipe)
    prepared = prepare(recipe)
    recipe = resolve_defaults(recipe, prepared)
    prepared = _taught(recipe, prepared, RunRecord())
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        trainer = build(recipe, prepared, out=Path(scratch))
        resolved = resolve_groups(trainer.model, group_specs(recipe, trainer.model))
        norm = recipe.clip.global_norm if recipe.clip is not None else None
        return [
            find_learning_rates(trainer, resolved, group=group, global_norm=norm, progress=progress, **options)
            for group in groups
        ]


def _tune(recipe: Recipe, prepared: Prepared, record: RunRecord, checkpoints: Path) -> tuple[Any, float]:
    """Attach the recipe to a Trainer and train; return the Trainer and the seconds of the loop."""
    from paddlenlp_embtune.models.adapters import merge_adapter
    from paddlenlp_embtune.training import attach
    from paddlenlp_embtune.training._distillation_loss import SoftTargetsCallback, add_map, drop_map
    from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint

    check_dev_rows(recipe, len(prepared.dev))
    trainer = build(recipe, prepared, out=checkpoints)
    if prepared.soft_targets is not None and prepared.soft_targets.vectors is not None:
        recipe = add_map(trainer.model, recipe, width=prepared.soft_targets.vectors.shape[1])
    attach(
        trainer,
        recipe,
        record=record,
        tokens=prepared.tokenizer.vocabulary.tokens,
        monitored_rows=_monitored_rows(recipe, prepared),
        identity=_identity(recipe, prepared),
    )
    if (teaching := prepared.teaching) is not None and (soft_targets := prepared.soft_targets) is not None:
        trainer.add_callback(SoftTargetsCallback(lambda folder: save_soft_targets(folder / ANSWERS, soft_targets, teaching)))
    checkpoint = last_checkpoint(checkpoints)
    started = time.perf_counter()
    with checking_outcome(record):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    seconds = time.perf_counter() - started
    drop_map(trainer.model)
    if recipe.adapter is not None:
        merge_adapter(trainer.model)
    record.write("trained", seconds=round(seconds, 2), steps=int(trainer.state.global_step), epochs=trainer.state.epoch)
    train_cut, dev_cut = trainer.cut
    record.write("cut", max_length=recipe.text.max_length, train=train_cut, dev=dev_cut)
    return trainer, seconds


@contextlib.contextmanager
def _naming_plugins() -> Iterator[None]:
    """Name the plugin in whose code an error was raised that nobody foresaw: in a callback, a loss or a model.

    Raises:
        PluginError: a plugin's code raised something.
    """
    try:
        yield
    except EmbtuneError:
        raise
    except Exception as error:
        if (named := registry.current().blame(error)) is not None:
            raise named from error
        raise


def _taught(
    recipe: Recipe,
    prepared: Prepared,
    record: RunRecord,
    *,
    checkpoints: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Prepared:
    """Ask the teacher, if there is one, or take the answers that stand beside the checkpoints of a run that continues."""
    if prepared.teaching is None:
        return prepared
    check_student(prepared.teaching.spec, recipe.model.name)
    kept = checkpoints / ANSWERS if checkpoints is not None else None
    soft_targets, figures = compute_teacher_logits(prepared.teaching, kept=kept, progress=progress)
    record.write("teacher", **prepared.teaching.summary(), asked=figures)
    return dataclasses.replace(prepared, soft_targets=soft_targets)


def _monitored_rows(recipe: Recipe, prepared: Prepared) -> MonitoredRows:
    """What is known about the rows: the terms of the domain, the unknown token, whether the rows come from somewhere."""
    from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows

    vocabulary, groups = prepared.tokenizer.vocabulary, {}
    for name, terms in term_groups(recipe).items():
        rows = [content_ids(prepared.tokenizer, term) for term in terms]
        known = [list(row) for row in rows if len(row) and vocabulary.unknown_id not in row]
        if len(known) >= 2:
            groups[name] = known
    pretrained = recipe.vectors.source != "random"
    return MonitoredRows(tokens=vocabulary.tokens, groups=groups, unknown=vocabulary.unknown_id, pretrained=pretrained)


def _identity(recipe: Recipe, prepared: Prepared) -> dict[str, Any]:
    """What else a checkpoint must have been made with: the rest of the recipe, and the contents of the data."""
    plain = recipe.to_dict()
    rest = {name: plain[name] for name in ("seed", "domain", "text", "vectors", "model", "adapter", "train")}
    rest["train"].pop("checkpoint_seconds")
    rows = {
        name: hashlib.sha256(repr((part.texts, part.labels)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        for name, part in (("train", prepared.train), ("dev", prepared.dev))
    }
    if prepared.pretrained is not None:
        rest["encoder"] = prepared.pretrained.fingerprint()
    if prepared.bundle is not None:  # another one may stand at the same place by now
        rest["start"] = dict(sorted(prepared.bundle.manifest.files.items()))
    rest["tokenizer"] = dict(prepared.tokenizer.config())
    rest["embedding"] = hashlib.blake2b(np.ascontiguousarray(prepared.table).data, digest_size=8).hexdigest()
    if prepared.teaching is not None:
        rest["distill"] = prepared.teaching.identity()
    return {**rest, "labels": list(prepared.labels), "rows": rows}
