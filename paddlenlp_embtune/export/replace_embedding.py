"""A bundle with another embedding: engines are exported and proven again, and what was true of the old one only goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, Manifest
from paddlenlp_embtune.evaluation import classification_report, encode_labels
from paddlenlp_embtune.export._calibration import MIN_CALIBRATION_ROWS
from paddlenlp_embtune.export.builder import BundleBuilder
from paddlenlp_embtune.export.seal import best_engine
from paddlenlp_embtune.export.transaction import edit_bundle
from paddlenlp_embtune.inference import refuse_several_labels

__all__ = ["measure_again", "restore_embedding"]


def restore_embedding(
    bundle: Bundle,
    table: npt.NDArray[np.float32],
    target: Path,
    *,
    origin: Mapping[str, Any] | None = None,
    texts: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> tuple[Bundle, list[str]]:
    """Write a bundle again with another embedding.

    Its engines are exported again, and each must agree with the live model. Programs of lower precision, the calibration and
    the figures on the development rows belong to the old embedding and are left out; labelled rows bring the last two back.

    Args:
        bundle: an opened bundle.
        table: (V, D) float32, a row for each token of the bundle.
        target: where the result goes; may be the bundle's own folder.
        origin: plain values for the manifest: where the table came from.
        texts: labelled rows that the model was not trained on, none, or 20 or more; also for the parity check.
        labels: their labels.
    Returns:
        the new bundle, and notes about what it lacks now
    Raises:
        VectorError: the table does not fit, or holds NaN or infinite values.
        ParityError: an engine answers differently from the live model.
        BundleError: the place is taken, or the disk does not take the files.
        PluginError: the bundle has an engine that nothing here exports.
        DataError: the labelled rows are too few, or have labels that the bundle does not know.
    """
    refuse_several_labels(bundle.manifest, "replacing the embedding of a bundle")
    if len(texts) or len(labels):
        encode_labels(bundle, texts, labels, least=MIN_CALIBRATION_ROWS)  # refuses before anything is exported
    with edit_bundle(bundle, target, sample_texts=texts[:512]) as builder:
        bundle.check_current("vocab.txt", "weights.safetensors", "model.json")  # the table is made of what was opened
        former = builder.manifest
        engines = builder.replace_embedding(bundle, table)
        builder.update(
            temperature=1.0,
            thresholds={},
            calibration=None,
            metrics={},
            vectors={**former.vectors, "restored": dict(origin or {})},
        )
        builder.add_engines(engines)
        notes = measure_again(builder, former, texts=texts, labels=labels)
    return builder.bundle, notes


def measure_again(
    builder: BundleBuilder,
    former: Manifest,
    *,
    texts: Sequence[str] = (),
    labels: Sequence[str] = (),
    same_rows: bool = False,
) -> list[str]:
    """Calibrate and measure a bundle whose embedding is new, as far as there are rows for it.

    Args:
        builder: of the bundle, whose engines are proven.
        former: what the bundle said that the new one is made of.
        texts: labelled rows that the model was not trained on, none, or 20 or more.
        labels: their labels.
        same_rows: whether the rows that both have are alike, so that a former calibration holds for texts that are cut as
            before; without labelled rows it is kept.
    Returns:
        notes about what the bundle lacks now
    Raises:
        DataError: the labelled rows are too few, or have labels that the bundle does not know.
    """
    if len(texts):
        rows = builder.rows(texts, labels)
        wanted = former.calibration.target_precision if former.calibration is not None else None
        builder.calibrate(rows, target_precision=wanted)
        predicted = rows.probabilities(best_engine(builder.manifest)).argmax(axis=1).tolist()
        report = classification_report(rows.truth().tolist(), predicted, builder.manifest.labels)
        builder.update(metrics={"dev": {key: report[key] for key in ("n", "accuracy", "f1_macro", "per_class")}})
    elif same_rows:
        builder.update(**{name: getattr(former, name) for name in ("temperature", "thresholds", "calibration")})
    return _notes(former, measured=bool(len(texts)), same_rows=same_rows)


def _notes(former: Manifest, *, measured: bool, same_rows: bool) -> list[str]:
    notes = []
    if former.quantized:
        notes.append(f"{', '.join(former.quantized)} left out: made of the old embedding; add it again with: embtune quantize")
    if former.calibration is not None and same_rows and not measured:
        notes.append(
            "calibration kept as it was, fitted to the old tokens; fit it again with --data here, or: embtune calibrate"
        )
    elif former.calibration is not None and not measured:
        notes.append("calibration left out: fitted to the old embedding; fit it with --data here, or with: embtune calibrate")
    if former.metrics and not measured:
        notes.append("figures on the development rows left out: they were those of the old embedding")
    return notes
