"""``embtune quantize``."""

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
    app.command("quantize")(quantize)


def quantize(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle with a program for onnxruntime.")],
    data: Annotated[Path, typer.Option(help="Labelled rows that the model was not trained on, 50 or more.")],
    precision: Annotated[str, typer.Option(help="int8, or fp16 for GPUs.")] = "int8",
    method: Annotated[
        Optional[str],
        typer.Option(help="Of int8: static (an answer does not depend on its batch; the default) or dynamic."),
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="How much accuracy may be lost.")] = 0.01,
    out: Annotated[Optional[Path], typer.Option(help="Write the bundle here instead of replacing it.")] = None,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column or key of the label.")] = "label",
    encoding: EncodingOption = None,
    quoting: QuotingOption = "auto",
) -> None:
    """Add a program of lower precision, measured on labelled rows; one that is not worth having is refused."""
    from paddlenlp_embtune.export import quantize as add

    opened = Bundle.open(bundle)
    rows = load_examples(data, text_column, label_column, encoding=encoding, quoting=quoting)
    written = add(opened, rows.texts, rows.labels, precision=precision, method=method, tolerance=tolerance, target=out)
    print_event({"event": "quantized", "precision": precision, **to_plain(written.manifest.quantized[precision])})
    print(written.path)
