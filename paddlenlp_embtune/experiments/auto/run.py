"""``choose_model``: rows, a budget and limits in; one bundle out, with its recipe and the reasons for it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import DataError, MissingDependencyError, RecipeError
from paddlenlp_embtune.experiments._bootstrap import METRICS
from paddlenlp_embtune.experiments.auto._choice import Choice
from paddlenlp_embtune.experiments.auto._final import FinalFits, final_recipe, publish
from paddlenlp_embtune.experiments.auto._halving import Halving
from paddlenlp_embtune.experiments.auto._plan import TimePlan
from paddlenlp_embtune.experiments.auto._rows import AutoRows, check_rows
from paddlenlp_embtune.experiments.auto._steps import Steps
from paddlenlp_embtune.experiments.auto.budget import Clock, in_words
from paddlenlp_embtune.experiments.auto.leaderboard import Entry
from paddlenlp_embtune.experiments.auto.limits import Limits, ServingCost
from paddlenlp_embtune.experiments.auto.portfolio import LINEAR, Candidate, portfolio
from paddlenlp_embtune.experiments.auto.result import AutoResult
from paddlenlp_embtune.experiments.auto.rungs import plan_rungs
from paddlenlp_embtune.experiments.cell import DataSet
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.json_yaml import dump_json, parse_json
from paddlenlp_embtune.utils.schema import require, require_name, to_plain

__all__ = ["AutoSpec", "choose_model"]

_TASK, _RESULT, _REPORT, _RECIPE = "task.json", "auto.json", "report.html", "recipe.yaml"
_BUNDLE_FILE = "bundle.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoSpec:
    """How a model is chosen.

    Args:
        budget_seconds: of all calls on the same folder together, the last fit and its proof included; above 0.
        limits: that the bundle must keep.
        metric: ``f1_macro`` or ``accuracy``, which arms are compared by.
        seed: of the first fits.
        jobs: fits at once, with one thread each; None takes one for each processor.
        arms: further arms: ``NAME=RECIPE``, as ``embtune compare`` takes them.
        encoder: name or folder of a pretrained encoder; None takes a registered one, where there is one.
    Raises:
        RecipeError: a value is invalid.
    """

    budget_seconds: float
    limits: Limits = dataclasses.field(default_factory=Limits)
    metric: str = "f1_macro"
    seed: int = 0
    jobs: int | None = None
    arms: tuple[str, ...] = ()
    encoder: str | None = None

    def __post_init__(self) -> None:
        require(0 < self.budget_seconds < float("inf"), "budget_seconds", self.budget_seconds, "above 0")
        require(0 <= self.seed < 2**32 - 1000, "seed", self.seed, "0 or more and below 2**32 - 1000")
        require(self.jobs is None or self.jobs >= 1, "jobs", self.jobs, "1 or more")
        require_name("metric", self.metric, METRICS)


def choose_model(
    data: DataSet,
    out: str | Path,
    *,
    spec: AutoSpec,
    overwrite: bool = False,
    began: float = 0.0,
    announce: Callable[[str], object] | None = None,
    listener: Callable[[Sequence[Entry]], object] | None = None,
) -> AutoResult:
    """Try arms from cheap to dear, and leave one bundle, the best within the budget and the limits.

    The linear arm is fitted on all rows first, so that there is a bundle from then on. Whatever is fitted stands in
    ``OUT.auto`` at once; the same call continues where an earlier one was stopped or killed, with the time that it had used up,
    and ends with the same choice. Called again with a larger budget, it tries further.

    Args:
        data: labelled rows; its test rows are not used.
        out: where the bundle goes.
        spec: how the model is chosen.
        overwrite: replace the bundle in ``out``, and drop another choice beside it.
        began: seconds of the budget that passed before this call.
        announce: called with a sentence about what is done.
        listener: called with the leaderboard whenever it has changed.
    Raises:
        RecipeError: a value is invalid, or ``out`` holds something else.
        DataError: the rows cannot be read, or no arm can be trained on them.
        StudyError: no arm keeps the limits, or none could be fitted.
        KeyboardInterrupt: what was fitted is kept.
    """
    clock = Clock(spec.budget_seconds, began=began)
    out = Path(out).absolute()
    if not out.name:
        raise RecipeError(f"a bundle cannot be written to {out}; give a folder below it")
    folder = out.with_name(f"{out.name}.auto")
    candidates, notes = portfolio(spec.arms, encoder=spec.encoder)
    rows = check_rows(data)
    identity = {
        "rows": rows.identity,
        "reading": {name: to_plain(value) for name, value in data.reading().items()},
        "metric": spec.metric,
        "seed": spec.seed,
    }
    arms = {each.name: to_plain(each.arm) for each in candidates}
    folder.parent.mkdir(parents=True, exist_ok=True)
    refusal = f"another process is choosing a model in {folder}; wait until it has ended, or choose another --out"
    with exclusive_lock(folder, wait_seconds=0, error=RecipeError, refusal=refusal):
        _claim(out, folder, {**identity, "arms": arms}, overwrite=overwrite)
        search, choice = _parts(candidates, rows, folder, clock, spec, announce or _nothing, listener or _nothing)
        if (secured := choice.secure()) is not None:
            publish(choice.finals.run_dir(LINEAR), out)
        if rows.least_fold:
            search.climb(plan_rungs(rows.least_fold))
        name, found = choice.make()
        if secured is None or name != LINEAR:
            publish(choice.finals.run_dir(name), out)
        recipe = choice.recipes(name)
        recipe.save(folder / _RECIPE)
        result = _result(out, folder, name, found.cost, search, spec, rows, clock, notes)
        return _written(result)


def _nothing(*_: Any) -> None:
    pass


def _parts(
    candidates: Sequence[Candidate],
    rows: AutoRows,
    folder: Path,
    clock: Clock,
    spec: AutoSpec,
    announce: Callable[[str], object],
    listener: Callable[[Sequence[Entry]], object],
) -> tuple[Halving, Choice]:
    texts = rows.serving_texts(folder)
    jobs = spec.jobs if spec.jobs is not None else compat.usable_processors()
    steps = Steps(folder, clock, jobs=jobs, texts=texts)
    plan = TimePlan(candidates, rows.compared(folder), rows=len(rows.train), length=rows.length, seed=spec.seed, steps=steps)
    search = Halving(
        candidates,
        rows.probe(folder),
        seed=spec.seed,
        metric=spec.metric,
        limits=spec.limits,
        steps=steps,
        plan=plan,
        announce=announce,
        listener=listener,
    )
    by_name = {each.name: each.arm for each in candidates}

    def recipes(name: str) -> Recipe:
        return final_recipe(by_name[name], rows.data, rows=len(rows.train), seed=spec.seed)

    finals = FinalFits(folder, clock, texts=texts)
    return search, Choice(search=search, finals=finals, recipes=recipes, clock=clock, announce=announce)


def _claim(out: Path, folder: Path, identity: dict[str, Any], *, overwrite: bool) -> None:
    """Make a folder that of this choice, or make sure that it is; further arms are added.

    Raises:
        RecipeError: it holds something else, or ``out`` does.
    """
    path = folder / _TASK
    begun = path.is_file()
    if out.exists() and not (out / _BUNDLE_FILE).is_file():
        raise RecipeError(f"{out} is there already and is no bundle; choose another --out")
    if overwrite:
        if folder.exists() and any(folder.iterdir()) and not begun:
            raise RecipeError(f"{folder} is not empty and holds no choice of a model; remove it, or choose another --out")
        shutil.rmtree(folder, ignore_errors=True)
    elif begun:
        known = parse_json(path.read_bytes(), str(path), error=DataError)
        identity = _same(known if isinstance(known, dict) else {}, identity, folder)
    elif out.exists():
        raise RecipeError(f"{out} holds a bundle already; choose another --out, or replace it with --overwrite")
    elif folder.exists() and any(folder.iterdir()):
        raise RecipeError(f"{folder} is not empty and holds no choice of a model; choose another --out")
    write_text(path, dump_json(identity, indent=1) + "\n")


def _same(known: dict[str, Any], identity: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what both choices know; what is added later may not change what is there."""
    plain = parse_json(dump_json(identity).encode(), "the choice", error=DataError)
    advice = "choose another --out, or begin anew with --overwrite"
    for part, what in (("rows", "rows"), ("reading", "columns"), ("metric", "metric"), ("seed", "seed")):
        if known.get(part) != plain[part]:
            raise RecipeError(f"{folder} holds a choice with other {what}; {advice}")
    there = known.get("arms") or {}
    for name, value in plain["arms"].items():
        if name in there and there[name] != value:
            raise RecipeError(f"{folder} holds a choice with another arm {name!r}; {advice}")
    return {**plain, "arms": {**there, **plain["arms"]}}


def _result(
    out: Path,
    folder: Path,
    name: str,
    cost: ServingCost | None,
    search: Halving,
    spec: AutoSpec,
    rows: AutoRows,
    clock: Clock,
    notes: Sequence[str],
) -> AutoResult:
    assert cost is not None  # a choice without figures was not made
    search.entries[name] = dataclasses.replace(search.entries[name], state="chosen", reason="", cost=cost)
    board = sorted(search.leaderboard(), key=lambda entry: entry.arm != name)
    return AutoResult(
        bundle=out,
        folder=folder,
        recipe=folder / _RECIPE,
        arm=name,
        cost=cost,
        metric=spec.metric,
        leaderboard=tuple(board),
        within_noise=_within_noise(name, search),
        limits=spec.limits,
        rungs=tuple(rung.describe() for rung in search.climbed),
        reasons=(*search.reasons, _reason(name, search, clock)),
        budget_seconds=spec.budget_seconds,
        seconds=round(clock.elapsed, 1),
        rows=len(rows.train),
        notes=(*notes, *rows.notes),
    )


def _within_noise(name: str, search: Halving) -> tuple[str, ...]:
    """Return the arms that were within noise of the best on the last rung that they were measured on, as the chosen one was."""
    entries = search.leaderboard()
    if not search.entries[name].within_noise:
        return ()
    return tuple(each.arm for each in entries if each.within_noise and each.arm != name)


def _reason(name: str, search: Halving, clock: Clock) -> str:
    """Say why an arm was chosen."""
    entry, standing = search.entries[name], search.standing
    if standing is None or entry.score is None or len(standing.entries) < 2:
        return f"{name} was chosen because no other arm could be compared with it within {in_words(clock.budget_seconds)}"
    others = _within_noise(name, search)
    beside = f"within noise of it: {', '.join(others)}" if others else "no other arm was within noise of it"
    return f"{name} was chosen with a score of {entry.score:.4f} on rows that it had not learned from; {beside}"


def _written(result: AutoResult) -> AutoResult:
    """Write the result, and the HTML page where matplotlib and Jinja are there."""
    from paddlenlp_embtune.report import write_auto_report

    path = result.folder / _REPORT
    try:
        write_auto_report(path, result.to_dict())
        result = dataclasses.replace(result, report=path)
    except MissingDependencyError as error:
        result = dataclasses.replace(result, notes=(*result.notes, f"no report was written: {error}"))
    write_text(result.folder / _RESULT, dump_json(result.to_dict(), indent=1) + "\n")
    return result
