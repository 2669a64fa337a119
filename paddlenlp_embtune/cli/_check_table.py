"""The result of ``embtune check`` as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from paddlenlp_embtune.data.checks import CheckReport, Place

__all__ = ["print_check"]

_COLOURS = {"alarm": "bold red", "check": "yellow", "note": "dim"}
_LONGEST = 60
_MOST_LABELS = 30


def print_check(report: CheckReport, console: Console, *, shown: int) -> None:
    """Print findings, labels, and the first rows of each kind of finding."""
    files = Table("file", "split", "rows", "best possible accuracy")
    for file in report.files:
        files.add_row(file.path, file.split, f"{file.rows:,}", f"{report.ceilings[file.split]:.2%}")
    console.print(files)
    labels = Table("label", "rows", "share")
    for label, count in sorted(report.labels.items(), key=lambda each: -each[1])[:_MOST_LABELS]:
        labels.add_row(label, f"{count:,}", f"{count / report.rows:.1%}")
    console.print(labels)
    for finding in report.findings:
        console.print(finding.severity.ljust(6), style=_COLOURS[finding.severity], end="")
        console.print(finding.message, soft_wrap=True)
    if not report.findings:
        console.print("The checks found nothing to fix.")
    for table, left in _details(report, shown):
        console.print(table)
        if left > 0:
            console.print(f"{left:,} more; --json and --html list them", style="dim")


def _details(report: CheckReport, shown: int) -> Iterator[tuple[Table, int]]:
    """Yield a table for each kind of finding that has rows, and how many rows it leaves out."""
    kinds: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
        (
            "leaks",
            ("row", "of", "similarity", "text"),
            [(_place(each.row), _place(each.of), f"{each.similarity:.2f}", each.text) for each in report.leaks],
        ),
        (
            "conflicting labels",
            ("labels", "rows", "text"),
            [
                (", ".join(f"{label} {count}" for label, count in each.labels.items()), _places(each.rows), each.text)
                for each in report.conflicts
            ],
        ),
        ("duplicates", ("rows", "text"), [(_places(each.rows), each.text) for each in report.duplicates]),
        (
            "near-duplicates",
            ("rows", "similarity", "text"),
            [(_places(each.rows), f"{each.similarity:.2f}", each.texts[0]) for each in report.near_duplicates],
        ),
        (
            "suspected label errors",
            ("row", "label", "proposal", "confidence", "text"),
            [(_place(each.place), each.label, each.proposal, f"{each.confidence:.2f}", each.text) for each in report.suspects],
        ),
        (
            "damage and markup",
            ("row", "kind", "found"),
            [(_place(each.place), each.kind, each.found) for each in report.oddities if each.kind in ("mojibake", "markup")],
        ),
    ]
    for title, head, rows in kinds:
        if rows and shown:
            table = Table(*head, title=title, title_justify="left")
            for row in rows[:shown]:
                table.add_row(*row[:-1], _short(row[-1]))
            yield table, len(rows) - shown


def _place(place: Place) -> str:
    return f"{Path(place.file).name} {place.row}"


def _places(places: Sequence[Place]) -> str:
    return ", ".join(map(_place, places[:3])) + (" ..." if len(places) > 3 else "")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST]}..."
