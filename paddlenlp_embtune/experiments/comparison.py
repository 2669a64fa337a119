"""A comparison: arms on data sets over seeds, sizes and folds, run in a folder and put together."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import MissingDependencyError, RecipeError, expected_names
from paddlenlp_embtune.experiments._bootstrap import METRICS
from paddlenlp_embtune.experiments._identity import check_claimed, claim, identity_of
from paddlenlp_embtune.experiments.analysis import analyze
from paddlenlp_embtune.experiments.arms import NAME, Arm
from paddlenlp_embtune.experiments.cell import Cell, CellResult, DataSet
from paddlenlp_embtune.experiments.runner import finished, load_result, run_cells
from paddlenlp_embtune.report import comparison_markdown
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.json_yaml import dump_json
from paddlenlp_embtune.utils.schema import require_name

__all__ = ["MARKDOWN", "RESULT", "ComparisonSpec", "compare_arms", "compare_finished", "unfinished"]

RESULT, MARKDOWN = "result.json", "table.md"
_PACKAGES = {"fasttext": ("fasttext", "jieba")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonSpec:
    """What is compared on what.

    Args:
        arms: two or more, with names of their own.
        data: one or more sets of rows, with names of their own.
        against: name of the arm that the others are compared with; None takes the first.
        seeds: of fits and of drawn rows.
        sizes: how many labelled rows the arms learn from; None is all.
        folds: 2 or more measure on folds of the training rows; None on the test rows.
        metric: ``accuracy`` or ``f1_macro``, which differences and order are about.
    Raises:
        RecipeError: a value is invalid.
    """

    arms: tuple[Arm, ...]
    data: tuple[DataSet, ...]
    against: str | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    sizes: tuple[int | None, ...] = (None,)
    folds: int | None = None
    metric: str = "f1_macro"

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < 2:
            raise RecipeError(f"a comparison needs two arms or more, got {', '.join(names) or 'none'}; add one with --arm")
        _check_names("arm", [arm.name.replace("+", "-") for arm in self.arms])
        _check_names("data set", [each.name for each in self.data])
        if self.against is not None and self.against not in names:
            raise RecipeError(f"--against names the arm {self.against!r}; {expected_names(self.against, names)}")
        if not self.seeds or min(self.seeds) < 0:
            raise RecipeError(f"seeds are {list(self.seeds)}; expected one or more, 0 or more each")
        if not self.sizes or any(size is not None and size < 2 for size in self.sizes):
            raise RecipeError(f"sizes are {list(self.sizes)}; expected 2 or more labelled rows each, or all")
        if self.folds is not None and self.folds < 2:
            raise RecipeError(f"folds is {self.folds}; expected 2 or more")
        require_name("metric", self.metric, METRICS)
        for each in self.data:
            _check_rows(each, self.folds)

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.against or self.arms[0].name

    def cells(self) -> list[Cell]:
        """Return all cells: whole data sets first, and of each all arms with the first seed before those with the next."""
        folds = [None] if self.folds is None else [(number, self.folds) for number in range(self.folds)]
        return [
            Cell(arm=arm, data=data, seed=seed, size=size, fold=fold)
            for data in self.data
            for size in self.sizes
            for seed in self.seeds
            for fold in folds
            for arm in self.arms
        ]


def compare_arms(
    spec: ComparisonSpec,
    out: str | Path,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    resamples: int = 2000,
    listener: Callable[[Cell, CellResult], None] | None = None,
) -> dict[str, Any]:
    """Run what has no figures yet, and put everything together.

    Each cell that has ended is written to ``out`` at once, so that a comparison that was interrupted or killed continues where
    it was; arms, seeds, sizes and data sets can be added later. At the end stand there ``result.json`` and ``table.md``.

    Args:
        spec: what is compared.
        out: folder of the comparison.
        jobs: processes at once, with one thread each.
        overwrite: drop another comparison in ``out``.
        resamples: of the bootstrap, 100 or more.
        listener: called with every cell that has ended and its result; not with those that had figures before.
    Returns:
        What :func:`paddlenlp_embtune.experiments.analysis.analyze` does.
    Raises:
        RecipeError: ``out`` holds another comparison, or a value is invalid.
        DataError: a file is missing, or a result in ``out`` is damaged.
        MissingDependencyError: an arm needs a package that is not installed.
        EmbtuneError: another process is writing to ``out``.
    """
    if resamples < 100:
        raise RecipeError(f"resamples is {resamples}; expected 100 or more")
    _check_packages(spec.arms)
    folder = Path(out)
    refusal = f"another process is running a comparison in {folder}; wait until it has ended, or choose another --out"
    with exclusive_lock(folder, wait_seconds=0, error=RecipeError, refusal=refusal):
        claim(folder, identity_of(spec.data, spec.arms, spec.folds), overwrite=overwrite)
        cells = spec.cells()
        results = run_cells(cells, folder, jobs=jobs, listener=listener)
        found = analyze(cells, results, against=spec.reference, metric=spec.metric, resamples=resamples)
        write_text(folder / RESULT, dump_json(found, indent=1) + "\n")
        write_text(folder / MARKDOWN, comparison_markdown(found))
    return found


def compare_finished(spec: ComparisonSpec, out: str | Path, *, resamples: int = 2000) -> dict[str, Any]:
    """Put together the data sets and sizes of which every cell has figures; nothing is run or written.

    Another process may be running the rest meanwhile.

    Args:
        spec: what is compared.
        out: folder of the comparison.
        resamples: of the bootstrap, 100 or more.
    Returns:
        What :func:`compare_arms` does.
    Raises:
        RecipeError: ``out`` holds another comparison, or no data set is complete.
        DataError: a file is missing, or a result in ``out`` is damaged.
    """
    folder = Path(out)
    check_claimed(folder, identity_of(spec.data, spec.arms, spec.folds))
    cells = spec.cells()
    there = {cell.place: load_result(folder, cell) for cell in cells}
    results = {place: result for place, result in there.items() if result is not None and not result.failed}
    lacking = {(cell.data.name, cell.size) for cell in cells if cell.place not in results}
    complete = [cell for cell in cells if (cell.data.name, cell.size) not in lacking]
    if not complete:
        raise RecipeError(f"{len(results)} of {len(cells)} cells stand in {folder}, and no data set is complete; run the rest")
    found = analyze(complete, results, against=spec.reference, metric=spec.metric, resamples=resamples)
    if lacking:
        found["notes"].append(f"{len(results)} of {len(cells)} cells have figures; not complete: {', '.join(_names(lacking))}")
    return found


def _names(lacking: Collection[tuple[str, int | None]]) -> list[str]:
    return sorted(name if size is None else f"{name} ({size} rows)" for name, size in lacking)


def unfinished(spec: ComparisonSpec, out: str | Path) -> int:
    """Return how many cells of a comparison have no figures in its folder yet."""
    return sum(not finished(Path(out), cell) for cell in spec.cells())


def _check_names(what: str, names: Sequence[str]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise RecipeError(f"the name of a {what} is {name!r}; expected letters, digits, '.', '_' and '-', 60 at most")
        if names.count(name) > 1:
            raise RecipeError(f"{names.count(name)} of them have the name {name!r}; give each {what} a name of its own")


def _check_rows(data: DataSet, folds: int | None) -> None:
    if folds is None and data.test is None:
        raise RecipeError(f"the data set {data.name} has no test rows; pass --test FILE, or --folds 5 to measure on folds")
    if folds is not None and (data.test is not None or data.dev is not None):
        raise RecipeError(
            f"--folds measures on folds of the training rows of {data.name}, but it has test or development rows; leave "
            "--folds out, or these"
        )


def _check_packages(arms: Sequence[Arm]) -> None:
    """Refuse, before anything is run, an arm whose package is missing."""
    for arm in arms:
        needed = _PACKAGES.get(arm.parts[0], ()) if arm.kind == "baseline" else ("paddle", "onnxruntime")
        extra = "baselines" if arm.kind == "baseline" else "cpu"
        for package in needed:
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"the arm {arm.name!r} needs {package}, which is not installed; install it with: "
                    f'pip install "paddlenlp-embtune[{extra}]", or leave the arm out'
                )
