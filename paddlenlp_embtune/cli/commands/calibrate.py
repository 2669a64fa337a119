"""``embtune calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._console import print_event
from paddlenlp_embtune.cli._options import EncodingOption, QuotingOption
from paddlenlp_embtune.cli._texts import load_examples
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate")(calibrate)


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    data: Annotated[Path, typer.Option(help="Labelled rows that the model was not trained on: .tsv, .csv, .json or .jsonl.")],
    target_precision: Annotated[
        Optional[float],
        typer.Option(help="Mark answers as abstained below the scores that give each label this precision on these rows."),
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="Write the bundle here instead of replacing it.")] = None,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column or key of the label.")] = "label",
    encoding: EncodingOption = None,
    quoting: QuotingOption = "auto",
) -> None:
    """Fit a bundle's temperature on labelled rows, so that its scores mean what they say; and thresholds for a precision."""
    from paddlenlp_embtune.export import calibrate as fit

    opened = Bundle.open(bundle)
    rows = load_examples(data, text_column, label_column, encoding=encoding, quoting=quoting)
    written = fit(opened, rows.texts, rows.labels, target_precision=target_precision, target=out)
    manifest = written.manifest
    event = {"event": "calibrated", "temperature": manifest.temperature, "thresholds": dict(manifest.thresholds)}
    print_event({**event, **to_plain(manifest.calibration)})
    print(written.path)
