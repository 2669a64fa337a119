"""Sheets of Excel workbooks (.xlsx), by openpyxl."""

from __future__ import annotations

import importlib
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data.formats.columns import Row, resolve_columns
from paddlenlp_embtune.errors import DataError, MissingDependencyError, expected_names

__all__ = ["sheet_rows"]

_MOST_BYTES = 1 << 31
_OLD_MAGIC = b"\xd0\xcf\x11\xe0"


def sheet_rows(path: Path, columns: tuple[str, ...], *, sheet: str | None) -> Iterator[Row]:
    """Yield place and cells of the rows of a sheet that are not empty: text, numbers, dates; None for an empty cell.

    Args:
        path: of the workbook.
        columns: that are asked for, to find the sheet.
        sheet: its name; None takes the only one with cells, or the only one with the columns.
    Raises:
        DataError: it is no such workbook, or locked by a password; there is no such sheet, or several may be meant; a cell
            below the header is merged, or holds a formula whose value was never computed.
        MissingDependencyError: openpyxl is not installed.
    """
    try:
        openpyxl: Any = importlib.import_module("openpyxl")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f'{path} is a workbook, which needs openpyxl; install it with: pip install "paddlenlp-embtune[files]", or save the '
            "sheet as CSV"
        ) from None
    _require_workbook(path)
    book = _opened(openpyxl, path, data_only=True)
    found = _chosen(path, {page.title: page for page in book.worksheets if page.sheet_state == "visible"}, columns, sheet)
    merged = [area for area in found.merged_cells.ranges if area.max_row > 1]
    if merged:
        raise DataError(
            f"sheet {found.title!r} of {path} has merged cells below its header, {merged[0].coord} first; unmerge them, so "
            "that every row has a value of its own"
        )
    formulas: Any = None
    for cells in found.iter_rows():
        values = [_value(cell.value) for cell in cells]
        for cell in (cell for cell, value in zip(cells, values, strict=True) if value is None):
            formulas = formulas or _opened(openpyxl, path, data_only=False)[found.title]
            if formulas[cell.coordinate].data_type == "f":
                raise DataError(
                    f"cell {cell.coordinate} of sheet {found.title!r} of {path} holds a formula without a computed value; open "
                    "the workbook in Excel and save it, or paste the column as values"
                )
        if any(value is not None for value in values):
            yield f"row {cells[0].row} of sheet {found.title!r}", values


def _opened(openpyxl: Any, path: Path, *, data_only: bool) -> Any:
    """Load a workbook, with the computed values of its formulas or with the formulas."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return openpyxl.load_workbook(path, data_only=data_only)
    except Exception as fault:
        raise DataError(f"cannot read the workbook {path}: {fault}; open it in Excel and save it again, or as CSV") from None


def _require_workbook(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head == _OLD_MAGIC:
            raise DataError(f"{path} is locked by a password, or an old workbook (.xls); save it as .xlsx without a password")
        with zipfile.ZipFile(path) as archive:
            size = sum(each.file_size for each in archive.infolist())
    except zipfile.BadZipFile:
        raise DataError(f"{path} is no Excel workbook, whatever its ending says; expected .xlsx; save it again") from None
    if size > _MOST_BYTES:
        raise DataError(f"{path} unpacks to {size:,} bytes, above the limit of {_MOST_BYTES:,}; save its sheet as CSV")


def _chosen(path: Path, pages: dict[str, Any], columns: tuple[str, ...], sheet: str | None) -> Any:
    if sheet is not None:
        if sheet not in pages:
            raise DataError(f"{path} has no sheet {sheet!r}; {expected_names(sheet, pages)}; choose with --sheet")
        return pages[sheet]
    filled = {title: page for title, page in pages.items() if any(_header(page))}
    if not filled:
        raise DataError(f"{path} has no sheet with anything on it; expected a header and labelled texts")
    if len(filled) > 1:
        fitting = {title: page for title, page in filled.items() if _has_columns(page, columns, path)}
        if len(fitting) != 1:
            raise DataError(f"{path} has {len(filled)} sheets that may be meant: {', '.join(filled)}; choose one with --sheet")
        filled = fitting
    return next(iter(filled.values()))


def _header(page: Any) -> list[Any]:
    """The first row with anything on it."""
    return next((list(row) for row in page.iter_rows(values_only=True) if any(row)), [])


def _has_columns(page: Any, columns: tuple[str, ...], path: Path) -> bool:
    names = [str(cell) for cell in _header(page) if cell is not None]
    return resolve_columns(names, columns, where=f"sheet {page.title!r} of {path}") is not None


def _value(value: Any) -> Any:
    """Excel keeps whole numbers as they are, but some writers store them as 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
