"""``embtune calibrate``: scores that match how often answers are right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import BundleArgument, BundleOutOption
from paddlenlp_embtune.cli._run_display import print_event
from paddlenlp_embtune.cli._texts import load_examples
from paddlenlp_embtune.inference import kind_of
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["calibrate"]


@reads_data(labels=True)
def calibrate(
    data_format: DataFormat,
    bundle: BundleArgument,
    data: Annotated[Path, typer.Option(help="File of labelled rows that the model was not trained on.")],
    target_precision: Annotated[
        Optional[float],
        typer.Option(help="Also fit a threshold per label that reaches this precision; answers below it abstain."),
    ] = None,
    out: BundleOutOption = None,
) -> None:
    """Calibrate a bundle on labelled rows: fit its temperature and, on request, thresholds for a target precision."""
    from paddlenlp_embtune.export import calibrate as fit

    opened = Bundle.open(bundle)
    rows = load_examples(data, data_format, several=kind_of(opened.manifest).several)
    written = fit(opened, rows.texts, rows.labels_of_rows, target_precision=target_precision, target=out)
    manifest = written.manifest
    event = {"event": "calibrated", "temperature": manifest.temperature, "thresholds": dict(manifest.thresholds)}
    event |= {"labels": len(manifest.scaling)} if kind_of(manifest).several else {}
    print_event({**event, **to_plain(manifest.calibration)})
    print(written.path)
