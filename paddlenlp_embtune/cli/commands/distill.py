"""``embtune distill``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.cli._options import EncodingOption, MaybeQuotingOption
from paddlenlp_embtune.cli.commands.train import run
from paddlenlp_embtune.config import PRETRAINED, DataSpec, DistillSpec, ModelSpec, Recipe, TextSpec, TrainSpec
from paddlenlp_embtune.plugin import registry

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("distill")(distill)


def distill(
    teacher: Annotated[str, typer.Argument(help="Folder of a bundle, or of its run; its labels are those of --data.")],
    data: Annotated[str, typer.Option(help="Training rows: .tsv, .csv, .json or .jsonl.")],
    student: Annotated[
        str, typer.Option(help="A registered model, or a smaller encoder: its name, or a folder such as ./ernie.")
    ] = "textcnn",
    dev: Annotated[Optional[str], typer.Option(help="Rows to watch; without them, a tenth of --data is held out.")] = None,
    unlabelled: Annotated[
        Optional[list[str]],
        typer.Option(metavar="FILE", help="Texts for the teacher to answer, one a line in a .txt file; repeat for more."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run: recipe, record, metrics and bundle.")] = Path("runs/student"),
    temperature: Annotated[Optional[float], typer.Option(help="How far both answers are softened, above 0.")] = None,
    alpha: Annotated[
        Optional[float], typer.Option(help="Weight of the teacher against the labels, above 0, at most 1.")
    ] = None,
    hidden: Annotated[
        Optional[float], typer.Option(help="Weight of the distance between the vectors of both; 0 leaves it out.")
    ] = None,
    answers: Annotated[
        Optional[str], typer.Option(help="File that keeps the teacher's answers for further students (.safetensors).")
    ] = None,
    text_column: Annotated[Optional[str], typer.Option(help="Column or key of the text.")] = None,
    label_column: Annotated[Optional[str], typer.Option(help="Column or key of the label.")] = None,
    encoding: EncodingOption = None,
    quoting: MaybeQuotingOption = None,
    epochs: Annotated[Optional[int], typer.Option(help="Passes over labelled and unlabelled texts.")] = None,
    seed: Annotated[Optional[int], typer.Option(help="Seeds data order, dropout and initialisation.")] = None,
    max_length: Annotated[Optional[int], typer.Option(help="The student's texts are cut to this many tokens.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint of a run that was killed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train a small model on the answers of a large one; a recipe with a part "distill" does the same."""
    builds = student != PRETRAINED and student in registry.current().names("model")
    recipe = Recipe(
        data=DataSpec(
            **_given(
                train=data, dev=dev, text_column=text_column, label_column=label_column, encoding=encoding, quoting=quoting
            )
        ),
        text=TextSpec(**_given(max_length=max_length)),
        model=ModelSpec(name=student) if builds else ModelSpec(encoder=student),
        train=TrainSpec(**_given(epochs=epochs)),
        distill=DistillSpec(
            teacher=teacher,
            unlabelled=tuple(unlabelled or ()),
            **_given(temperature=temperature, alpha=alpha, hidden=hidden, answers=answers),
        ),
    )
    seeded = dataclasses.replace(recipe, **_given(seed=seed))
    run(seeded, out, overwrite=overwrite, resume=resume, as_json=as_json)


def _given(**values: Any) -> dict[str, Any]:
    """Leave out what was not given, so that the recipe's own defaults hold."""
    return {name: value for name, value in values.items() if value is not None}
