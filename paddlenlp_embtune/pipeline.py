"""One training run: a recipe in, a bundle and a record out."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paddlenlp_embtune import host, registry
from paddlenlp_embtune.delivery import OWN_VERSIONS, VERSIONS, deliver
from paddlenlp_embtune.errors import (
    DataError,
    RecipeError,
)
from paddlenlp_embtune.files import replace_folder
from paddlenlp_embtune.preparation import Prepared, check_names, data_summary, prepare, settle, term_groups
from paddlenlp_embtune.recipe import Recipe
from paddlenlp_embtune.text import own_ids
from paddlenlp_embtune.tuning.record import RunRecord
from paddlenlp_embtune.versions import VectorStore

if TYPE_CHECKING:
    from paddlenlp_embtune.tuning.finder import RateCurve
    from paddlenlp_embtune.tuning.watched import Watched

__all__ = ["RunResult", "build", "rate_curves", "train"]

RECORD = "record.jsonl"


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
    progress: Callable[[int, int], object] | None = None,
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
        progress: called with the bytes of a vector file that have been read, and their number.
    Raises:
        RecipeError, DataError, VectorError, HostError, ParityError, BundleError, PluginError: see their docstrings; the
            message says what to do.
    """
    run_dir = Path(out)
    _check_run_dir(run_dir, overwrite=overwrite)
    checkpoints = run_dir.resolve().with_name(f"{run_dir.resolve().name}.checkpoints")
    _check_checkpoints(checkpoints, overwrite=overwrite, resume=resume)
    check_names(recipe)
    prepared = prepare(recipe, progress=progress)
    recipe = settle(recipe, prepared).relative_to(Path.cwd())
    with replace_folder(run_dir) as folder:
        recipe.save(folder / "recipe.yaml")
        record = RunRecord(folder / RECORD, listeners=tuple(listeners))
        record.write("start", recipe=recipe.fingerprint(), cpu=dataclasses.asdict(host.cpu_setup()))
        record.write("data", **data_summary(prepared))
        record.write("vectors", **prepared.origins)
        trainer, seconds = _tune(recipe, prepared, record, checkpoints)
        metrics, failure = deliver(recipe, prepared, trainer, folder, record)
    if failure is not None:
        engines = " ".join(f"--engine {name}" for name in recipe.export.engines)
        raise type(failure)(
            f"{failure}; the trained weights are kept in {run_dir / 'bundle'} for the engine paddle; when the cause is mended: "
            f"embtune export {run_dir / 'bundle'} {engines}"
        ) from failure
    shutil.rmtree(checkpoints, ignore_errors=True)
    registry.current().call("embtune_after_train", trainer=trainer, recipe=recipe, run_dir=run_dir)
    return RunResult(run_dir, run_dir / "bundle", metrics, seconds)


def build(recipe: Recipe, prepared: Prepared, *, out: Path) -> Any:
    """Build the model with its embedding, and a Trainer for it that no recipe is attached to yet.

    Args:
        recipe: what to do.
        prepared: what :func:`prepare` settled.
        out: folder for the Trainer's checkpoints.
    Raises:
        RecipeError: the model does not read texts of ``text.max_length``, or does not know an option.
    """
    from paddlenlp_embtune.models import build_model, set_embedding, with_table
    from paddlenlp_embtune.models.engine import load_layer
    from paddlenlp_embtune.tuning.trainer import build_trainer, seed_everything

    seed_everything(recipe.seed)
    if prepared.bundle is not None:
        model = with_table(load_layer(prepared.bundle.path), recipe.model.name, prepared.table)
    else:
        model = build_model(
            recipe.model.name,
            vocabulary_size=len(prepared.tokenizer.vocabulary),
            dimension=prepared.table.shape[1],
            num_labels=len(prepared.labels),
            options=recipe.model.options,
        )
        set_embedding(model, prepared.table)
    _check_length(recipe, model)
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

    check_names(recipe)
    prepared = prepare(recipe)
    recipe = settle(recipe, prepared)
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        trainer = build(recipe, prepared, out=Path(scratch))
        resolved = resolve_groups(trainer.model, group_specs(recipe, trainer.model))
        norm = recipe.clip.global_norm if recipe.clip is not None else None
        return [find_rates(trainer, resolved, group=group, global_norm=norm, progress=progress, **options) for group in groups]


def _tune(recipe: Recipe, prepared: Prepared, record: RunRecord, checkpoints: Path) -> tuple[Any, float]:
    """Attach the recipe to a Trainer and train; return the Trainer and the seconds of the loop."""
    from paddlenlp_embtune.tuning import attach, last_checkpoint

    _check_dev_rows(recipe, len(prepared.dev))
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
    for name, terms in term_groups(recipe).items():
        rows = [own_ids(prepared.tokenizer, term) for term in terms]
        known = [list(row) for row in rows if len(row) and vocabulary.unknown_id not in row]
        if len(known) >= 2:
            groups[name] = known
    pretrained = recipe.vectors.source != "random"
    return Watched(tokens=vocabulary.tokens, groups=groups, unknown=vocabulary.unknown_id, pretrained=pretrained)


def _identity(recipe: Recipe, prepared: Prepared) -> dict[str, Any]:
    """What else a checkpoint must have been made with: the rest of the recipe, and the contents of the data."""
    plain = recipe.to_dict()
    rest = {name: plain[name] for name in ("seed", "domain", "text", "vectors", "model", "train")}
    rest["train"].pop("checkpoint_seconds")
    rows = {
        name: hashlib.sha256(repr((part.texts, part.labels)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        for name, part in (("train", prepared.train), ("dev", prepared.dev))
    }
    if prepared.bundle is not None:  # another one may stand at the same place by now
        rest["start"] = dict(sorted(prepared.bundle.manifest.files.items()))
    rest["tokenizer"] = dict(prepared.tokenizer.config())
    rest["embedding"] = hashlib.blake2b(np.ascontiguousarray(prepared.table).data, digest_size=8).hexdigest()
    return {**rest, "labels": list(prepared.labels), "rows": rows}


def _check_length(recipe: Recipe, model: Any) -> None:
    """Refuse texts that are longer than a model can read; a model may say by ``most_tokens`` how much that is.

    Raises:
        RecipeError: ``text.max_length`` is larger.
    """
    most = getattr(model, "most_tokens", None)
    if most is not None and recipe.text.max_length > most:
        raise RecipeError(
            f"text.max_length is {recipe.text.max_length}; legal for this {type(model).__name__}: at most {most}, as it has no "
            "more positions; lower it, and set text.windows to read longer texts whole"
        )


def _check_dev_rows(recipe: Recipe, rows: int) -> None:
    """Refuse before training what too few development rows would fail after it.

    Raises:
        DataError: a precision or a program in 8 bits is wanted, and there are too few rows for it.
    """
    from paddlenlp_embtune.evaluation import calibration
    from paddlenlp_embtune.export import quantization

    least = {
        "target_precision": calibration.LEAST_ROWS if recipe.export.target_precision is not None else 0,
        "int8": quantization.LEAST_ROWS if recipe.export.int8 is not None else 0,
    }
    for name, needed in least.items():
        if rows < needed:
            raise DataError(
                f"{rows} development rows are too few for export.{name}; legal: {needed} or more; or set export.{name} to null"
            )


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
    if others := _other_versions(run_dir):
        raise RecipeError(
            f"{run_dir / VERSIONS} holds {len(others)} versions that no run wrote, {others[0]!r} first; move that folder away "
            "before --overwrite replaces the run"
        )


def _other_versions(run_dir: Path) -> list[str]:
    """Versions of the embedding that somebody saved beside a run."""
    folder = run_dir / VERSIONS
    if not folder.is_dir():
        return []
    store = VectorStore.open(folder)
    return [*(each.name for each in store.versions() if each.name not in OWN_VERSIONS), *store.unreadable()]
