"""``search``: a recipe and a space in; trials in a storage, the best recipe, and its gain over the recipe as it stands out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import MissingDependencyError, RecipeError, StudyError
from paddlenlp_embtune.experiments.search._final import Final, compare_recipes
from paddlenlp_embtune.experiments.search._optuna import PRUNERS, SAMPLERS
from paddlenlp_embtune.experiments.search._rows import prepare_rows
from paddlenlp_embtune.experiments.search._trial import watched_metric
from paddlenlp_embtune.experiments.search._workers import Budget, Job, run_trials
from paddlenlp_embtune.experiments.search.space import Space
from paddlenlp_embtune.experiments.search.study import TrialRecord
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.json_yaml import dump_json
from paddlenlp_embtune.utils.schema import require, require_name, to_plain

__all__ = ["BEST", "SearchResult", "SearchSpec", "search"]

BEST, JOURNAL, RESULT = "best.yaml", "study.journal", "search.json"
_MEASURED = ("accuracy", "f1_macro")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """How a search goes.

    Args:
        trials: how many at most, those of earlier commands on the same study included; None for no limit.
        minutes: the time of the whole command, comparison at the end included; None for no limit. One of the two is needed.
        processes: trials at once on this machine, 1 or more. Others may run the same search on the same storage.
        sampler: ``tpe``, ``random``, ``gp``, ``cmaes`` or ``qmc``, of Optuna.
        pruner: ``median``, ``percentile``, ``hyperband``, ``successive_halving`` or ``none``, of Optuna.
        storage: of Optuna: the path of a journal, of SQLite where it ends in ``.db``, or the URL of a database; None keeps a
            journal in the folder of the search.
        study: name of the study in the storage.
        seeds: runs of the best recipe and of the recipe as it stands at the end, 0 (no comparison) to 100.
        test: path of labelled rows that no trial sees, for the comparison.
    """

    trials: int | None = 20
    minutes: float | None = None
    processes: int = 1
    sampler: str = "tpe"
    pruner: str = "median"
    storage: str | None = None
    study: str = "embtune"
    seeds: int = 3
    test: str | None = None

    def __post_init__(self) -> None:
        require(self.trials is None or self.trials >= 1, "trials", self.trials, "1 or more")
        require(self.minutes is None or self.minutes > 0, "minutes", self.minutes, "above 0")
        require(self.trials is not None or self.minutes is not None, "trials", None, "stated, or minutes, or both")
        require(1 <= self.processes <= 1000, "processes", self.processes, "1 or more")
        require(0 <= self.seeds <= 100, "seeds", self.seeds, "0 to 100")
        require(bool(self.study), "study", self.study, "a name")
        require_name("sampler", self.sampler, tuple(SAMPLERS))
        require_name("pruner", self.pruner, tuple(PRUNERS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search leaves.

    Args:
        folder: of the search.
        recipe: path of the best recipe, ready to train.
        metric, mode: what trials were compared by.
        trials: those that count.
        best: the best of them.
        values: what the best one changes, by field; empty where it is the recipe as it stands.
        importances: how much of the spread of good results each field explains.
        final: the comparison with the recipe as it stands; None where there was none, and ``notes`` say why.
        report: path of the HTML page; None where a package that it needs is missing.
        notes: what must be known, a sentence each.
    """

    folder: Path
    recipe: Path
    metric: str
    mode: str
    trials: tuple[TrialRecord, ...]
    best: TrialRecord
    values: Mapping[str, Any]
    importances: Mapping[str, float]
    final: Final | None
    report: Path | None
    notes: tuple[str, ...]

    @property
    def default(self) -> TrialRecord | None:
        """The trial of the recipe as it stands."""
        return next((trial for trial in self.trials if trial.default), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``--json`` prints and ``search.json`` keeps them."""
        plain: dict[str, Any] = to_plain(self)
        plain |= {name: None if plain[name] is None else str(plain[name]) for name in ("folder", "recipe", "report")}
        if self.final is not None:
            plain["final"]["verdict"] = self.final.verdict
        plain["better"] = self.final is not None and self.final.verdict == "better"
        return plain


def search(
    recipe: Recipe,
    space: Space,
    out: str | Path,
    *,
    spec: SearchSpec | None = None,
    resume: bool = False,
    begins_at: float | None = None,
    listener: Callable[[TrialRecord], object] | None = None,
    announce: Callable[[str], object] | None = None,
) -> SearchResult:
    """Try recipes of a space, and compare the best with the recipe as it stands on rows that no trial has seen.

    The first trial is the recipe as it stands. Whatever has ended is in the storage and in the folder at once; an interrupt, or
    a process that is killed, loses the trials that ran, and a search that is resumed runs them again.

    Args:
        recipe: the start.
        space: what varies.
        out: folder of the search.
        spec: how it goes; None for 20 trials in this process.
        resume: go on with a study that is there.
        begins_at: when the time of ``spec.minutes`` begins, as ``time.time`` counts it; None for now.
        listener: called with every trial that has ended.
        announce: called with a sentence about what is done next.
    Raises:
        RecipeError, DataError: recipe, space or rows are wrong; or the storage holds another search.
        StudyError: the storage cannot be used; or no trial ran to its end.
        MissingDependencyError: Optuna is not installed.
    """
    begins_at = time.time() if begins_at is None else begins_at
    spec = spec if spec is not None else SearchSpec()
    folder, say = Path(out), announce if announce is not None else lambda _: None
    metric, mode = watched_metric(recipe)
    recipe = recipe.relative_to(Path.cwd())
    storage = spec.storage if spec.storage is not None else str(folder / JOURNAL)
    if not resume and spec.storage is None and Path(storage).exists():
        raise RecipeError(f"{folder} holds a search already; go on with --resume, or choose another --out")
    rows = prepare_rows(recipe, folder, test=spec.test)
    say(rows.note)
    trial_recipe = dataclasses.replace(recipe, data=rows.data)
    budget = Budget(
        trials=spec.trials,
        begins_at=begins_at,
        ends_at=None if spec.minutes is None else begins_at + 60 * spec.minutes,
        retrainings=spec.seeds * (2 if spec.processes == 1 else 1),
    )
    job = Job(
        recipe=trial_recipe,
        space=space,
        storage=storage,
        name=spec.study,
        mode=mode,
        sampler=spec.sampler,
        pruner=spec.pruner,
        seed=recipe.seed,
        budget=budget,
        folder=folder / "trials",
    )
    study = job.open()
    study.claim(
        _identity(recipe, space, rows.identity, metric, mode),
        default=space.parameters_of(recipe, rows=rows.count, labels=rows.labels),
        resume=resume,
    )
    if lost := study.recover():
        say(f"{lost} trials of processes that have ended run again")
    run_trials(job, study, processes=spec.processes, listener=listener)
    best = study.best()
    if best is None:
        raise StudyError(_no_trial(study.trials(), budget))
    values = {} if best.default else best.values
    found = space.apply(recipe, values)
    found.save(folder / BEST)
    final, notes = None, _notes(study.trials(), recipe, metric)
    if spec.seeds and not best.default:
        say(f"trial {best.number} and the recipe as it stands are trained again with {spec.seeds} seeds")
        final = compare_recipes(
            trial_recipe,
            space.apply(trial_recipe, values),
            rows.final,
            folder / "final",
            names=("default", f"trial-{best.number}"),
            metric=metric if metric in _MEASURED else "f1_macro",
            seeds=[(recipe.seed + number) % 2**32 for number in range(1, spec.seeds + 1)],
            processes=spec.processes,
            ends_at=budget.ends_at,
            run_seconds=study.seconds(study.trials()),
        )
        if final is None:
            notes.append(
                "there was no time to compare the best recipe with the one that the search began with; raise --minutes"
            )
        elif final.seeds < spec.seeds:
            notes.append(f"there was time for {final.seeds} of {spec.seeds} seeds of the comparison; raise --minutes for more")
    if best.default:
        notes.append("no trial was better than the recipe as it stands, so there is nothing to compare")
    result = SearchResult(
        folder=folder,
        recipe=folder / BEST,
        metric=metric,
        mode=mode,
        trials=tuple(study.trials()),
        best=best,
        values=values,
        importances=study.importances(),
        final=final,
        report=None,
        notes=tuple(notes),
    )
    result = _with_report(result, space)
    with exclusive_lock(folder / RESULT, error=RecipeError):
        write_text(folder / RESULT, dump_json(result.to_dict(), indent=1) + "\n")
    return result


def _with_report(result: SearchResult, space: Space) -> SearchResult:
    """Write the HTML page, where matplotlib and Jinja are there."""
    from paddlenlp_embtune.report import write_search_report

    path = result.folder / "report.html"
    try:
        write_search_report(path, result.to_dict(), space={each.field: each.describe() for each in space.dimensions})
    except MissingDependencyError as error:
        return dataclasses.replace(result, notes=(*result.notes, f"no report was written: {error}"))
    return dataclasses.replace(result, report=path)


def _identity(recipe: Recipe, space: Space, rows: Mapping[str, Any], metric: str, mode: str) -> dict[str, Any]:
    """What a study must be of for a search to go on with it; paths of rows do not count, their contents do."""
    plain = recipe.to_dict()
    data = plain.pop("data")
    kept = {key: data[key] for key in ("labels", "ordered", "dev_ratio")}
    return {"recipe": {**plain, "data": kept}, "space": space.to_dict(), "rows": dict(rows), "metric": metric, "mode": mode}


def _notes(trials: list[TrialRecord], recipe: Recipe, metric: str) -> list[str]:
    failed = [trial for trial in trials if trial.state == "failed"]
    notes = []
    if failed:
        notes.append(f"{len(failed)} of {len(trials)} trials failed, trial {failed[0].number} first: {failed[0].error}")
    if metric not in _MEASURED:
        notes.append(f"trials are compared by {metric}, the recipes at the end by f1_macro")
    if recipe.early_stopping is None:
        notes.append("early_stopping is null, so the value of a trial is that of its last weights")
    return notes


def _no_trial(trials: list[TrialRecord], budget: Budget) -> str:
    if budget.ends_at is not None and not any(trial.error for trial in trials):
        minutes = (budget.ends_at - budget.begins_at) / 60
        return f"no trial ran to its end in {minutes:.3g} minutes; raise --minutes, and go on with --resume"
    told = next((f": {trial.error}" for trial in trials if trial.error), "")
    return f"no trial ran to its end{told}; correct the recipe or the space"
