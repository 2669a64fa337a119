"""What is refused before a run begins: places that are taken, texts and rows that do not fit."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.embeddings.store import VectorStore
from paddlenlp_embtune.errors import BundleError, DataError, EmbtuneError, HostError, RecipeError
from paddlenlp_embtune.utils.checkpoint_folders import SEAL, checkpoints_by_step, last_checkpoint
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.files.os_errors import next_step
from paddlenlp_embtune.utils.run_layout import RECORD, RUN_VERSIONS, VERSIONS

__all__ = [
    "check_checkpoints",
    "check_dev_rows",
    "check_length",
    "check_out",
    "check_precision",
    "check_run_dir",
    "drop_idle",
    "keeping_checkpoints",
    "run_lock",
]


@contextlib.contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Keep other processes from the place of a run while this one writes there; a process that is killed lets go of it.

    Raises:
        RecipeError: another process is writing there.
    """
    refusal = f"another run is writing {out}; wait until it has ended, or choose another --out"
    with exclusive_lock(out, wait_seconds=0, error=RecipeError, refusal=refusal):
        yield


def check_length(recipe: Recipe, model: Any) -> None:
    """Refuse texts that are longer than a model can read; a model may say by ``most_tokens`` how much that is.

    Raises:
        RecipeError: ``text.max_length`` is larger.
    """
    most = getattr(model, "most_tokens", None)
    if most is not None and recipe.text.max_length > most:
        raise RecipeError(
            f"text.max_length is {recipe.text.max_length}; expected for this {type(model).__name__}: at most {most}, as it has "
            "no more positions; lower it, and set text.windows to read longer texts whole"
        )


def check_precision(recipe: Recipe) -> None:
    """Refuse bfloat16 before data is read, where the processor does not multiply it.

    Raises:
        RecipeError: ``train.precision`` asks for it.
    """
    if recipe.train.precision == "bf16":
        try:
            compat.onednn.require_bf16()
        except HostError as error:
            raise RecipeError(f"train.precision is bf16, which cannot be had here: {error}; expected fp32 or auto") from None


def check_dev_rows(recipe: Recipe, rows: int) -> None:
    """Refuse before training what too few development rows would fail after it.

    Raises:
        DataError: a precision or a program in 8 bits is wanted, and there are too few rows for it.
    """
    from paddlenlp_embtune.export import MIN_CALIBRATION_ROWS, MIN_QUANTIZATION_ROWS

    least = {
        "target_precision": MIN_CALIBRATION_ROWS if recipe.export.target_precision is not None else 0,
        "int8": MIN_QUANTIZATION_ROWS if recipe.export.int8 is not None else 0,
    }
    for name, needed in least.items():
        if rows < needed:
            raise DataError(
                f"{rows} development rows are too few for export.{name}; expected {needed} or more; or set export.{name} to "
                "null"
            )


def check_checkpoints(checkpoints: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse to pass over the checkpoints of an unfinished run, unless none of them was written to its end.

    Raises:
        RecipeError: there are some, and nothing was said about them.
    """
    if resume or overwrite or not checkpoints.is_dir() or _is_idle(checkpoints):
        return
    raise RecipeError(
        f"{checkpoints} holds checkpoints of a run that was not finished; continue with --resume, or start over with "
        "--overwrite"
    )


@contextlib.contextmanager
def keeping_checkpoints(checkpoints: Path, *, what: str, resume: str) -> Iterator[None]:
    """When the run in this block fails, keep checkpoints that it can continue from, and remove all others.

    An error of the disk, or of the bundle that is written, says which of the two was done, and the next step.

    Args:
        checkpoints: their folder.
        what: is written, as in "the run x".
        resume: how the run continues, as in "continue with --resume".
    Raises:
        HostError: the disk does not take what the block writes.
        BundleError: the block raised it, and there are such checkpoints.
    """
    try:
        yield
    except BaseException as error:
        drop_idle(checkpoints)
        if isinstance(error, (OSError, BundleError)) and (explained := _explain(error, checkpoints, what, resume)) is not None:
            raise explained from error
        raise


def _explain(error: OSError | BundleError, checkpoints: Path, what: str, resume: str) -> EmbtuneError | None:
    """Return the error to raise instead, with what is left and the next step; None where it says all there is to say."""
    kept = last_checkpoint(checkpoints) is not None
    refused = error if isinstance(error, OSError) else error.__cause__
    if isinstance(refused, OSError) and refused.errno is not None:
        if not kept:
            shutil.rmtree(checkpoints, ignore_errors=True)
        left = "nothing was left behind"
        if kept:
            left = f"its checkpoints are kept in {checkpoints}: {resume} after that, or remove them"
        return HostError(f"cannot write {what}: {refused.strerror or refused}; {next_step(refused)}; {left}")
    if isinstance(error, BundleError) and kept:
        reason = str(error).replace("; nothing was left behind", "")
        return BundleError(f"{reason}; its checkpoints are kept in {checkpoints}: {resume}")
    return None


def drop_idle(checkpoints: Path) -> None:
    """Remove the checkpoints of a run if none was written to its end and nothing else stands beside them."""
    if checkpoints.is_dir() and _is_idle(checkpoints):
        shutil.rmtree(checkpoints, ignore_errors=True)


def _is_idle(checkpoints: Path) -> bool:
    begun = set(checkpoints_by_step(checkpoints).values())
    return all(path in begun and not (path / SEAL).exists() for path in checkpoints.iterdir())


def check_out(out: Path, *, overwrite: bool, sign: str, what: str) -> None:
    """Refuse a place that holds anything else than an earlier result of the same kind, or one that is not to be replaced.

    Args:
        out: where a folder is to be written; nothing there, and an empty folder, are fine.
        overwrite: an earlier result may be replaced.
        sign: a file that every such result has.
        what: such a result, as in "no earlier run".
    Raises:
        RecipeError: it does.
    """
    if out.exists() and not out.is_dir():
        raise RecipeError(f"{out} is a file; expected a folder, new or empty")
    first = next(out.iterdir(), None) if out.exists() else None
    if first is None:
        return
    if not overwrite:
        raise RecipeError(f"{out} is not empty (it holds {first.name}); choose another --out, or pass --overwrite")
    if not (out / sign).is_file():
        raise RecipeError(f"{out} holds {first.name} but no {sign}, so it is no {what} and will not be replaced")


def check_run_dir(run_dir: Path, *, overwrite: bool) -> None:
    """Refuse a place for a run that ``check_out`` refuses, or whose folder holds versions that somebody saved by hand.

    Raises:
        RecipeError: it does.
    """
    check_out(run_dir, overwrite=overwrite, sign=RECORD, what="earlier run")
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
    return [*(each.name for each in store.versions() if each.name not in RUN_VERSIONS), *store.unreadable()]
