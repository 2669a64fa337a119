"""``embtune train``: from labelled rows, or a recipe, to a bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.cli._console import err, print_notes, progress_bar
from paddlenlp_embtune.cli._data_format import given, states_data_format
from paddlenlp_embtune.cli._options import (
    DevelopmentRowsOption,
    EpochsOption,
    JsonOption,
    MaxLengthOption,
    NoBaselineOption,
    PrecisionOption,
    RecipeArgument,
    ReplaceRunOption,
    ResumeOption,
    RunOption,
    SeedOption,
    SkipEmptyOption,
    TrainingRowsOption,
)
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._run_display import RunDisplay
from paddlenlp_embtune.config import LABEL_KINDS, TUNINGS, EvaluationSpec, Recipe, SelfTrainingSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.run_layout import RECORD

__all__ = ["train"]


@states_data_format
def train(
    data_format: dict[str, str],
    recipe: RecipeArgument = None,
    data: TrainingRowsOption = None,
    dev: DevelopmentRowsOption = None,
    out: RunOption = Path("runs/last"),
    labels: Annotated[Optional[str], typer.Option(help="Labels, separated by commas; by default those of the data.")] = None,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="The labels are ordered, as on a scale; answers get a level.")
    ] = False,
    label_kind: Annotated[
        Optional[str],
        typer.Option(help=f"Kind of the labels: {', '.join(LABEL_KINDS)}; by default as the data have them."),
    ] = None,
    domain: Annotated[Optional[str], typer.Option(help="Registered domain whose labels are used.")] = None,
    encoder: Annotated[
        Optional[str],
        typer.Option(help="Pretrained encoder: a registered name, PaddleNLP's name, or a folder such as ./ernie."),
    ] = None,
    tuning: Annotated[
        Optional[str],
        typer.Option(help=f"How the encoder is tuned: {', '.join(TUNINGS)}; auto chooses by the rows a label."),
    ] = None,
    unlabelled: Annotated[
        Optional[list[Path]],
        typer.Option(help="Texts without labels, one a line in .txt, for self-training; needs an encoder; repeat for more."),
    ] = None,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    max_length: MaxLengthOption = None,
    precision: PrecisionOption = None,
    skip_empty: SkipEmptyOption = False,
    no_baseline: NoBaselineOption = False,
    overwrite: ReplaceRunOption = False,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier, monitor its embedding, and export a verified bundle."""
    chosen = Recipe.load(recipe) if recipe is not None else Recipe()
    changes: dict[str, Any] = {
        "data": {
            "train": data,
            "dev": dev,
            "ordered": ordered or None,
            "skip_empty": skip_empty or None,
            **data_format,
        },
        "labels": {
            "names": tuple(label.strip() for label in labels.split(",")) if labels else None,
            "kind": label_kind,
        },
        "train": {"epochs": epochs, "precision": precision},
        "text": {"max_length": max_length},
        "model": {"encoder": encoder},
    }
    for part, values in changes.items():
        if stated := given(**values):
            chosen = dataclasses.replace(chosen, **{part: dataclasses.replace(getattr(chosen, part), **stated)})
    if unlabelled:
        chosen = dataclasses.replace(chosen, self_training=_with_texts(chosen, unlabelled))
    if no_baseline:
        chosen = dataclasses.replace(chosen, evaluation=EvaluationSpec(baseline=None))
    run(
        dataclasses.replace(chosen, **given(domain=domain, seed=seed, tuning=tuning)),
        out,
        overwrite=overwrite,
        resume=resume,
        as_json=as_json,
    )


def _with_texts(recipe: Recipe, unlabelled: list[Path]) -> SelfTrainingSpec:
    paths = tuple(map(str, unlabelled))
    if recipe.self_training is None:
        return SelfTrainingSpec(unlabelled=paths)
    return dataclasses.replace(recipe.self_training, unlabelled=paths)


def run(recipe: Recipe, out: Path, *, overwrite: bool, as_json: bool, resume: bool = False) -> None:
    """Run a recipe with its progress on stderr and its result on stdout."""
    if recipe.data.train is None:
        raise RecipeError("there is nothing to train on; pass --data FILE, or a recipe with data.train")
    start_paddle()
    from paddlenlp_embtune.training import train as run_recipe

    with progress_bar("reading vectors") as progress, progress_bar("querying the teacher") as teaching:
        result = run_recipe(
            recipe, out, overwrite=overwrite, resume=resume, listeners=[RunDisplay()], progress=progress, teaching=teaching
        )
    print_notes(result.notes)
    err.print(f"record: {result.run_dir / RECORD}", markup=False)
    if as_json:
        answer = {"run": str(result.run_dir), "bundle": str(result.bundle), "seconds": result.seconds, **result.metrics}
        if result.notes:
            answer["notes"] = list(result.notes)
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print(result.bundle)
