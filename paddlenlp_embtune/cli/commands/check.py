"""``embtune check``: what is wrong with labelled rows, before anything is trained on them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.cli._check_table import print_check
from paddlenlp_embtune.cli._console import err, print_notes, progress_bar
from paddlenlp_embtune.cli._data_format import states_data_format
from paddlenlp_embtune.cli._options import JsonOption
from paddlenlp_embtune.cli._terminal import out
from paddlenlp_embtune.cli._texts import only_option
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.data.checks import (
    DEFAULT_FIXES,
    FIXES,
    REVIEW_FORMATS,
    CheckedRows,
    CheckReport,
    check_ending,
    check_fixes,
    check_rows,
    clean_rows,
    read_checked_rows,
    read_review,
    write_changes,
    write_rows,
    write_suspects,
)
from paddlenlp_embtune.errors import MissingDependencyError, RecipeError
from paddlenlp_embtune.text import Tokenizer, build_tokenizer, with_cleaning

__all__ = ["check"]

_AS_WRITTEN: dict[str, Any] = dict.fromkeys(("encoding", "delimiter", "header", "sheet", "limit"))
_SPLITS = ("train", "dev", "valid", "val", "test")


@states_data_format
def check(
    data_format: dict[str, Any],
    files: Annotated[
        Optional[list[Path]],
        typer.Argument(help="Files of labelled rows. The first one is what a model is trained on."),
    ] = None,
    data: Annotated[Optional[Path], typer.Option(help="Training set, in place of the first of FILES.")] = None,
    dev: Annotated[Optional[Path], typer.Option(help="Development set.")] = None,
    test: Annotated[Optional[Path], typer.Option(help="Test set.")] = None,
    recipe: Annotated[
        Optional[Path],
        typer.Option(
            help="Recipe (YAML) whose files, columns, tokenizer and maximum length are used; by default the defaults."
        ),
    ] = None,
    max_length: Annotated[Optional[int], typer.Option(min=1, help="Maximum number of tokens; by default the recipe's.")] = None,
    similarity: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="Least share of equal characters of near-duplicates.")
    ] = 0.9,
    suspects: Annotated[bool, typer.Option("--suspects/--no-suspects", help="Look for label errors, or not.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the folds behind suspected label errors.")] = 0,
    rows: Annotated[int, typer.Option(min=0, help="Rows of each table that are printed.")] = 5,
    html: Annotated[Optional[Path], typer.Option(help="Also write the result as one HTML file.")] = None,
    write: Annotated[
        Optional[Path],
        typer.Option(help="Write the training rows cleaned: .tsv, .csv or .jsonl; changes and a recipe are written beside it."),
    ] = None,
    fix: Annotated[
        Optional[str],
        typer.Option(
            help=f"Changes that --write makes, separated by commas: {', '.join(FIXES)}. By default {', '.join(DEFAULT_FIXES)}."
        ),
    ] = None,
    export_suspects: Annotated[
        Optional[Path], typer.Option(help="Write suspected label errors for a review in an annotation tool.")
    ] = None,
    format: Annotated[  # noqa: A002
        str, typer.Option("--format", help=f"Format of --export-suspects: {' or '.join(REVIEW_FORMATS)}.")
    ] = "label-studio",
    apply: Annotated[
        Optional[Path], typer.Option(help="Reviewed suspects, exported from the annotation tool; --write takes their labels.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check labelled rows: duplicates, leaks, conflicts, label errors, damaged texts. Trains no model of yours."""
    fixes = _fixes(fix, write)
    if write is not None:
        check_ending(write)
    if apply is not None and write is None:
        raise RecipeError("--apply needs --write, which takes the reviewed labels; add --write cleaned.tsv")
    if format not in REVIEW_FORMATS or (export_suspects is not None and not suspects):
        raise RecipeError(f"--export-suspects needs suspects and a --format of {' or '.join(REVIEW_FORMATS)}, got {format!r}")
    chosen = Recipe.load(recipe) if recipe is not None else Recipe()
    chosen = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, **data_format))
    splits = _splits(chosen, files or [], data, dev, test)
    _keep_inputs([path for _, path in splits], html=html, write=write, export_suspects=export_suspects)
    checked = _read(chosen, splits)
    print_notes(note for file in checked.files for note in file.notes)
    if checked.label_sets is not None and (asked := only_option(write=write, export_suspects=export_suspects)) is not None:
        raise RecipeError(f"{asked} knows one label a text, and these rows have several; leave it out")
    reviewed = read_review(apply, checked) if apply is not None else {}
    with progress_bar("checking") as progress:
        report = check_rows(
            checked,
            tokenizer=_tokenizer(chosen, checked),
            max_length=max_length or chosen.text.max_length,
            similarity=similarity,
            suspects=suspects,
            seed=seed,
            progress=progress,
        )
    print_notes(report.notes)
    if html is not None:
        from paddlenlp_embtune.report import write_check_page

        err.print(f"report: {write_check_page(html, report.plain())}", markup=False)
    if export_suspects is not None:
        written = write_suspects(export_suspects, report.suspects, sorted(report.labels), format=format)
        err.print(f"suspects: {', '.join(map(str, written))}", markup=False)
    if write is not None:
        _write(write, chosen, checked, report, fixes, reviewed)
    if as_json:
        print(json.dumps(report.plain(), ensure_ascii=False))
    else:
        print_check(report, out, shown=rows)


def _fixes(fix: str | None, write: Path | None) -> tuple[str, ...]:
    if fix is not None and write is None:
        raise RecipeError("--fix needs --write, which makes the changes; add --write cleaned.tsv")
    if fix is None:
        return DEFAULT_FIXES
    return check_fixes([name.strip() for name in fix.split(",") if name.strip()])


def _splits(
    recipe: Recipe, files: Sequence[Path], data: Path | None, dev: Path | None, test: Path | None
) -> list[tuple[str, Path]]:
    """Name the split of each file: as its option says, or its name; the first of all is the training set."""
    found = [("train", data)] if data is not None else []
    for path in files:
        named = next((name for name in _SPLITS if name in path.stem.lower()), path.stem)
        split = "train" if not found else {"valid": "dev", "val": "dev"}.get(named, named)
        # Two files of one kind are two splits; the first file is the training set whatever its name.
        found.append((path.name if split in (name for name, _ in found) else split, path))
    if not found and recipe.data.train is not None:
        found.append(("train", Path(recipe.data.train)))
        dev = dev or (Path(recipe.data.dev) if recipe.data.dev is not None else None)
    found += [(name, path) for name, path in (("dev", dev), ("test", test)) if path is not None]
    if not found:
        raise RecipeError("there is nothing to check; pass a file of labelled rows, --data FILE, or a recipe with data.train")
    return found


def _keep_inputs(inputs: Sequence[Path], **outputs: Path | None) -> None:
    """Refuse to write over the data that are checked."""
    read = {path.resolve() for path in inputs}
    for name, path in outputs.items():
        if path is not None and path.resolve() in read:
            raise RecipeError(f"--{name.replace('_', '-')} is {path}, which is checked; give another file")


def _read(recipe: Recipe, files: Sequence[tuple[str, Path]]) -> CheckedRows:
    data = recipe.data
    return read_checked_rows(files, text_column=data.text_column, label_column=data.label_column, options=data.read_options)


def _tokenizer(recipe: Recipe, rows: CheckedRows) -> Tokenizer:
    """Build the tokenizer that training on the first file would use; without jieba, it lacks what the vectors inside it add."""
    from paddlenlp_embtune.training import initialize_embedding

    texts = rows.texts[: rows.files[0].rows]
    try:
        return initialize_embedding(recipe, texts).tokenizer
    except MissingDependencyError as error:
        if recipe.model.start is not None or recipe.model.encoder is not None or recipe.text.tokenizer != "char":
            raise
        print_notes([f"unknown tokens are counted without the tokens of the vectors: {error}"])
        tokenizer = build_tokenizer("char", texts=texts, lowercase=recipe.text.lowercase, min_count=recipe.text.min_count)
        return with_cleaning(tokenizer, recipe.text.cleaning)


def _write(
    path: Path,
    recipe: Recipe,
    rows: CheckedRows,
    report: CheckReport,
    fixes: Sequence[str],
    reviewed: Any,
) -> None:
    """Write cleaned rows, the changes, and a recipe that trains on them."""
    cleaned = clean_rows(rows, report, fixes=fixes, reviewed=reviewed)
    changes, trained = (path.with_name(f"{path.stem}.{ending}") for ending in ("changes.tsv", "recipe.yaml"))
    quoting = write_rows(path, cleaned)
    write_changes(changes, cleaned.changes)
    development = next((file.path for file in rows.files if file.split == "dev"), recipe.data.dev)
    data = dataclasses.replace(recipe.data, train=str(path), dev=development, quoting=quoting, skip_empty=False, **_AS_WRITTEN)
    steps = tuple(dict.fromkeys([*recipe.text.cleaning, *cleaned.steps]))
    dataclasses.replace(recipe, data=data, text=dataclasses.replace(recipe.text, cleaning=steps)).save(trained)
    dropped = sum(change.action == "drop" for change in cleaned.changes)
    err.print(
        f"cleaned: {path}, {len(cleaned.records):,} rows ({dropped:,} left out, {len(cleaned.changes) - dropped:,} changed); "
        f"why: {changes}; train on it: embtune train {trained}",
        markup=False,
        soft_wrap=True,
    )
    if reviewed and not any(change.reason == "reviewed" for change in cleaned.changes):
        print_notes([f"none of the {len(reviewed):,} reviewed rows of {rows.files[0].path} has another label now"])
