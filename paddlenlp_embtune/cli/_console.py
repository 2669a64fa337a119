"""What commands print: notes, tables, the outcome of parity checks, and progress bars."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from paddlenlp_embtune.cli._terminal import err, visible

__all__ = ["err", "per_class_table", "print_notes", "progress_bar"]


_ONE = {"f1_macro": "macro F1", "accuracy": "accuracy"}
_SEVERAL = {
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "f1_samples": "samples F1",
    "accuracy": "subset accuracy",
    "ranking": "ranking precision",
}
_ORDERED = {"quadratic_kappa": "quadratic kappa", "mean_absolute_error": "mean absolute error"}


def per_class_table(metrics: Mapping[str, Any]) -> Table:
    """Build a table with precision, recall, F1 and support of every label, and the figures of the run's baseline."""
    table = Table("label", "precision", "recall", "F1", "rows", title_justify="left")
    for label, row in metrics["per_class"].items():
        figures = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(label, *figures, str(row["support"]))
    table.add_section()
    names = _SEVERAL if "f1_micro" in metrics else _ONE
    shown = {key: name for key, name in {**names, **_ORDERED}.items() if key in metrics}
    for at, (key, name) in enumerate(shown.items()):
        table.add_row(name, "", "", f"{metrics[key]:.4f}", "" if at else str(metrics["n"]))
    if (name_of := (baseline := metrics.get("baseline") or {}).get("name")) is not None:
        table.add_section()
        for key, name in names.items():
            if key in baseline:
                table.add_row(f"baseline {name_of}: {name}", "", "", f"{baseline[key]:.4f}", "")
    return table


def print_notes(notes: Iterable[str]) -> None:
    """Print notes to stderr, one per line."""
    for note in notes:
        err.print(f"[yellow]note:[/] {escape(note)}", markup=True, soft_wrap=True)


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a callback that shows progress on a terminal, from its first call until all is done; None without a terminal."""
    if not err.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=err, transient=True)
    task = bar.add_task(visible(label), total=None)

    def show(done: int, total: int) -> None:
        if done < total:
            bar.start()
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()

    try:
        yield show
    finally:
        bar.stop()
