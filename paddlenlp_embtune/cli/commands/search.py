"""``embtune search``: which recipe of a space is best, and whether it is better than the one that it began with."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.markup import escape

from paddlenlp_embtune.cli._console import err, print_notes, progress_bar
from paddlenlp_embtune.cli._data_format import given, states_data_format
from paddlenlp_embtune.cli._options import DevelopmentRowsOption, JsonOption, RecipeArgument, SeedOption, TrainingRowsOption
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.config import Recipe

if TYPE_CHECKING:
    from paddlenlp_embtune.experiments.search import SearchResult, TrialRecord

__all__ = ["search"]

DEFAULT_TRIALS = 20


@states_data_format
def search(
    data_format: dict[str, str],
    space: Annotated[Path, typer.Option(help="Space: fields of a recipe with lists of values or ranges (YAML).")],
    recipe: RecipeArgument = None,
    data: TrainingRowsOption = None,
    dev: DevelopmentRowsOption = None,
    test: Annotated[
        Optional[str],
        typer.Option(
            help="Labelled rows for the comparison at the end; by default --dev, or a fifth of --data, is kept for it."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the search: study, best recipe, report.")] = Path("runs/search"),
    trials: Annotated[
        Optional[int],
        typer.Option(min=1, help="Most trials, earlier ones of the study included; 20 where no --minutes are given."),
    ] = None,
    minutes: Annotated[Optional[float], typer.Option(help="Most minutes of this command, comparison included.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Trials at once on this machine.")] = 1,
    sampler: Annotated[str, typer.Option(help="Sampler of Optuna: tpe, random, gp, cmaes or qmc.")] = "tpe",
    pruner: Annotated[
        str, typer.Option(help="Pruner of Optuna: median, percentile, hyperband, successive_halving or none.")
    ] = "median",
    storage: Annotated[
        Optional[str],
        typer.Option(help="Storage of Optuna: path of a journal or of SQLite (.db), or a URL; by default a journal in --out."),
    ] = None,
    study: Annotated[str, typer.Option(help="Name of the study in the storage.")] = "embtune",
    seeds: Annotated[int, typer.Option(min=0, help="Runs of each recipe in the comparison at the end; 0 leaves it out.")] = 3,
    seed: SeedOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a study that is there, also beside other processes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Search a space of recipes, and compare the best one with the recipe as it stands on rows that no trial has seen."""
    options: dict[str, Any] = {"begins_at": time.time(), "resume": resume, "announce": lambda text: print_notes([text])}
    chosen = Recipe.load(recipe) if recipe is not None else Recipe()
    stated = given(train=data, dev=dev, **data_format)
    chosen = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, **stated), **given(seed=seed))
    from paddlenlp_embtune.experiments.search import SearchSpec, Space, search as run

    spec = SearchSpec(
        trials=DEFAULT_TRIALS if trials is None and minutes is None else trials,
        minutes=minutes,
        processes=processes,
        sampler=sampler,
        pruner=pruner,
        storage=storage,
        study=study,
        seeds=seeds,
        test=test,
    )
    found = Space.load(space, chosen)
    start_paddle()
    with progress_bar("searching") as progress:

        def show(trial: TrialRecord) -> None:
            _show_trial(trial)
            if progress is not None and spec.trials is not None:
                progress(trial.number + 1, spec.trials)

        try:
            result = run(chosen, found, out, spec=spec, listener=show, **options)
        except KeyboardInterrupt:
            print_notes([f"what has ended is kept in {out}; continue with --resume"])
            raise
    _show(result)
    if as_json:
        print(json.dumps(result.to_dict(), ensure_ascii=False))
    else:
        print(result.recipe)


def _show_trial(trial: TrialRecord) -> None:
    values = ", ".join(f"{field} {_short(value)}" for field, value in trial.values.items())
    value = "-" if trial.value is None else f"{trial.value:.4f}"
    end = trial.state if trial.reason is None else trial.reason.replace("_", " ")
    what = "the recipe as it stands" if trial.default else values
    err.print(f"trial {trial.number}: {value}  {what}  ({end}, {trial.seconds or 0.0:.1f} s)", markup=False, soft_wrap=True)
    if trial.error is not None:
        err.print(f"  [yellow]failed:[/] {escape(trial.error)}", markup=True, soft_wrap=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _show(result: SearchResult) -> None:
    best, default, final = result.best, result.default, result.final
    began = "" if default is None or default.value is None else f", the recipe as it stands {default.value:.4f}"
    told = f"best: trial {best.number} with {result.metric} {best.value:.4f}{began}, on rows that it was chosen by"
    err.print(told, markup=False, soft_wrap=True)
    for field, value in result.values.items():
        share = result.importances.get(field)
        err.print(f"  {field}: {_short(value)}" + ("" if share is None else f"  (importance {share:.2f})"), markup=False)
    if final is not None:
        low, high = final.interval
        verdicts = {
            "better": "the best recipe is better",
            "worse": "the best recipe is worse: keep the recipe as it stands",
            "no difference shown": "the best recipe is not shown to be better: there is no reason to change the recipe",
        }
        runs = "1 seed" if final.seeds == 1 else f"{final.seeds} seeds"
        told_of = f"on {final.rows} rows that no trial has seen, {runs}: {final.metric}"
        figures = f"{_mean(final.default):.4f} -> {_mean(final.best):.4f}, difference {final.difference:+.4f}"
        interval = f"95% interval {low:+.4f} to {high:+.4f}"
        err.print(f"{told_of} {figures} ({interval}); {verdicts[final.verdict]}", markup=False, soft_wrap=True)
    print_notes(result.notes)
    if result.report is not None:
        err.print(f"report: {result.report}", markup=False, soft_wrap=True)


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
