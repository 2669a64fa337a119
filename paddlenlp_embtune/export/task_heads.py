"""The bundle of a task that was learnt before, from one that keeps its head."""

from __future__ import annotations

from pathlib import Path

from paddlenlp_embtune.bundle import Bundle, model_name, other_heads, read_head
from paddlenlp_embtune.export.bundle_content import BundleContent
from paddlenlp_embtune.export.transaction import new_bundle
from paddlenlp_embtune.models import load_layer, with_head

__all__ = ["bundle_of_head"]


def bundle_of_head(bundle: Bundle, head: str, target: Path) -> Bundle:
    """Write a bundle that answers by a head which another bundle keeps beside its own, on the network as it is now.

    It has the same engines, proven again. It has no calibration, as temperature and thresholds are of the other head, and
    keeps nothing for learning on.

    Args:
        bundle: an opened bundle.
        head: name of the task that the head began with.
        target: where the result goes.
    Raises:
        BundleError: the bundle keeps no such head, or the place is taken.
        ParityError: an engine answers differently; nothing is written.
    """
    arrays, manifest, name = read_head(bundle, head), bundle.manifest, model_name(bundle)
    labels = other_heads(bundle)[head]
    model = with_head(load_layer(bundle.path), name, len(labels), arrays)
    bundle.check_current()
    content = BundleContent(
        model=model,
        model_name=name,
        tokenizer=bundle.tokenizer,
        labels=labels,
        ordered=False,
        max_length=manifest.max_length,
        windows=manifest.windows,
        recipe=manifest.recipe,
        vectors=manifest.vectors,
    )
    with new_bundle(target, content) as builder:
        builder.add_engines([engine for engine in manifest.engines if engine != "paddle"])
    return builder.bundle
