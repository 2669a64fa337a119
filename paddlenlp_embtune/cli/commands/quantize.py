"""``embtune quantize``: a program of lower precision, where it pays off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import BundleOutOption
from paddlenlp_embtune.cli._run_display import print_event
from paddlenlp_embtune.cli._texts import load_examples
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["quantize"]


@reads_data(labels=True)
def quantize(
    data_format: DataFormat,
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle with an ONNX program.")],
    data: Annotated[Path, typer.Option(help="Labelled rows that the model was not trained on, 50 or more.")],
    precision: Annotated[str, typer.Option(help="Precision: int8, or fp16 for GPUs.")] = "int8",
    method: Annotated[
        Optional[str],
        typer.Option(help="Method for int8: static (default; answers do not depend on the batch) or dynamic."),
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="Largest loss of accuracy to accept.")] = 0.01,
    out: BundleOutOption = None,
) -> None:
    """Add a program of lower precision, measured on labelled rows; refused unless it is smaller, faster and accurate."""
    from paddlenlp_embtune.export import quantize as add

    opened = Bundle.open(bundle)
    rows = load_examples(data, data_format)
    written = add(opened, rows.texts, rows.labels, precision=precision, method=method, tolerance=tolerance, target=out)
    print_event({"event": "quantized", "precision": precision, **to_plain(written.manifest.quantized[precision])})
    print(written.path)
