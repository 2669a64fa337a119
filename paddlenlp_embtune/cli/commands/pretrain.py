"""``embtune pretrain``: continued masked-language training of an encoder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from paddlenlp_embtune.cli._console import err
from paddlenlp_embtune.cli._data_format import DataFormat, given, reads_data
from paddlenlp_embtune.cli._options import JsonOption, OverwriteOption, PrecisionOption
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._run_display import RunDisplay
from paddlenlp_embtune.cli._texts import load_texts
from paddlenlp_embtune.training import pretrained_encoder

__all__ = ["pretrain"]


@reads_data(labels=False)
def pretrain(
    data_format: DataFormat,
    encoder: Annotated[str, typer.Argument(help="Encoder: a registered name, PaddleNLP's name, or a folder such as ./ernie.")],
    texts: Annotated[list[Path], typer.Option(help="Texts of the domain, one per line in a .txt file; repeat for more.")],
    out: Annotated[Path, typer.Option(help="Folder of the trained encoder, to use as model.encoder.")],
    epochs: Annotated[int, typer.Option(help="Passes over the texts, after one that trains the new head alone.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Texts per step.")] = 32,
    max_length: Annotated[int, typer.Option(help="Tokens per window; longer texts are read in several.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of the encoder.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Random seed of data order, masking and dropout.")] = 0,
    precision: PrecisionOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Continue masked-language training of an encoder on unlabelled texts; an interrupted run resumes where it stopped."""
    start_paddle()
    from paddlenlp_embtune.training import PretrainingSpec, continue_pretraining

    spec = PretrainingSpec(
        epochs=epochs,
        batch_size=batch_size,
        max_length=max_length,
        learning_rate=learning_rate,
        seed=seed,
        **given(precision=precision),
    )
    found = pretrained_encoder(encoder)
    read = [text for file in texts for text in load_texts(file, data_format)]
    result = continue_pretraining(found, read, out, spec, overwrite=overwrite, listeners=[RunDisplay()])
    err.print(
        f"{result.texts:,} windows, {result.steps:,} steps, {result.seconds:.0f} s; loss of hidden tokens in "
        f"{result.held_out:,} held-out windows: {result.loss_before:.3f} -> {result.loss_after:.3f} nats",
        markup=False,
    )
    print(json.dumps({**dataclasses.asdict(result), "folder": str(out)}, ensure_ascii=False) if as_json else out)
