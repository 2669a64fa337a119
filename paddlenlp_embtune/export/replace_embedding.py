"""A bundle with another embedding: every engine exported and proven anew, nothing kept that was true of the old one only."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, Manifest, draft_with_embedding
from paddlenlp_embtune.evaluation import classification_report, encode_labels
from paddlenlp_embtune.export._calibrate import MIN_CALIBRATION_ROWS, calibrate
from paddlenlp_embtune.export.bundle_writer import add_engines
from paddlenlp_embtune.export.seal import best_engine, reseal, revising
from paddlenlp_embtune.inference import Predictor

__all__ = ["finish", "restore_embedding"]


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

    Its engines are exported anew, and each must agree with the live model. Programs of lower precision, the calibration and
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
    if len(texts) or len(labels):
        encode_labels(bundle, texts, labels, least=MIN_CALIBRATION_ROWS)  # refuses before anything is exported
    with revising(bundle, target) as current, tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        bundle.check_current("vocab.txt", "weights.safetensors", "model.json")  # the table is made of what was opened
        draft = draft_with_embedding(current, table, Path(scratch) / "draft")
        plain = dataclasses.replace(
            draft.manifest,
            temperature=1.0,
            thresholds={},
            calibration=None,
            metrics={},
            vectors={**current.manifest.vectors, "restored": dict(origin or {})},
        )
        fresh = add_engines(
            Bundle(draft.path, plain, draft.vocabulary),
            Path(scratch) / "bundle",
            engines=[name for name in current.manifest.engines if name not in plain.engines],
            sample_texts=texts[:512],
        )
        return finish(fresh, target, former=current.manifest, texts=texts, labels=labels)


def finish(
    fresh: Bundle,
    target: Path,
    *,
    former: Manifest,
    texts: Sequence[str] = (),
    labels: Sequence[str] = (),
    same_rows: bool = False,
) -> tuple[Bundle, list[str]]:
    """Calibrate and measure a bundle whose embedding is new, as far as there are rows for it, and put it in its place.

    Args:
        fresh: proven, not calibrated; somewhere else.
        target: where the result goes.
        former: what the bundle said that the new one is made of.
        texts: labelled rows that the model was not trained on, none, or 20 or more.
        labels: their labels.
        same_rows: whether the rows that both have are alike, so that a former calibration holds for texts that are cut as
            before; without labelled rows it is kept.
    Returns:
        the bundle, and notes about what it lacks now
    Raises:
        BundleError: the place is taken, or the disk does not take the files.
        DataError: the labelled rows are too few, or have labels that the bundle does not know.
    """
    changes: dict[str, Any] = {}
    if len(texts):
        wanted = former.calibration.target_precision if former.calibration is not None else None
        fresh = calibrate(fresh, texts, labels, target_precision=wanted)
        changes["metrics"] = {"dev": _figures(fresh, texts, labels)}
    elif same_rows:
        changes = {name: getattr(former, name) for name in ("temperature", "thresholds", "calibration")}
    return reseal(fresh, target, **changes), _notes(former, measured=bool(len(texts)), same_rows=same_rows)


def _figures(bundle: Bundle, texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    names = bundle.manifest.labels
    with Predictor(bundle, engine=best_engine(bundle.manifest)) as predictor:
        predicted = predictor.probabilities(texts).argmax(axis=1).tolist()
    report = classification_report([names.index(label) for label in labels], predicted, names)
    return {key: report[key] for key in ("n", "accuracy", "f1_macro", "per_class")}


def _notes(former: Manifest, *, measured: bool, same_rows: bool) -> list[str]:
    notes = []
    if former.quantized:
        notes.append(f"{', '.join(former.quantized)} left out: made of the old embedding; add it anew with: embtune quantize")
    if former.calibration is not None and same_rows and not measured:
        notes.append(
            "calibration kept as it was, fitted to the old tokens; fit it anew with --data here, or: embtune calibrate"
        )
    elif former.calibration is not None and not measured:
        notes.append("calibration left out: fitted to the old embedding; fit it with --data here, or with: embtune calibrate")
    if former.metrics and not measured:
        notes.append("figures on the development rows left out: they were those of the old embedding")
    return notes
