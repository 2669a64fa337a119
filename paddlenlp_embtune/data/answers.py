"""Rows with their answers, written in the formats that people and annotation tools read."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from paddlenlp_embtune.data._records import Records, text_of
from paddlenlp_embtune.data.formats.annotations import TEXT, prediction
from paddlenlp_embtune.errors import DataError, MissingDependencyError, RecipeError, expected_names
from paddlenlp_embtune.inference import given_labels
from paddlenlp_embtune.utils.files.atomic_io import replace_file
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["ANSWER_FORMATS", "LABEL_COLUMN", "answer_columns", "stream_rows", "write_answers"]

ANSWER_FORMATS = ("jsonl", "csv", "tsv", "xlsx", "parquet", "doccano", "label-studio")
"""How answers can be written; the ending of a file tells the first five."""

LABEL_COLUMN, SCORE = "predicted_label", "predicted_score"
_BATCH_ROWS = 4096

Row = tuple[Mapping[str, Any], Mapping[str, Any]]


def stream_rows(
    path: Path, *, text_column: str, options: ReadOptions | None = None, notes: list[str] | None = None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each row's text and the whole row, in order, blank ones too; a ``.txt`` file has one text a line.

    Args:
        path: of the file.
        text_column: column or key of the text.
        options: as for :func:`paddlenlp_embtune.data.read_examples`.
        notes: gets, at the end of the file, what a user may want to know about how it was read.
    Raises:
        DataError: as :func:`paddlenlp_embtune.data.stream_texts`.
        RecipeError: there is no such encoding, quoting or delimiter.
    """
    records = Records(path, (text_column,), options=options)
    if path.suffix.lower() == ".txt":
        for line in itertools.islice(records.lines(), None if options is None else options.limit):
            yield line, {text_column: line}
    else:
        for place, record in records:
            name = records.roles[text_column]
            yield "" if record[name] is None else text_of(record[name], f"{name!r} in {place} of {path}"), record
    if notes is not None:
        notes += records.notes


def write_answers(path: Path, rows: Iterable[Row], *, format: str | None = None, model: str = "embtune") -> int:  # noqa: A002
    """Write rows with their answers, all columns kept, in order; the file appears whole or not at all.

    Tables and JSON lines get the columns ``predicted_label``, empty where the model abstains or the text is blank,
    ``predicted_score``, and ``predicted_LABEL`` for each label of an answer with scores. Where a text may have several labels,
    they are ``predicted_labels`` and ``predicted_scores``, lists, which a cell of a text table holds as JSON. doccano gets JSON
    lines with the prediction as the label, Label Studio a list of tasks with a prediction.

    Args:
        path: of the file.
        rows: each row and its answer, as :meth:`paddlenlp_embtune.Predictor.predict` returns it.
        format: one of ``ANSWER_FORMATS``; None takes that of the ending.
        model: its name, for Label Studio.
    Returns:
        The number of rows.
    Raises:
        RecipeError: there is no such format.
        DataError: a row has a column of the name of an answer, or its values do not fit the format.
        MissingDependencyError: a package that writes the format is not installed.
    """
    kind = format or path.suffix.lower().removeprefix(".")
    if kind not in ANSWER_FORMATS:
        what = f"--format is {format!r}" if format is not None else f"{path} ends in {path.suffix!r}"
        raise RecipeError(f"{what}; {expected_names(kind, ANSWER_FORMATS)}")
    count = itertools.count()
    with replace_file(path) as file:
        counted = (row for row in rows if next(count) >= 0)
        if kind == "doccano":
            _write_lines(
                file, ({**row, "text": answer["text"], "label": list(given_labels(answer))} for row, answer in counted)
            )
        elif kind == "label-studio":
            _write_tasks(file, (_task(row, answer, model) for row, answer in counted))
        else:
            _WRITERS[kind](file, (_joined(row, answer) for row, answer in counted))
    return next(count)


def answer_columns(answers: Sequence[Mapping[str, Any]], *, taken: Collection[str]) -> dict[str, list[Any]]:
    """Return the columns that :func:`write_answers` adds to a table.

    Args:
        answers: of one predictor.
        taken: the columns that the rows have.
    Raises:
        DataError: the rows have a column of the name of an answer.
    """
    found = [_cells(answer) for answer in answers]
    return {name: [cells[name] for cells in found] for name in _free(found[0] if found else (), taken)}


def _joined(row: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    found = _cells(answer)
    _free(found, row)
    return {**row, **found}


def _cells(answer: Mapping[str, Any]) -> dict[str, Any]:
    chosen = given_labels(answer)
    found: dict[str, Any]
    if "labels" in answer:
        found = {f"{LABEL_COLUMN}s": list(chosen), f"{SCORE}s": list(chosen.values())}
    else:
        found = {LABEL_COLUMN: next(iter(chosen), ""), SCORE: answer["score"]}
    return found | {f"predicted_{label}": score for label, score in answer.get("scores", {}).items()}


def _free(names: Iterable[str], taken: Collection[str]) -> Iterable[str]:
    """Return names that no column of the rows has."""
    for name in names:
        if name in taken:
            raise DataError(f"the rows have a column {name!r} already, which an answer would replace; rename it")
    return names


def _task(row: Mapping[str, Any], answer: Mapping[str, Any], model: str) -> dict[str, Any]:
    chosen = given_labels(answer)
    score = answer["score"] if "score" in answer else min(chosen.values(), default=0.0)
    predicted = prediction(list(chosen), score, model=model)
    return {"data": {**row, TEXT: answer["text"]}, "predictions": [predicted]}


def _write_lines(file: IO[bytes], rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        file.write(_json(row).encode("utf-8") + b"\n")


def _write_tasks(file: IO[bytes], tasks: Iterable[Mapping[str, Any]]) -> None:
    before = b"[\n"
    for task in tasks:
        file.write(before + _json(task).encode("utf-8"))
        before = b",\n"
    file.write(b"\n]\n" if before == b",\n" else b"[]\n")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)  # dates of a workbook


def _write_delimited(file: IO[bytes], rows: Iterable[Mapping[str, Any]], delimiter: str) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    with contextlib.ExitStack() as stack:
        stack.callback(text.detach)
        writer: Any = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(text, list(row), delimiter=delimiter, lineterminator="\n", extrasaction="raise")
                writer.writeheader()
            try:
                writer.writerow({name: _cell(value) for name, value in row.items()})
            except ValueError as fault:
                raise DataError(f"a row has other columns than the first one: {fault}; write .jsonl instead") from None
        text.flush()


def _cell(value: Any) -> Any:
    return _json(value) if isinstance(value, (dict, list)) else "" if value is None else value


def _write_sheet(file: IO[bytes], rows: Iterable[Mapping[str, Any]]) -> None:
    openpyxl = _package("openpyxl", "xlsx")
    cells = importlib.import_module("openpyxl.cell")
    illegal = importlib.import_module("openpyxl.cell.cell").ILLEGAL_CHARACTERS_RE
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("answers")

    def cell(value: Any) -> Any:
        if not isinstance(value, (str, dict, list)):
            return value
        made = cells.WriteOnlyCell(sheet, "")
        made.value = illegal.sub("", str(_cell(value)))
        made.data_type = "s"  # a text that begins with = is no formula
        return made

    names: list[str] | None = None
    for row in rows:
        if names is None:
            names = list(row)
            sheet.append([cell(name) for name in names])
        sheet.append([cell(row.get(name)) for name in names])
    book.save(file)


def _write_parquet(file: IO[bytes], rows: Iterable[Mapping[str, Any]]) -> None:
    arrow = _package("pyarrow", "parquet")
    parquet = importlib.import_module("pyarrow.parquet")
    writer: Any = None
    source = iter(rows)
    try:
        while batch := list(itertools.islice(source, _BATCH_ROWS)):
            if writer is None:
                inferred = arrow.Table.from_pylist(batch).schema
                nothing = arrow.null()
                schema = arrow.schema(
                    [(field.name, arrow.string() if field.type == nothing else field.type) for field in inferred]
                )
                writer = parquet.ParquetWriter(file, schema)
            writer.write_table(arrow.Table.from_pylist(batch, schema=writer.schema))
    except arrow.ArrowException as fault:
        raise DataError(f"the rows do not fit into columns of one kind: {fault}; write .jsonl instead") from None
    finally:
        if writer is not None:
            writer.close()


def _package(name: str, ending: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f'.{ending} files need {name}; install it with: pip install "paddlenlp-embtune[files]"'
        ) from None


_WRITERS: dict[str, Callable[[IO[bytes], Iterable[Mapping[str, Any]]], None]] = {
    "jsonl": _write_lines,
    "csv": lambda file, rows: _write_delimited(file, rows, ","),
    "tsv": lambda file, rows: _write_delimited(file, rows, "\t"),
    "xlsx": _write_sheet,
    "parquet": _write_parquet,
}
