"""One training run: a recipe in, a bundle and a record out."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import EmbtuneError, RecipeError, TrainingError
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training._baseline import fitting_baseline
from paddlenlp_embtune.training._finalize import finalize
from paddlenlp_embtune.training._identity import run_identity
from paddlenlp_embtune.training._outcome import checking_outcome, outcome_notes
from paddlenlp_embtune.training._preflight import (
    check_checkpoints,
    check_dev_rows,
    check_precision,
    check_run_dir,
    drop_idle,
    keeping_checkpoints,
    run_lock,
)
from paddlenlp_embtune.training._prepare import Prepared, check_names, data_summary, prepare
from paddlenlp_embtune.training._stages import Stages
from paddlenlp_embtune.training._teacher import with_teacher_answers
from paddlenlp_embtune.training._trackers import finish_trackers, tracker_of
from paddlenlp_embtune.training.run_log import RunRecord
from paddlenlp_embtune.utils.files.atomic_io import replace_folder
from paddlenlp_embtune.utils.run_layout import BUNDLE, RECIPE, RECORD, checkpoints_of, logs_of
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.compat import TrainerCallback
    from paddlenlp_embtune.training.context import TrainingContext

__all__ = ["RunResult", "train"]


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
    callbacks: Sequence[TrainerCallback] = (),
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
        callbacks: further callbacks of the Trainer, behind those of the recipe; ``setup(context)`` of an ``EmbtuneCallback`` is
            called.
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
    check_precision(recipe)
    stages = Stages()
    stages.begin("prepare")
    with _naming_plugins():
        prepared = prepare(recipe, progress=progress)
    with run_lock(run_dir), keeping_checkpoints(checkpoints, what=f"the run {run_dir}", resume="continue with --resume"):
        check_free()  # another run may have ended there while this one read its data
        if overwrite and not resume:
            shutil.rmtree(checkpoints, ignore_errors=True)
        if not resume:
            drop_idle(checkpoints)
        with replace_folder(run_dir) as folder:
            prepared.recipe.save(folder / RECIPE)
            record = RunRecord(folder / RECORD, listeners=tuple(listeners))
            _describe_start(prepared, record)
            prepared = with_teacher_answers(prepared, record, checkpoints=checkpoints, progress=teaching)
            with _naming_plugins(), fitting_baseline(prepared) as baseline:
                context, seconds = _fit(prepared, record, run_dir, callbacks, stages)
                with _failing_trackers(context):
                    metrics, failure = finalize(prepared, context, folder, baseline, stages)
            record.write("stages", seconds=stages.seconds())
        if failure is None:
            shutil.rmtree(checkpoints, ignore_errors=True)
    if (tracker := tracker_of(context.trainer)) is not None:
        step = int(context.trainer.state.global_step)
        finish_trackers(tracker, run_dir, accuracy=metrics["accuracy"], f1_macro=metrics["f1_macro"], step=step)
    if failure is not None:
        raise _export_failed(failure, run_dir, prepared.recipe) from failure
    hook = {"trainer": context.trainer, "recipe": prepared.recipe, "run_dir": run_dir, "context": context}
    registry.current().call("embtune_after_train", **hook)
    return RunResult(run_dir, run_dir / BUNDLE, metrics, seconds, outcome_notes(record))


def _describe_start(prepared: Prepared, record: RunRecord) -> None:
    """Write the events that are known before training: recipe and machine, data, and where the vectors came from."""
    record.write("start", recipe=prepared.recipe.fingerprint(), cpu=dataclasses.asdict(compat.cpu_setup()))
    record.write("data", **data_summary(prepared))
    if prepared.augmentation is not None:
        record.write("augmentation", added=prepared.augmentation.added, **to_plain(prepared.augmentation))
    if prepared.tuning is not None:
        record.write("tuning", chosen=prepared.tuning.chosen, why=prepared.tuning.why)
    if prepared.self_training is not None:
        record.write("self_training", **to_plain(prepared.self_training))
    if prepared.continuation is not None:
        record.write("continual", **prepared.continuation.summary())
    record.write("vectors", **prepared.origins)


@contextlib.contextmanager
def _failing_trackers(context: TrainingContext) -> Iterator[None]:
    """End the runs in the trackers as failed where the block raises."""
    try:
        yield
    except BaseException:
        if (tracker := tracker_of(context.trainer)) is not None:
            tracker.finish("failed")
        raise


def _fit(
    prepared: Prepared, record: RunRecord, run_dir: Path, callbacks: Sequence[TrainerCallback], stages: Stages
) -> tuple[TrainingContext, float]:
    """Tune, or fit what needs no tuning, and put experts together; return the context and the seconds of training."""
    if prepared.recipe.model.experts is None:
        context, seconds = _tune(prepared, record, run_dir, callbacks, stages)
    else:
        from paddlenlp_embtune.training._experts import fit_alone, fit_experts

        if prepared.recipe.model.tunes:
            context, seconds = _tune(prepared, record, run_dir, callbacks, stages)
            stages.begin("experts")
            context.trainer.model = fit_experts(prepared, record, network=context.trainer.model)
        else:
            stages.begin("experts")
            context, seconds = fit_alone(prepared, record, out=checkpoints_of(run_dir))
    train_cut, dev_cut = context.trainer.cut
    record.write("cut", max_length=prepared.recipe.text.max_length, train=train_cut, dev=dev_cut)
    return context, seconds


def _tune(
    prepared: Prepared, record: RunRecord, run_dir: Path, callbacks: Sequence[TrainerCallback], stages: Stages
) -> tuple[TrainingContext, float]:
    """Attach the recipe to a Trainer and train; return the context and the seconds of the loop."""
    from paddlenlp_embtune.models.adapters import merge_adapter
    from paddlenlp_embtune.training._build import build
    from paddlenlp_embtune.training._continual_training import average_with_former
    from paddlenlp_embtune.training._distillation_loss import drop_map

    recipe, checkpoints = prepared.recipe, checkpoints_of(run_dir)
    check_dev_rows(recipe, len(prepared.dev))
    stages.begin("build")
    trainer = build(prepared, out=checkpoints)
    trainer.args.logging_dir = str(logs_of(run_dir) / time.strftime("%Y%m%d-%H%M%S", time.gmtime()))
    context = _attach(prepared, trainer, record, run_dir.resolve().name)
    _add_callbacks(prepared, context, callbacks)
    stages.begin("train")
    seconds = _run_loop(trainer, record, checkpoints)
    drop_map(trainer.model)
    if recipe.adapter is not None:
        merge_adapter(trainer.model)
    average_with_former(prepared, trainer.model, record)
    record.write("trained", seconds=round(seconds, 2), steps=int(trainer.state.global_step), epochs=trainer.state.epoch)
    return context, seconds


def _attach(prepared: Prepared, trainer: Any, record: RunRecord, run_name: str) -> TrainingContext:
    """Attach the recipe, with a map onto a teacher's vectors where there are any; a tracker stays open for the export."""
    from paddlenlp_embtune.training._attach import attach_with_context
    from paddlenlp_embtune.training._distillation_loss import add_map
    from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows
    from paddlenlp_embtune.training.parameter_groups import group_specs

    recipe, tokenizer, taught = prepared.recipe, prepared.tokenizer, prepared.soft_targets
    specs = None
    if taught is not None and taught.vectors is not None:
        proposed = group_specs(recipe, trainer.model)
        specs = (*proposed, add_map(trainer.model, width=taught.vectors.shape[1]))
    pretrained = recipe.vectors.source != "random"
    context = attach_with_context(
        trainer,
        recipe,
        record=record,
        tokens=tokenizer.vocabulary.tokens,
        monitored_rows=MonitoredRows.of_terms(tokenizer, prepared.term_groups, pretrained=pretrained),
        identity=run_identity(prepared),
        specs=specs,
        run_name=run_name,
    )
    if (tracker := tracker_of(trainer)) is not None:
        tracker.keeps_open = True
    return context


def _add_callbacks(prepared: Prepared, context: TrainingContext, callbacks: Sequence[TrainerCallback]) -> None:
    """Put a teacher's answers, what holds weights, callbacks that were given, and a contrastive head behind the recipe's."""
    from paddlenlp_embtune.training._continual_training import penalty_of
    from paddlenlp_embtune.training.callbacks._soft_targets import SoftTargetsCallback
    from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

    if prepared.teaching is not None and prepared.soft_targets is not None:
        context.trainer.add_callback(SoftTargetsCallback(prepared.soft_targets, prepared.teaching))
    for callback in (*penalty_of(prepared, context.model), *callbacks):
        if isinstance(callback, EmbtuneCallback):
            callback.setup(context)
        context.trainer.add_callback(callback)
    for callback in context.trainer.contrastive.callbacks if context.trainer.contrastive is not None else ():
        callback.setup(context)
        context.trainer.add_callback(callback)


def _run_loop(trainer: Any, record: RunRecord, checkpoints: Path) -> float:
    """Train, from the last checkpoint if there is one; return the seconds."""
    from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint

    checkpoint = last_checkpoint(checkpoints)
    started = time.perf_counter()
    try:
        with checking_outcome(record):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    except TrainingError:
        shutil.rmtree(checkpoints, ignore_errors=True)  # a run that continues from there would end the same way
        raise
    return time.perf_counter() - started


def _export_failed(failure: EmbtuneError, run_dir: Path, recipe: Recipe) -> EmbtuneError:
    """Return the error of an export with what is kept and the next step."""
    engines = " ".join(f"--engine {name}" for name in recipe.export.engines)
    return type(failure)(
        f"{failure}; the trained weights are kept in {run_dir / BUNDLE} for the engine paddle; once the cause is fixed, run: "
        f"embtune export {run_dir / BUNDLE} {engines}"
    )


@contextlib.contextmanager
def _naming_plugins() -> Iterator[None]:
    """Name the plugin in whose code an unexpected error was raised: in a callback, a loss or a model.

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
