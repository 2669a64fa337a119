"""Cleaned data out of checked data: which rows go, which labels and texts change, and why."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data.checks.report import CheckReport
from paddlenlp_embtune.data.checks.rows import CheckedRows, Place
from paddlenlp_embtune.errors import DataError, RecipeError, expected_names
from paddlenlp_embtune.text import CLEANING_STEPS, apply_cleaning, is_blank
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = [
    "DEFAULT_FIXES",
    "FIXES",
    "Change",
    "CleanedRows",
    "check_ending",
    "check_fixes",
    "clean_rows",
    "write_changes",
    "write_rows",
]

ROW_FIXES: dict[str, str] = {
    "empty": "leave out rows without a text",
    "unlabelled": "leave out rows without a label",
    "leaks": "leave out training rows whose text is in another split, exactly or nearly",
    "conflicts": "give a text with several labels the one that most of its rows have; leave it out where none has most",
    "duplicates": "leave out rows whose text an earlier row has",
    "near-duplicates": "leave out rows that nearly repeat an earlier row with the same label",
    "suspects": "leave out rows whose label is suspected to be wrong",
}
FIXES: dict[str, str] = {**ROW_FIXES, **CLEANING_STEPS}
"""Everything that cleaning can do; the last six change texts and are recorded in the recipe."""
DEFAULT_FIXES = ("empty", "unlabelled", "leaks", "conflicts", "duplicates", "mojibake", "controls", "markup")

_DROP, _LABEL, _TEXT = "drop", "label", "text"


@dataclasses.dataclass(frozen=True)
class Change:
    """One change, and why it was made.

    Args:
        file, row: where the row is in the data that were checked.
        action: ``drop``, ``label`` or ``text``.
        reason: what it was made for.
        before: text or label before it; the text of a row that is left out.
        after: text or label after it; empty for a row that is left out.
    """

    file: str
    row: int
    action: str
    reason: str
    before: str
    after: str = ""


@dataclasses.dataclass(frozen=True)
class CleanedRows:
    """The rows of the first file after cleaning.

    Args:
        columns: of the file.
        records: the rows that are left, with all columns.
        changes: all that was changed, by row.
        steps: the cleaning steps that changed a text, in order; a recipe must state them as ``text.cleaning``.
    """

    columns: tuple[str, ...]
    records: tuple[Mapping[str, Any], ...]
    changes: tuple[Change, ...]
    steps: tuple[str, ...]


def check_fixes(fixes: Sequence[str]) -> tuple[str, ...]:
    """Return the fixes, each once.

    Raises:
        RecipeError: there is no such fix.
    """
    for name in fixes:
        if name not in FIXES:
            raise RecipeError(f"--fix is {name!r}; {expected_names(name, FIXES)}")
    return tuple(dict.fromkeys(fixes))


def clean_rows(
    rows: CheckedRows,
    report: CheckReport,
    *,
    fixes: Sequence[str] = DEFAULT_FIXES,
    reviewed: Mapping[Place, str] | None = None,
) -> CleanedRows:
    """Clean the rows of the first file.

    Args:
        rows: that were checked.
        report: on them.
        fixes: names in :data:`FIXES`.
        reviewed: labels that people gave to suspects; they come first, and these rows are no suspects any more.
    Raises:
        RecipeError: there is no such fix.
        DataError: no row would be left.
    """
    chosen = check_fixes(fixes)
    work = _Cleaning(rows, report)
    work.review(reviewed or {})
    for name in ROW_FIXES:
        if name in chosen and name not in ("empty", "unlabelled"):
            work.fix(name)
    work.clean_texts([name for name in chosen if name in CLEANING_STEPS])
    kept = [name for name in ("empty", "unlabelled") if name not in chosen and getattr(rows.files[0], name)]
    if kept:
        numbers = getattr(rows.files[0], kept[0])
        raise RecipeError(
            f"{rows.files[0].path} has rows that are {kept[0]}, row {numbers[0]} first, which cannot be kept; "
            f"add {kept[0]} to --fix"
        )
    return work.finish(report.columns["text"], report.columns["label"])


class _Cleaning:
    """The rows of the first file while they are cleaned."""

    def __init__(self, rows: CheckedRows, report: CheckReport) -> None:
        self._rows, self._report = rows, report
        self._path = rows.files[0].path
        count = rows.files[0].rows
        self._left = dict.fromkeys(range(count))
        self._texts, self._labels = list(rows.texts[:count]), list(rows.labels[:count])
        self._index = {rows.place(index): index for index in range(count)}
        self._reviewed: set[int] = set()
        self._steps: list[str] = []
        self.changes: list[Change] = []
        for numbers, why in ((rows.files[0].empty, "the text is empty"), (rows.files[0].unlabelled, "there is no label")):
            self.changes += [Change(self._path, number, _DROP, why, "") for number in numbers]

    def fix(self, name: str) -> None:
        """Carry out one fix of rows."""
        getattr(self, f"_{name.replace('-', '_')}")()

    def review(self, reviewed: Mapping[Place, str]) -> None:
        """Give rows the labels of a review."""
        for place, label in reviewed.items():
            if (index := self._index.get(place)) is not None:
                self._reviewed.add(index)
                self._relabel(index, label, "reviewed")

    def clean_texts(self, steps: Sequence[str]) -> None:
        """Apply those cleaning steps that change a text."""
        found = {oddity.kind for oddity in self._report.oddities if oddity.file == self._path}
        self._steps = [step for step in steps if step in found or step == "width"]
        for index in list(self._left) if self._steps else ():
            before = self._texts[index]
            after = apply_cleaning(before, self._steps).strip()
            if is_blank(after):
                self._drop(index, "nothing is left of the text after cleaning")
            elif after != before.strip():
                self._texts[index] = after
                self._change(index, _TEXT, ", ".join(self._steps), before, after)

    def finish(self, text_column: str, label_column: str) -> CleanedRows:
        """Return what is left.

        Raises:
            DataError: nothing is.
        """
        if not self._left:
            raise DataError(f"cleaning would leave no row of {self._path}; choose fewer fixes with --fix")
        records = tuple(
            {**self._rows.records[index], text_column: self._texts[index], label_column: self._labels[index]}
            for index in self._left
        )
        order = {_DROP: 0, _LABEL: 1, _TEXT: 2}
        changes = sorted(self.changes, key=lambda change: (change.row, order[change.action]))
        return CleanedRows(self._rows.files[0].columns, records, tuple(changes), tuple(self._steps))

    def _leaks(self) -> None:
        keys = self._rows.keys
        ordered = sorted(self._report.leaks, key=lambda leak: leak.similarity)
        leaking = {keys[self._index[leak.of]]: leak for leak in ordered if leak.of in self._index}
        for index in list(self._left):
            if (leak := leaking.get(keys[index])) is not None:
                nearly = "" if leak.kind == "exact" else "nearly "
                self._drop(index, f"the text is {nearly}that of row {leak.row.row} of {leak.row.file}")

    def _conflicts(self) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for index in self._left:
            groups[self._rows.keys[index]].append(index)
        for group in groups.values():
            counts = Counter(self._labels[index] for index in group).most_common()
            if len(counts) == 1:
                continue
            told = ", ".join(f"{label} {count}" for label, count in counts)
            for index in group:
                if counts[0][1] == counts[1][1]:
                    self._drop(index, f"rows with this text have different labels: {told}")
                elif self._labels[index] != counts[0][0]:
                    self._relabel(index, counts[0][0], f"most rows with this text have this label: {told}")

    def _duplicates(self) -> None:
        first: dict[str, int] = {}
        for index in list(self._left):
            earlier = first.setdefault(self._rows.keys[index], index)
            if earlier != index:
                self._drop(index, f"repeats row {self._rows.numbers[earlier]}")

    def _near_duplicates(self) -> None:
        for pair in self._report.near_duplicates:
            one, other = (self._index.get(place, -1) for place in pair.rows)
            if one in self._left and other in self._left and self._labels[one] == self._labels[other]:
                self._drop(other, f"nearly repeats row {self._rows.numbers[one]} (similarity {pair.similarity:.2f})")

    def _suspects(self) -> None:
        for suspect in self._report.suspects:
            index = self._index.get(suspect.place, -1)
            if index in self._left and index not in self._reviewed:
                self._drop(index, f"suspected label: {suspect.label}, proposed {suspect.proposal} ({suspect.confidence:.2f})")

    def _drop(self, index: int, reason: str) -> None:
        del self._left[index]
        self._change(index, _DROP, reason, self._rows.texts[index], "")

    def _relabel(self, index: int, label: str, reason: str) -> None:
        if label != self._labels[index]:
            self._change(index, _LABEL, reason, self._labels[index], label)
            self._labels[index] = label

    def _change(self, index: int, action: str, reason: str, before: str, after: str) -> None:
        self.changes.append(Change(self._path, self._rows.numbers[index], action, reason, before, after))


def check_ending(path: Path) -> str:
    """Return the ending of a file for cleaned rows.

    Raises:
        RecipeError: it is none of ``.tsv``, ``.csv`` and ``.jsonl``.
    """
    ending = path.suffix.lower()
    if ending not in (".tsv", ".csv", ".jsonl"):
        raise RecipeError(f"{path} ends in {path.suffix!r}; expected .tsv, .csv or .jsonl")
    return ending


def write_rows(path: Path, cleaned: CleanedRows) -> str:
    """Write cleaned rows as TSV, CSV or JSON lines, by the ending of the file.

    Returns:
        The quoting that the file must be read with: ``csv`` or ``none``, or ``auto`` for JSON lines.
    Raises:
        RecipeError: another ending.
    """
    ending = check_ending(path)
    if ending == ".jsonl":
        write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in cleaned.records))
        return "auto"
    table = [cleaned.columns, *([_cell(record.get(column)) for column in cleaned.columns] for record in cleaned.records)]
    if ending == ".tsv" and not any(mark in cell for row in table for cell in row for mark in "\t\n\r"):
        write_text(path, "".join("\t".join(row) + "\n" for row in table))
        return "none"
    write_text(path, _delimited(table, "\t" if ending == ".tsv" else ","))
    return "csv"


def write_changes(path: Path, changes: Sequence[Change]) -> None:
    """Write changes as TSV, quoted as CSV, with the fields of :class:`Change` as columns."""
    names = [field.name for field in dataclasses.fields(Change)]
    write_text(path, _delimited([names, *([str(getattr(change, name)) for name in names] for change in changes)], "\t"))


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _delimited(table: Sequence[Sequence[str]], delimiter: str) -> str:
    content = io.StringIO()
    csv.writer(content, delimiter=delimiter, lineterminator="\n").writerows(table)
    return content.getvalue()
