"""Which column of a file is the text and which the label: by their names, or by their contents where there is no header."""

from __future__ import annotations

import dataclasses
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from paddlenlp_embtune.errors import DataError, any_of, expected_names, suggestion

__all__ = ["OpenedTable", "describe_roles", "missing_column", "open_table", "resolve_columns"]

_TEXT = (
    "text texts sentence sentences content contents review reviews comment comments query question utterance document doc body "
    "message title headline sms tweet post data input sentence1 text_a "
    "文本 文字 内容 正文 评论 评论内容 文本内容 新闻 新闻内容 句子 语句 文章 评价 评价内容 标题 问题 问句 语料 "
    "微博 微博内容 微博正文 摘要 原文 描述 公告"
)
_LABEL = (
    "label labels class classes category categories cat cats tag target sentiment intent polarity emotion topic choice output "
    "y gold 标签 类别 分类 情感 情感倾向 情感极性 情绪 极性 类型 意图 标注 标注结果 分类标签 情感标签 "
    "类标 主题 结果 罪名 倾向"
)
_KNOWN = {"text": frozenset(_TEXT.split()), "label": frozenset(_LABEL.split())}
_SAMPLE = 500
_LONGEST_LABEL = 32

Row = tuple[str, Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class OpenedTable:
    """A table whose columns are known.

    Args:
        names: of its columns, ``1``, ``2`` and so on where it has no header.
        roles: the column of each one that was asked for.
        rows: what follows the header: place, and cells.
        notes: what was taken for what.
    """

    names: list[str]
    roles: dict[str, str]
    rows: Iterator[Row]
    notes: list[str]


def resolve_columns(names: Iterable[str], columns: Sequence[str], *, where: str) -> dict[str, str] | None:
    """Find the column of a file for each one that is asked for; None where one of them is not there.

    A file that has no column ``text`` or ``label`` may call it otherwise, such as 内容 and 类别, review and class.

    Raises:
        DataError: several columns may be meant.
    """
    names, found = list(names), dict[str, str]()
    for column in columns:
        if column in names:
            found[column] = column
            continue
        known = _KNOWN.get(column, frozenset())
        meant = [name for name in names if _folded(name) in known and name not in columns]
        exact = [name for name in meant if _folded(name) == column]
        if len(exact or meant) > 1:
            raise DataError(
                f"{where} has no column {column!r}, and {len(meant)} that may be meant: {', '.join(map(repr, meant))}; choose "
                f"one with --{column}-column"
            )
        if not meant:
            return None
        (found[column],) = exact or meant
    return found if len(set(found.values())) == len(found) else None


def describe_roles(roles: Mapping[str, str], where: str) -> list[str]:
    """Say what was taken for what, where a column has another name than the one that was asked for."""
    others = [f"{name!r} was taken for the {column}" for column, name in roles.items() if name != column]
    return [f"{where}: column {' and '.join(others)}"] if others else []


def open_table(rows: Iterator[Row], columns: Sequence[str], *, header: bool | None, where: str) -> OpenedTable | None:
    """Read the header of a table, or find out that it has none; None for a table without rows.

    A table has no header if the first row's label occurs in rows below it as well.

    Args:
        rows: place and cells of each, the header among them.
        columns: that are asked for.
        header: whether there is one; None finds out.
        where: the table, for messages.
    Raises:
        DataError: there is no such column, several may be meant, or two columns have one name.
    """
    first = next(rows, None)
    if first is None:
        return None
    place, cells = first
    names = [_name(cell) for cell in cells]
    if header is not False:
        roles = resolve_columns(names, columns, where=f"{place} of {where}")
        if roles is not None:
            for name in names:
                if name and names.count(name) > 1:
                    raise DataError(f"{where} has {names.count(name)} columns called {name!r}; rename one of them")
            return OpenedTable(names, roles, rows, describe_roles(roles, where))
    if header is not True:
        sample = [first, *itertools.islice(rows, _SAMPLE)]
        found = _without_header(sample, columns, stated=header is False, where=where)
        if found is not None:
            notes = [_taken(found, where)] if header is None else describe_roles(found, where)
            return OpenedTable([str(at + 1) for at in range(len(cells))], found, itertools.chain(sample, rows), notes)
    alone = {column: resolve_columns(names, [column], where=where) for column in columns}
    lacking = next((column for column, found in alone.items() if found is None), columns[0])
    raise missing_column(names, lacking, f"{place} of {where}", columns, table=True)


def missing_column(
    header: Iterable[str], column: str, where: str, columns: Sequence[str] = (), *, table: bool = False
) -> DataError:
    """Return the error about a header or a record that lacks a column; it names those there are, the nearest first."""
    names = list(header)
    folded = {name.strip("\ufeff\"' \t").casefold(): name for name in reversed(names)}
    if (same := folded.get(column.strip().casefold())) is not None and same != column:
        found = suggestion(same) + any_of(sorted(names))
    else:
        found = expected_names(column, names)
        if table and not any(each.strip().casefold() in folded for each in columns):
            numbers = " ".join(
                f"--{each}-column {at}" for at, each in enumerate(("text", "label", "weight")[: len(columns)], 1)
            )
            found += f"; where the file has no header, say which of its columns is which: --no-header {numbers}"
    options = "--text-column and --label-column" if len(columns) < 3 else "--text-column, --label-column and --weight-column"
    return DataError(f"{where} has no column {column!r}; {found}; choose with {options}")


def _without_header(sample: Sequence[Row], columns: Sequence[str], *, stated: bool, where: str) -> dict[str, str] | None:
    """Return the roles of numbered columns; None where they are not plain, or the first row may be a header."""
    table = [[str(cell or "") for cell in cells] for _, cells in sample if any(cells)]
    width = len(table[0])
    if stated:
        numbers = [str(at + 1) for at in range(width)]
        given = resolve_columns(numbers, columns, where=where)
        if given is not None:
            return given
        if len(columns) == 1 and width == 1 and columns[0] in _KNOWN:
            return {columns[0]: "1"}
    if not set(columns) <= set(_KNOWN) or any(len(cells) != width for cells in table):
        return None
    text, labels = _by_content(table)
    if len(labels) > 1 and stated:
        raise DataError(
            f"{where} has {width} columns and no header, and the columns {any_of([str(at + 1) for at in labels])} may be the "
            f"label; choose: --no-header --text-column {text + 1} --label-column {labels[0] + 1}"
        )
    if len(labels) != 1:
        return None
    (label,) = labels
    if not stated and table[0][label] not in {cells[label] for cells in table[1:]}:
        return None
    return {column: str({"text": text, "label": label}[column] + 1) for column in columns}


def _by_content(table: Sequence[Sequence[str]]) -> tuple[int, list[int]]:
    """Return the column with the longest cells, and those of few, short, repeated ones."""
    columns = list(zip(*table, strict=True))
    lengths = [sum(map(len, cells)) / len(cells) for cells in columns]
    text = max(range(len(columns)), key=lambda at: lengths[at])
    most = max(2, len(table) // 3)
    labels = [
        at
        for at, cells in enumerate(columns)
        if at != text and all(cells) and 2 <= len(set(cells)) <= most and lengths[at] <= _LONGEST_LABEL
    ]
    return text, labels if 2 * len(set(columns[text])) > len(table) else []


def _taken(roles: Mapping[str, str], where: str) -> str:
    told = ", ".join(f"column {number} was taken for the {column}" for column, number in roles.items())
    settled = " ".join(f"--{column}-column {number}" for column, number in roles.items())
    return f"{where} has no header; {told}; to settle it: --no-header {settled}"


def _name(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip("\ufeff\"' \t").casefold()
