"""The answers of a teacher in a file: beside the checkpoints of a run, and where a recipe keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.data import SoftTargets
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.files.atomic_io import replace_file
from paddlenlp_embtune.utils.files.locks import exclusive_lock

if TYPE_CHECKING:
    from paddlenlp_embtune.training._teacher import Teaching

__all__ = ["load_soft_targets", "save_soft_targets"]


def save_soft_targets(path: Path, soft_targets: SoftTargets, teaching: Teaching) -> None:
    """Write answers to a file, replacing it in one step."""
    from safetensors.numpy import save

    arrays: dict[str, Any] = {"logits": soft_targets.logits}
    if soft_targets.vectors is not None:
        arrays["vectors"] = soft_targets.vectors
    with exclusive_lock(path, error=RecipeError), replace_file(path) as file:
        file.write(save(arrays, metadata={"teaching": json.dumps(_key(teaching))}))


def load_soft_targets(path: Path, teaching: Teaching) -> SoftTargets | None:
    """Read answers from a file; None where there is none, or it has those of another teacher, or to other texts.

    Raises:
        RecipeError: the file is something else.
    """
    from safetensors import safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            key = json.loads(file.metadata()["teaching"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except Exception as error:  # of safetensors, of a folder, of JSON
        raise RecipeError(
            f"{path} holds no answers of a teacher: {' '.join(str(error).split())}; expected for distill.answers: a file that "
            "an earlier run wrote, or one that is not there yet"
        ) from None
    if key != _key(teaching):
        return None
    return SoftTargets(arrays["logits"], arrays.get("vectors"), teaching.unlabelled.texts, teaching.rows)


def _key(teaching: Teaching) -> list[Any]:
    return [teaching.fingerprint, teaching.texts_fingerprint, bool(teaching.spec.hidden)]
