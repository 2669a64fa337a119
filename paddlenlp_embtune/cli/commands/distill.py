"""``embtune distill``: a small model trained on the predictions of a large one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._data_format import given, states_data_format
from paddlenlp_embtune.cli._options import (
    DevelopmentRowsOption,
    EpochsOption,
    JsonOption,
    MaxLengthOption,
    PrecisionOption,
    ReplaceRunOption,
    ResumeOption,
    RunOption,
    SeedOption,
)
from paddlenlp_embtune.cli.commands.train import run
from paddlenlp_embtune.config import PRETRAINED, DataSpec, DistillSpec, ModelSpec, Recipe, TextSpec, TrainSpec
from paddlenlp_embtune.plugin import registry

__all__ = ["distill"]


@states_data_format
def distill(
    data_format: dict[str, str],
    teacher: Annotated[str, typer.Argument(help="Folder of a bundle, or of its run, with the labels of --data.")],
    data: Annotated[str, typer.Option(help="Training set: a file, folder or pattern.")],
    student: Annotated[
        str, typer.Option(help="Student: a registered model, or a smaller encoder, by name or as a folder such as ./ernie.")
    ] = "textcnn",
    dev: DevelopmentRowsOption = None,
    unlabelled: Annotated[
        Optional[list[str]],
        typer.Option(metavar="FILE", help="Texts for the teacher to label, one per line in a .txt file; repeat for more."),
    ] = None,
    recombined: Annotated[
        Optional[int],
        typer.Option(help="Texts to make of clauses and words of --data for the teacher to label, by default none."),
    ] = None,
    out: RunOption = Path("runs/student"),
    temperature: Annotated[Optional[float], typer.Option(help="Distillation temperature, above 0.")] = None,
    alpha: Annotated[
        Optional[float], typer.Option(help="Weight of the teacher's predictions against the labels, above 0 and at most 1.")
    ] = None,
    hidden: Annotated[
        Optional[float],
        typer.Option(help="Weight of the distance between their text vectors; 0 leaves it out."),
    ] = None,
    answers: Annotated[
        Optional[str], typer.Option(help="File in which to keep the teacher's predictions for further students (.safetensors).")
    ] = None,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    max_length: MaxLengthOption = None,
    precision: PrecisionOption = None,
    overwrite: ReplaceRunOption = False,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a small model on the predictions of a large one; a recipe with "distill" does the same."""
    builds = student != PRETRAINED and student in registry.current().names("model")
    recipe = Recipe(
        data=DataSpec(**given(train=data, dev=dev, **data_format)),
        text=TextSpec(**given(max_length=max_length)),
        model=ModelSpec(name=student) if builds else ModelSpec(encoder=student),
        train=TrainSpec(**given(epochs=epochs, precision=precision)),
        distill=DistillSpec(
            teacher=teacher,
            unlabelled=tuple(unlabelled or ()),
            **given(temperature=temperature, alpha=alpha, recombined=recombined, hidden=hidden, answers=answers),
        ),
    )
    seeded = dataclasses.replace(recipe, **given(seed=seed))
    run(seeded, out, overwrite=overwrite, resume=resume, as_json=as_json)
