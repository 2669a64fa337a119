"""Suspects for a review by people: out to Label Studio or doccano, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from paddlenlp_embtune.data.checks.rows import CheckedRows, Place
from paddlenlp_embtune.data.checks.suspects import Suspect
from paddlenlp_embtune.data.formats.annotations import CONTROL, TEXT, prediction
from paddlenlp_embtune.errors import DataError, RecipeError, expected_names
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import parse_json, shorten
from paddlenlp_embtune.utils.text_files.line_reader import read_lines

__all__ = ["REVIEW_FORMATS", "read_review", "write_suspects"]

REVIEW_FORMATS = ("label-studio", "doccano")


def write_suspects(path: Path, suspects: Sequence[Suspect], labels: Sequence[str], *, format: str) -> list[Path]:  # noqa: A002
    """Write suspects as tasks of an annotation tool.

    Label Studio gets JSON with the proposal as a prediction, and beside it an ``.xml`` file with the labelling interface;
    doccano gets JSON lines, in which the proposal is the label.

    Args:
        path: of the file.
        suspects: in the order in which they are to be read.
        labels: that can be chosen.
        format: ``label-studio`` or ``doccano``.
    Returns:
        The files that were written.
    Raises:
        RecipeError: there is no such format.
    """
    if format not in REVIEW_FORMATS:
        raise RecipeError(f"--format is {format!r}; {expected_names(format, REVIEW_FORMATS)}")
    if format == "doccano":
        lines: list[dict[str, Any]] = [{"text": each.text, "label": [each.proposal], **_context(each)} for each in suspects]
        write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        return [path]
    tasks: list[dict[str, Any]] = [
        {
            "data": {"text": each.text, **_context(each)},
            "predictions": [prediction([each.proposal], each.confidence, model="embtune check")],
        }
        for each in suspects
    ]
    write_text(path, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    interface = path.with_suffix(".xml")
    write_text(interface, _interface(labels))
    return [path, interface]


def read_review(path: Path, rows: CheckedRows) -> dict[Place, str]:
    """Read the labels that people gave to suspects, as Label Studio (JSON or JSON-MIN) or doccano (JSON lines) exports them.

    Tasks that nobody has labelled are left out; of several annotations of a task, the last counts.

    Raises:
        DataError: the file is no such export, a row has another text by now, or a label is unknown.
    """
    places = {rows.place(index): index for index in range(len(rows))}
    known = sorted(set(rows.labels))
    found: dict[Place, str] = {}
    for where, task in _tasks(path):
        context, chosen = _answer(task)
        place = _place(context, where)
        if place not in places:
            raise DataError(
                f"{where} is about row {place.row} of {place.file}, which was not checked; give the files of that check"
            )
        text = context.get("text", task.get("text"))
        if text != rows.texts[places[place]]:
            raise DataError(
                f"{where} has the text {shorten(text)}, row {place.row} of {place.file} has "
                f"{shorten(rows.texts[places[place]])}; expected the data that the suspects came from"
            )
        if not chosen:
            continue
        if len(chosen) > 1 or not isinstance(chosen[0], str):
            raise DataError(f"{where} has the labels {shorten(chosen)}; expected one")
        if chosen[0] not in known:
            raise DataError(f"{where} has the label {chosen[0]!r}; {expected_names(chosen[0], known)}")
        found[place] = chosen[0]
    return found


def _context(suspect: Suspect) -> dict[str, Any]:
    return {
        "file": suspect.file,
        "row": suspect.row,
        "given_label": suspect.label,
        "proposal": suspect.proposal,
        "confidence": suspect.confidence,
    }


def _interface(labels: Sequence[str]) -> str:
    choices = "\n".join(f"    <Choice value={quoteattr(label)}/>" for label in labels)
    return (
        '<View>\n  <Text name="text" value="$text"/>\n  <Header value="given: $given_label, proposed: $proposal"/>\n'
        f'  <Choices name="{CONTROL}" toName="{TEXT}" choice="single" showInLine="true">\n{choices}\n  </Choices>\n</View>\n'
    )


def _tasks(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and content of each task of an export: a list in JSON, or one object in each line."""
    try:
        lines = list(read_lines(path, error=DataError))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"there is no file {path}; expected an export of Label Studio or doccano") from None
    content = "\n".join(lines)
    if content.lstrip().startswith("["):
        parsed = parse_json(content, str(path), error=DataError)
        numbered = ((f"task {number} of {path}", task) for number, task in enumerate(parsed, start=1))
    else:
        numbered = (
            (f"line {number} of {path}", parse_json(line, f"line {number} of {path}", error=DataError))
            for number, line in enumerate(lines, start=1)
            if line.strip()
        )
    for where, task in numbered:
        if not isinstance(task, dict):
            raise DataError(f"{where} is {shorten(task)}; expected an object, as Label Studio and doccano export")
        yield where, task


def _answer(task: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Any]]:
    """Return what a task is about, and the labels that were chosen."""
    if isinstance(task.get("data"), dict):  # Label Studio, JSON
        done = [each for each in task.get("annotations") or () if isinstance(each, dict) and not each.get("was_cancelled")]
        results = (done[-1].get("result") or ()) if done else ()
        return task["data"], [
            choice
            for result in results
            if isinstance(result, dict) and isinstance(result.get("value"), dict)
            for choice in result["value"].get("choices") or ()
        ]
    meta = task.get("meta") or task.get("metadata")
    context = {**task, **(meta if isinstance(meta, dict) else {})}
    chosen = task.get("label", task.get("labels", task.get("choice")))
    if isinstance(chosen, dict):  # Label Studio, JSON-MIN with several choices
        chosen = chosen.get("choices")
    return context, chosen if isinstance(chosen, list) else [chosen] if chosen else []


def _place(context: Mapping[str, Any], where: str) -> Place:
    file, row = context.get("file"), context.get("row")
    if isinstance(row, str) and row.isdigit():
        row = int(row)
    if not isinstance(file, str) or not isinstance(row, int) or isinstance(row, bool):
        raise DataError(f"{where} does not tell its file and row; expected the keys 'file' and 'row' of --export-suspects")
    return Place(file, row)
