"""``embtune compare``: arms on data sets over seeds, in one table."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune import compat
from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import JsonOption, OverwriteOption
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.experiments import (
    BUILT_IN_ARMS,
    Cell,
    CellResult,
    ComparisonSpec,
    DataSet,
    compare_arms,
    compare_finished,
    parse_arms,
    unfinished,
)
from paddlenlp_embtune.report import check_report_packages, comparison_markdown, write_comparison

__all__ = ["compare"]

_DEFAULT_ARMS = ("tfidf", "tfidf-svm", "textcnn")
_ENDINGS = (".tsv", ".csv", ".jsonl", ".json")
_FILES_OF_SET = "[NAME=]FILE"


@reads_data(labels=True)
def compare(
    data_format: DataFormat,
    data: Annotated[
        list[str],
        typer.Option(metavar=_FILES_OF_SET, help="Training set, or a folder with train, dev and test; repeat for more sets."),
    ],
    test: Annotated[
        Optional[list[str]], typer.Option(metavar=_FILES_OF_SET, help="Test set, on which the arms are measured.")
    ] = None,
    dev: Annotated[
        Optional[list[str]],
        typer.Option(metavar=_FILES_OF_SET, help="Development set; by default a tenth of --data."),
    ] = None,
    arm: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="[NAME=]PART[+PART...]",
            help=f"Arm: a recipe file, or {', '.join(BUILT_IN_ARMS)}; parts apply in order; repeat for more.",
        ),
    ] = None,
    setting: Annotated[
        Optional[list[str]],
        typer.Option("--set", metavar="[ARM:]SETTING=VALUE", help="Recipe setting of one arm, or of all with a recipe."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds of every arm.")] = 3,
    sizes: Annotated[
        Optional[str], typer.Option(help="Numbers of labelled rows for learning curves, such as 50,100,500,all.")
    ] = None,
    folds: Annotated[Optional[int], typer.Option(help="Measure on so many folds of --data, without a test set.")] = None,
    against: Annotated[Optional[str], typer.Option(help="Arm that the others are compared with; by default the first.")] = None,
    metric: Annotated[str, typer.Option(help="Metric of the differences: f1_macro or accuracy.")] = "f1_macro",
    encoder: Annotated[
        Optional[str], typer.Option(help="Encoder of the built-in arms that take one; by default e5-small-zh.")
    ] = None,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Processes at once, with one thread each; by default one per processor.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the comparison; an interrupted one continues there.")] = Path(
        "runs/compare"
    ),
    finished: Annotated[
        bool, typer.Option("--finished", help="Run nothing; show the sets in --out that are complete.")
    ] = False,
    html: Annotated[Optional[Path], typer.Option(help="Also write the comparison as one HTML file.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare arms (baselines, recipes, changes to recipes) on your data, over seeds, with intervals and costs."""
    spec = ComparisonSpec(
        arms=parse_arms(arm or _DEFAULT_ARMS, setting or (), encoder=encoder),
        data=_data_sets(data, dev or (), test or (), data_format, folds=folds),
        against=against,
        seeds=tuple(range(seeds)),
        sizes=_sizes(sizes),
        folds=folds,
        metric=metric,
    )
    if html is not None:
        check_report_packages()
    if finished:
        found = compare_finished(spec, out)
    else:
        count = compat.usable_processors() if jobs is None else jobs
        found = compare_arms(spec, out, jobs=count, overwrite=overwrite, listener=_Progress(spec, out))
    if html is not None:
        err.print(f"report: {write_comparison(found, html)}", markup=False)
    _show(found, out, as_json=as_json)
    if found["failed"]:
        raise typer.Exit(1)


class _Progress:
    """Prints a line for every cell that has ended, and how long the rest takes at that rate."""

    def __init__(self, spec: ComparisonSpec, out: Path) -> None:
        self._whole = len(spec.cells())
        self._left = unfinished(spec, out)
        self._ended, self._started = 0, time.monotonic()
        if self._left < self._whole:
            err.print(f"{self._whole - self._left} of {self._whole} cells stand in {out}", markup=False)

    def __call__(self, cell: Cell, result: CellResult) -> None:
        self._ended += 1
        left = (time.monotonic() - self._started) / self._ended * (self._left - self._ended)
        size = "" if cell.size is None else f", {cell.size} rows"
        fold = "" if cell.fold is None else f", fold {cell.fold[0] + 1}"
        right = sum(one == other for one, other in zip(result.truth, result.predicted, strict=True))
        said = f"accuracy {right / len(result.truth):.4f} in {result.seconds:.1f} s" if not result.failed else "failed"
        err.print(
            f"{cell.data.name}, {cell.arm.name}{size}, seed {cell.seed}{fold}: {said} "
            f"({self._ended} of {self._left}, about {left / 60:.0f} min left)",
            markup=False,
            soft_wrap=True,
        )
        if result.failed:
            print_notes([result.failed])


def _show(found: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """Print the result: JSON on request, else Markdown."""
    for each in found["failed"]:
        print_notes([f"{each['arm']} on {each['data']} has no figures for some seeds: {each['message']}"])
    err.print(f"comparison: {out}", markup=False)
    print(json.dumps(found, ensure_ascii=False) if as_json else comparison_markdown(found))


def _sizes(stated: str | None) -> tuple[int | None, ...]:
    if stated is None:
        return (None,)
    found: list[int | None] = []
    for part in (part.strip() for part in stated.split(",")):
        if part != "all" and not (part.isascii() and part.isdigit()):
            raise RecipeError(f"--sizes has {part!r}; expected numbers of labelled rows, or all, such as 50,100,all")
        found.append(None if part == "all" else int(part))
    return tuple(dict.fromkeys(found))


def _data_sets(
    data: Sequence[str], dev: Sequence[str], test: Sequence[str], data_format: DataFormat, *, folds: int | None
) -> tuple[DataSet, ...]:
    """Put the files of each set together, by name; one set needs none."""
    files: dict[str, dict[str, Any]] = {}
    for stated in data:
        name, path = _named(stated)
        if name in files:
            raise RecipeError(f"--data has two sets of the name {name!r}; give each one of its own: NAME={path}")
        files[name] = _of_folder(Path(path), folds=folds) if Path(path).is_dir() else {"train": path}
    for kind, given in (("dev", dev), ("test", test)):
        for stated in given:
            name, path = _named(stated) if "=" in stated or len(files) > 1 else (next(iter(files)), stated)
            if name not in files:
                raise RecipeError(
                    f"--{kind} {stated} is of the set {name!r}; expected NAME=FILE, NAME one of {', '.join(files)}"
                )
            if kind in files[name]:
                raise RecipeError(f"the set {name!r} has two files for --{kind}: {files[name][kind]} and {path}; give one")
            files[name][kind] = path
    return tuple(DataSet(name=name, **paths, **data_format.for_examples()) for name, paths in files.items())


def _named(stated: str) -> tuple[str, str]:
    """Split ``NAME=FILE``; without a name, that of the file, or of the folder of a ``train`` file."""
    name, equals, path = stated.partition("=")
    if equals and "/" not in name:
        return name, path
    where = Path(stated).resolve()
    return (where.parent.name if where.stem == "train" else where.stem) or "data", stated


def _of_folder(folder: Path, *, folds: int | None) -> dict[str, str]:
    """Find the files of a set in its folder; with folds, the training rows alone."""
    found = {}
    for kind in ("train", "dev", "test") if folds is None else ("train",):
        there = [folder / f"{kind}{ending}" for ending in _ENDINGS if (folder / f"{kind}{ending}").is_file()]
        if len(there) > 1:
            raise RecipeError(f"{folder} has {' and '.join(path.name for path in there)}; pass the files one by one")
        if there:
            found[kind] = str(there[0])
    if "train" not in found:
        raise RecipeError(f"{folder} has no train file ({', '.join(f'train{ending}' for ending in _ENDINGS)}); pass the files")
    return found
