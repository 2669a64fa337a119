"""``embtune adopt``: a bundle from a checkpoint that PaddleNLP fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import ParityTextsOption
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._run_display import print_parity
from paddlenlp_embtune.data import read_texts

__all__ = ["adopt"]


@reads_data(labels=False)
def adopt(
    data_format: DataFormat,
    checkpoint: Annotated[Path, typer.Argument(help="Folder that PaddleNLP's save_pretrained or Trainer wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    labels: Annotated[
        Optional[str], typer.Option(help="Labels in the order of their ids, a,b,c; by default those of config.json.")
    ] = None,
    ordered: Annotated[bool, typer.Option("--ordered", help="The labels are ordered, as on a scale.")] = False,
    domain: Annotated[Optional[str], typer.Option(help="Name of the domain.")] = None,
    max_length: Annotated[
        Optional[int], typer.Option(min=3, help="Maximum number of tokens; by default the checkpoint's own.")
    ] = None,
    engine: Annotated[
        Optional[list[str]],
        typer.Option(help="Engine: onnxruntime (default) or paddle_inference; repeat for more."),
    ] = None,
    data: ParityTextsOption = None,
) -> None:
    """Turn a sequence classifier that was fine-tuned with PaddleNLP alone into a bundle; nothing in its folder is executed.

    Each setting in its files is understood or refused, and ids and answers are compared with PaddleNLP's own before anything is
    written.
    """
    start_paddle()
    from paddlenlp_embtune.export import bundle_checkpoint

    written = bundle_checkpoint(
        checkpoint,
        out,
        labels=[label.strip() for label in labels.split(",")] if labels is not None else (),
        ordered=ordered,
        domain=domain,
        max_length=max_length,
        engines=tuple(dict.fromkeys(engine or ("onnxruntime",))),
        sample_texts=read_texts(data, **data_format.for_texts())[:256] if data is not None else (),
    )
    print_parity(written.manifest.parity)
    print(written.path)
