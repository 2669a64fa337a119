"""``embtune lr-find``: the learning-rate range test."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._options import RecipeArgument, TrainingRowsOption
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._plot import draw, draw_png
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import RecipeError

if TYPE_CHECKING:
    from paddlenlp_embtune.training import LearningRateCurve

__all__ = ["lr_find"]


def lr_find(
    recipe: RecipeArgument = None,
    data: TrainingRowsOption = None,
    group: Annotated[
        Optional[list[str]],
        typer.Option(help="Group to test alone; repeat for more. By default all groups together."),
    ] = None,
    lowest: Annotated[float, typer.Option(help="Lowest learning rate.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Highest learning rate.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Number of learning rates to test, one batch each.")] = 100,
    plot: Annotated[Optional[Path], typer.Option(help="Also plot the curves into this file (.png, .svg or .pdf).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per curve, with all its points.")] = False,
) -> None:
    """Run the learning-rate range test: raise the learning rate batch by batch, and propose one. Keeps no weights."""
    chosen = Recipe.load(recipe) if recipe is not None else Recipe()
    if data is not None:
        chosen = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, train=data))
    if chosen.data.train is None:
        raise RecipeError("there is nothing to train on; pass --data FILE, or a recipe with data.train")
    start_paddle()
    from paddlenlp_embtune.training import learning_rate_curves

    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("range test", total=steps)
        curves = learning_rate_curves(
            chosen,
            groups=group or [None],
            lowest=lowest,
            highest=highest,
            steps=steps,
            progress=lambda done, _: bar.update(task, completed=done),
        )
    for curve in curves:
        err.print(f"[bold]{escape(curve.group or 'all groups')}[/]: loss against the learning rate", markup=True)
        err.print(draw(curve.rates, curve.smoothed), markup=False)
    err.print(_proposals(curves))
    print_notes(
        f"the loss of {curve.group or 'all groups'} falls at no learning rate by more than batches differ, so none is "
        "proposed; try more --steps, other limits or a larger batch_size"
        for curve in curves
        if curve.proposal is None
    )
    if plot is not None:
        draw_png(plot, {curve.group or "all groups": curve for curve in curves})
        err.print(f"curves: {plot}", markup=False)
    for curve in curves:
        if as_json:
            print(json.dumps({**dataclasses.asdict(curve), "proposal": curve.proposal}, ensure_ascii=False))
        else:
            proposal = "" if curve.proposal is None else f"{curve.proposal:.1e}"
            print(f"{curve.group or 'all'}\t{proposal}")


def _proposals(curves: list[LearningRateCurve]) -> Table:
    table = Table("group", "proposal", "steepest fall", "lowest loss", "blew up")
    for curve in curves:
        figures = (curve.proposal, curve.steepest, curve.minimum, curve.blew_up_at)
        table.add_row(curve.group or "all", *("-" if figure is None else f"{figure:.1e}" for figure in figures))
    return table
