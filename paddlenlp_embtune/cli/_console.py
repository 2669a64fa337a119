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


def per_class_table(metrics: Mapping[str, Any]) -> Table:
    """Build a table with precision, recall, F1 and support of every label, and the figures of the run's baseline."""
    table = Table("label", "precision", "recall", "F1", "rows", title_justify="left")
    for label, row in metrics["per_class"].items():
        figures = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(label, *figures, str(row["support"]))
    table.add_section()
    table.add_row("macro F1", "", "", f"{metrics['f1_macro']:.4f}", str(metrics["n"]))
    table.add_row("accuracy", "", "", f"{metrics['accuracy']:.4f}", "")
    if (name := (baseline := metrics.get("baseline") or {}).get("name")) is not None:
        table.add_section()
        table.add_row(f"baseline {name}: macro F1", "", "", f"{baseline['f1_macro']:.4f}", "")
        table.add_row(f"baseline {name}: accuracy", "", "", f"{baseline['accuracy']:.4f}", "")
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
