"""``embtune pretrain``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from paddlenlp_embtune import compat
from paddlenlp_embtune.cli._console import RunDisplay, err
from paddlenlp_embtune.cli._options import ColumnOption, EncodingOption, JsonOption, OverwriteOption, QuotingOption
from paddlenlp_embtune.cli._texts import load_texts
from paddlenlp_embtune.training import pretrained_encoder

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pretrain")(pretrain)


def pretrain(
    encoder: Annotated[
        str, typer.Argument(help="A registered encoder, PaddleNLP's name for one, or a folder such as ./ernie.")
    ],
    texts: Annotated[list[Path], typer.Option(help="Texts of the domain, one a line in a .txt file; repeat for more files.")],
    out: Annotated[Path, typer.Option(help="Folder of the trained encoder, for model.encoder.")],
    text_column: ColumnOption = "text",
    encoding: EncodingOption = None,
    quoting: QuotingOption = "auto",
    epochs: Annotated[int, typer.Option(help="Passes over the texts, after one for the new head alone.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Texts in a step.")] = 32,
    max_length: Annotated[int, typer.Option(help="Longer texts are read in windows of so many tokens.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="The encoder's peak learning rate.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Seeds order, hidden tokens and dropout.")] = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Continue the masked-language training of an encoder on texts without labels; a killed run continues where it was."""
    compat.require_paddle()
    compat.quiet_logging()
    from paddlenlp_embtune.training import PretrainingSpec, continue_pretraining

    spec = PretrainingSpec(epochs=epochs, batch_size=batch_size, max_length=max_length, learning_rate=learning_rate, seed=seed)
    found = pretrained_encoder(encoder)
    read = [text for file in texts for text in load_texts(file, text_column, encoding=encoding, quoting=quoting)]
    result = continue_pretraining(found, read, out, spec, overwrite=overwrite, listeners=[RunDisplay()])
    err.print(
        f"{result.texts:,} windows, {result.steps:,} steps, {result.seconds:.0f} s; loss of hidden tokens in "
        f"{result.held_out:,} held-out windows: {result.loss_before:.3f} -> {result.loss_after:.3f} nats",
        markup=False,
    )
    print(json.dumps({**dataclasses.asdict(result), "folder": str(out)}, ensure_ascii=False) if as_json else out)
