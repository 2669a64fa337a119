"""What a checkpoint must have been made with, so that a run may continue from it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from paddlenlp_embtune.training._prepare import Prepared

__all__ = ["ATTACHED_PARTS", "run_identity"]

ATTACHED_PARTS = (
    "groups",
    "layerwise",
    "schedule",
    "freeze",
    "rows",
    "sparse",
    "clip",
    "early_stopping",
    "average",
    "health",
    "regularization",
)
"""The parts of a recipe that ``attach`` puts on a Trainer, and that every checkpoint states."""

# By their contents, or of no account before training ends.
_STATED_OTHERWISE = ("data", "augmentation", "distill", "export", "report_to")


def run_identity(prepared: Prepared) -> dict[str, Any]:
    """Return what else a checkpoint must have been made with: the rest of the recipe, and the contents of the data."""
    plain = prepared.recipe.to_dict()
    rest = {name: value for name, value in plain.items() if name not in (*ATTACHED_PARTS, *_STATED_OTHERWISE)}
    rest["train"].pop("checkpoint_seconds")
    rows = {
        name: hashlib.sha256(repr((part.texts, part.labels, part.weights)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        for name, part in (("train", prepared.train), ("dev", prepared.dev))
    }
    if prepared.pretrained is not None:
        rest["encoder"] = prepared.pretrained.fingerprint()
    if prepared.continuation is not None:
        rest["continual"]["replayed"] = prepared.continuation.replayed
    if prepared.bundle is not None:  # another one may stand at the same place by now
        rest["start"] = dict(sorted(prepared.bundle.manifest.files.items()))
    rest["tokenizer"] = dict(prepared.tokenizer.config())
    rest["embedding"] = hashlib.blake2b(np.ascontiguousarray(prepared.table).data, digest_size=8).hexdigest()
    if prepared.teaching is not None:
        rest["distill"] = prepared.teaching.identity()
    return {**rest, "labels": list(prepared.labels), "rows": rows}
