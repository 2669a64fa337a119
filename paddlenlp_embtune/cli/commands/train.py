"""``embtune train``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune import compat
from paddlenlp_embtune.cli._console import RunDisplay, err, print_notes, progress_bar
from paddlenlp_embtune.cli._options import EncodingOption, MaybeQuotingOption
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import RecipeError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    recipe: Annotated[Optional[Path], typer.Argument(help="A recipe (YAML); without one, the defaults.")] = None,
    data: Annotated[Optional[str], typer.Option(help="Training rows: .tsv, .csv, .json or .jsonl.")] = None,
    dev: Annotated[Optional[str], typer.Option(help="Rows to watch; without them, a tenth of --data is held out.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run: recipe, record, metrics and bundle.")] = Path("runs/last"),
    text_column: Annotated[Optional[str], typer.Option(help="Column or key of the text.")] = None,
    label_column: Annotated[Optional[str], typer.Option(help="Column or key of the label.")] = None,
    encoding: EncodingOption = None,
    quoting: MaybeQuotingOption = None,
    labels: Annotated[Optional[str], typer.Option(help="The labels, with commas; by default those of the data.")] = None,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="The order of the labels means something: answers get a level.")
    ] = False,
    domain: Annotated[Optional[str], typer.Option(help="A registered domain, for its labels.")] = None,
    encoder: Annotated[
        Optional[str],
        typer.Option(help="A pretrained encoder: a registered name, PaddleNLP's name, or a folder such as ./ernie."),
    ] = None,
    epochs: Annotated[Optional[int], typer.Option(help="Passes over the training rows.")] = None,
    seed: Annotated[Optional[int], typer.Option(help="Seeds data order, dropout and initialisation.")] = None,
    max_length: Annotated[Optional[int], typer.Option(help="Longer texts are cut to this many tokens.")] = None,
    skip_empty: Annotated[bool, typer.Option("--skip-empty", help="Leave rows with an empty text out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint of a run that was killed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Tune a classifier, watch its embedding, export it with proof."""
    chosen = Recipe.load(recipe) if recipe is not None else Recipe()
    changes: dict[str, Any] = {
        "data": {
            "train": data,
            "dev": dev,
            "text_column": text_column,
            "label_column": label_column,
            "labels": tuple(label.strip() for label in labels.split(",")) if labels else None,
            "ordered": ordered or None,
            "skip_empty": skip_empty or None,
            "encoding": encoding,
            "quoting": quoting,
        },
        "train": {"epochs": epochs},
        "text": {"max_length": max_length},
        "model": {"encoder": encoder},
    }
    for part, values in changes.items():
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            chosen = dataclasses.replace(chosen, **{part: dataclasses.replace(getattr(chosen, part), **given)})
    top: dict[str, Any] = {key: value for key, value in (("domain", domain), ("seed", seed)) if value is not None}
    run(dataclasses.replace(chosen, **top), out, overwrite=overwrite, resume=resume, as_json=as_json)


def run(recipe: Recipe, out: Path, *, overwrite: bool, as_json: bool, resume: bool = False) -> None:
    """Run a recipe with its progress on stderr and its result on stdout."""
    if recipe.data.train is None:
        raise RecipeError("there is nothing to train on; pass --data FILE, or a recipe with data.train")
    compat.require_paddle()
    compat.quiet_logging()
    from paddlenlp_embtune.training import train as run_recipe

    with progress_bar("reading vectors") as progress, progress_bar("asking the teacher") as teaching:
        result = run_recipe(
            recipe, out, overwrite=overwrite, resume=resume, listeners=[RunDisplay()], progress=progress, teaching=teaching
        )
    print_notes(result.notes)
    err.print(f"record: {result.run_dir / 'record.jsonl'}", markup=False)
    if as_json:
        answer = {"run": str(result.run_dir), "bundle": str(result.bundle), "seconds": result.seconds, **result.metrics}
        if result.notes:
            answer["notes"] = list(result.notes)
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print(result.bundle)
