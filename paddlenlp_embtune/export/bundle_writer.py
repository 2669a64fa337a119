"""Writing a bundle, and changing one that is there: each function is one transaction of the builder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.export._engines import find_exporters
from paddlenlp_embtune.export.bundle_content import BundleContent
from paddlenlp_embtune.export.labelled_rows import RowLabels
from paddlenlp_embtune.export.transaction import edit_bundle, new_bundle

__all__ = ["add_engines", "calibrate", "quantize", "reseal", "write_bundle"]


def write_bundle(path: Path, content: BundleContent, *, engines: Sequence[str]) -> Bundle:
    """Write a bundle and return it opened.

    Args:
        path: the folder; an older bundle there is replaced in one step, anything else is refused.
        content: what goes in.
        engines: registered exporters to run.
    Raises:
        ParityError: an engine answers differently; nothing is written.
        BundleError: the place is taken, or the disk does not take the files; nothing is written.
        PluginError: no exporter has that name.
    """
    find_exporters(engines)  # refuses a name that is not known before anything is made
    with new_bundle(path, content) as builder:
        builder.add_engines(engines)
    return builder.bundle


def add_engines(bundle: Bundle, target: Path, *, engines: Sequence[str], sample_texts: Sequence[str] = ()) -> Bundle:
    """Export a bundle's weights for engines; files that it has for these are replaced, its other engines stay.

    Args:
        bundle: an opened bundle.
        target: where the result goes; may be the bundle's own folder.
        engines: registered exporters to run.
        sample_texts: real texts for the parity check, beside random ones.
    Raises:
        ParityError, BundleError, PluginError: as :func:`write_bundle`.
    """
    find_exporters(engines)
    with edit_bundle(bundle, target, sample_texts=sample_texts) as builder:
        builder.add_engines(engines)
    return builder.bundle


def calibrate(
    bundle: Bundle,
    texts: Sequence[str],
    labels: RowLabels,
    *,
    target_precision: float | None = None,
    target: Path | None = None,
) -> Bundle:
    """Fit a bundle's temperature, and thresholds if a precision is wanted, on labelled rows, and write both into it.

    The labels that texts get stay the same. The temperature stays 1 where the rows do not bear another one out, and
    ``manifest.calibration.note`` says why. Where a text may have several labels, each is calibrated and gets a threshold.

    Args:
        bundle: an opened bundle.
        texts: N labelled rows that the model was not trained on.
        labels: their labels; collections of them where a text may have several.
        target_precision: choose a threshold for each label that gives this precision on these rows; None sets none.
        target: where the result goes; None changes the bundle in its place.
    Raises:
        DataError: a label is not the bundle's, there are fewer than 20 rows, or the precision is not possible.
        MissingDependencyError: scipy is not installed.
        BundleError: the disk does not take the bundle.
    """
    with edit_bundle(bundle, target or bundle.path) as builder:
        builder.calibrate(builder.rows(texts, labels), target_precision=target_precision)
    return builder.bundle


def quantize(
    bundle: Bundle,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    precision: str = "int8",
    method: str | None = None,
    tolerance: float = 0.01,
    target: Path | None = None,
) -> Bundle:
    """Add a program of lower precision to a bundle, if it is smaller, faster, and nearly as good on labelled rows.

    ``static`` gives every activation one scale, found on up to 256 of the texts, so that an answer does not depend on the
    batch it is computed in; ``dynamic`` scales each batch by its largest value, so that it does, a little: the bundle states
    by how much.

    Args:
        bundle: an opened bundle with a program for ``onnxruntime``.
        texts: labelled rows that the model was not trained on, 50 or more.
        labels: their labels.
        precision: ``int8``, or ``fp16`` for GPUs; without one, the speed of fp16 is not measured.
        method: of int8, ``static`` or ``dynamic``; None takes ``static``.
        tolerance: how much accuracy may be lost, 0 to 1.
        target: where the result goes; None changes the bundle in its place.
    Raises:
        ParityError: the program is not smaller, not faster, or loses more; the message gives the figures, nothing is written.
        DataError: an argument is not valid.
        BundleError: the bundle has no program in fp32, or the disk does not take the new one.
        MissingDependencyError: onnx is not installed.
    """
    with edit_bundle(bundle, target or bundle.path) as builder:
        builder.quantize(builder.rows(texts, labels), precision=precision, method=method, tolerance=tolerance)
    return builder.bundle


def reseal(bundle: Bundle, target: Path, **changes: Any) -> Bundle:
    """Write a bundle again with other values in its manifest, and open it.

    Args:
        bundle: an opened bundle.
        target: where the result goes; may be the bundle's own folder.
        changes: fields of the manifest.
    """
    with edit_bundle(bundle, target) as builder:
        builder.update(**changes)
    return builder.bundle
