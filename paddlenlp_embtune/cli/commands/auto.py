"""``embtune auto``: the best model for the rows at hand, within a budget of time and the limits of its user."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import DevelopmentRowsOption, JsonOption, OverwriteOption, SeedOption

if TYPE_CHECKING:
    from paddlenlp_embtune.experiments.auto import AutoResult, Entry

__all__ = ["auto"]


@reads_data(labels=True)
def auto(
    data_format: DataFormat,
    data: Annotated[str, typer.Option(help="Training set: .tsv, .csv, .json or .jsonl.")],
    budget: Annotated[str, typer.Option(help="Time for all of it, the last fit included: 90s, 20m, 1h.")],
    dev: DevelopmentRowsOption = None,
    latency_ms: Annotated[
        Optional[float], typer.Option(help="Most milliseconds for one text of median length, with one thread.")
    ] = None,
    size_mb: Annotated[Optional[float], typer.Option(help="Most megabytes of the bundle's files.")] = None,
    memory_mb: Annotated[Optional[float], typer.Option(help="Most megabytes of memory of a process that serves it.")] = None,
    out: Annotated[
        Path,
        typer.Option(help="Folder of the bundle; what is fitted, recipe and report go to OUT.auto."),
    ] = Path("runs/auto"),
    arm: Annotated[
        Optional[list[str]],
        typer.Option(metavar="NAME=RECIPE", help="Further arm, as in embtune compare; repeat for more."),
    ] = None,
    encoder: Annotated[
        Optional[str],
        typer.Option(help="Pretrained encoder, by name or as a folder such as ./ernie; by default a registered one."),
    ] = None,
    metric: Annotated[str, typer.Option(help="Metric that arms are compared by: f1_macro or accuracy.")] = "f1_macro",
    seed: SeedOption = None,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Fits at once, with one thread each; by default one per processor.")
    ] = None,
    explain_choice: Annotated[bool, typer.Option("--explain-choice", help="Say in words how the choice was made.")] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Choose the best model within a budget of time and limits of latency, size and memory, and leave its bundle."""
    started = time.monotonic()
    from paddlenlp_embtune.experiments import DataSet
    from paddlenlp_embtune.experiments.auto import AutoSpec, Limits, choose_model, parse_duration

    spec = AutoSpec(
        budget_seconds=parse_duration(budget, name="--budget"),
        limits=Limits(latency_ms=latency_ms, size_mb=size_mb, memory_mb=memory_mb),
        metric=metric,
        seed=seed or 0,
        jobs=jobs,
        arms=tuple(arm or ()),
        encoder=encoder,
    )
    rows = DataSet(name="rows", train=data, dev=dev, **data_format.for_examples())
    display = _Display(metric)
    try:
        found = choose_model(
            rows,
            out,
            spec=spec,
            overwrite=overwrite,
            began=time.monotonic() - started,
            announce=display.announce,
            listener=display.show,
        )
    except KeyboardInterrupt:
        kept = f"; a bundle of the linear arm is in {out}" if out.is_dir() else ""
        print_notes([f"what was fitted is kept in {out}.auto{kept}; the same command continues there"])
        raise
    for line in _table(found.leaderboard, metric):
        err.print(line, markup=False, soft_wrap=True)
    _show(found, explain=explain_choice)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else found.bundle)


class _Display:
    """Prints what is done, a line for every score that is new, and the leaderboard after each rung."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._shown: dict[str, Entry] = {}

    def announce(self, text: str) -> None:
        err.print(text, markup=False, soft_wrap=True)

    def show(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            before = self._shown.get(entry.arm)
            if entry.score is not None and (before is None or (before.rung, before.score) != (entry.rung, entry.score)):
                err.print(f"  {_line(entry, self._metric)}", markup=False, soft_wrap=True)
            self._shown[entry.arm] = entry


def _line(entry: Entry, metric: str) -> str:
    low, high = entry.interval or (0.0, 0.0)
    cost = "" if entry.cost is None else f", {', '.join(_costs(entry))} of memory"
    return f"{entry.arm}: {metric} {entry.score:.4f} ({low:.4f} to {high:.4f}), {entry.seconds or 0.0:.1f} s a fit{cost}"


def _costs(entry: Entry) -> list[str]:
    cost = entry.cost
    if cost is None:
        return ["", "", ""]
    return [f"{cost.latency_ms:.3g} ms", f"{cost.size_mb:.3g} MB", f"{cost.memory_mb:.0f} MB"]


def _table(entries: Sequence[Entry], metric: str) -> Iterator[str]:
    """Yield the lines of the leaderboard: ``*`` is the chosen arm, ``-`` one that was left out."""
    lines = [("", "arm", metric, "95%", "rung", "fit", "latency", "size", "memory")]
    for entry in entries:
        score = "" if entry.score is None else f"{entry.score:.4f}"
        interval = "" if entry.interval is None else "{:.4f} to {:.4f}".format(*entry.interval)
        seconds = "" if entry.seconds is None else f"{entry.seconds:.1f} s"
        mark = "*" if entry.state == "chosen" else "-" if entry.reason else ""
        latency, size, memory = _costs(entry)
        lines.append((mark, entry.arm, score, interval, str(entry.rung or ""), seconds, latency, size, memory))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _show(found: AutoResult, *, explain: bool) -> None:
    if explain:
        for reason in found.reasons:
            err.print(f"- {reason}", markup=False, soft_wrap=True)
        for entry in found.leaderboard:
            if entry.reason:
                err.print(f"- {entry.arm} was left out: {entry.reason}", markup=False, soft_wrap=True)
    else:
        err.print(found.reasons[-1], markup=False, soft_wrap=True)
    print_notes(found.notes)
    err.print(f"{found.seconds:.0f} s of {found.budget_seconds:.0f} s; recipe: {found.recipe}", markup=False, soft_wrap=True)
    if found.report is not None:
        err.print(f"report: {found.report}", markup=False, soft_wrap=True)
