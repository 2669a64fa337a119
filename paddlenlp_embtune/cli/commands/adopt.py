"""``embtune adopt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune import compat
from paddlenlp_embtune.cli._console import print_event
from paddlenlp_embtune.cli._options import EncodingOption, QuotingOption
from paddlenlp_embtune.data import read_texts
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("adopt")(adopt)


def adopt(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that save_pretrained or a Trainer of PaddleNLP left.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    labels: Annotated[
        Optional[str], typer.Option(help="Labels in the order of their numbers, a,b,c; by default those of config.json.")
    ] = None,
    ordered: Annotated[bool, typer.Option("--ordered", help="The order of the labels means something.")] = False,
    domain: Annotated[Optional[str], typer.Option(help="Name of the domain.")] = None,
    max_length: Annotated[
        Optional[int], typer.Option(min=3, help="The most tokens of a text; by default the checkpoint's own.")
    ] = None,
    engine: Annotated[
        Optional[list[str]], typer.Option(help="onnxruntime (default) or paddle_inference; may be given several times.")
    ] = None,
    data: Annotated[Optional[Path], typer.Option(help="Texts for the parity check, beside random ones.")] = None,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = "text",
    encoding: EncodingOption = None,
    quoting: QuotingOption = "auto",
) -> None:
    """Make a bundle of a sequence classifier that was fine-tuned with PaddleNLP alone; nothing in its folder is executed.

    Each setting of its files is understood or refused, and ids and answers are compared with PaddleNLP's own before anything is
    written.
    """
    compat.require_paddle()
    compat.quiet_logging()
    from paddlenlp_embtune.export import bundle_checkpoint

    written = bundle_checkpoint(
        checkpoint,
        out,
        labels=[label.strip() for label in labels.split(",")] if labels is not None else (),
        ordered=ordered,
        domain=domain,
        max_length=max_length,
        engines=tuple(dict.fromkeys(engine or ("onnxruntime",))),
        sample_texts=read_texts(data, text_column=text_column, encoding=encoding, quoting=quoting)[:256]
        if data is not None
        else (),
    )
    for name, parity in written.manifest.parity.items():
        print_event({"event": "parity", "engine": name, **to_plain(parity)})
    print(written.path)
