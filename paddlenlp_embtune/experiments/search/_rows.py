"""Which rows a search uses for what: trials learn and are compared on some, and the end is measured on others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from paddlenlp_embtune.config import DataSpec, Recipe
from paddlenlp_embtune.data import discover_labels, hold_out, read_examples
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.experiments._row_files import WEIGHT, write_rows
from paddlenlp_embtune.experiments.cell import DataSet
from paddlenlp_embtune.utils.files.atomic_io import sha256_of

__all__ = ["SearchRows", "prepare_rows"]

_KEPT_APART = 0.2


@dataclasses.dataclass(frozen=True)
class SearchRows:
    """The rows of a search.

    Args:
        data: what trials learn from and are compared on.
        final: what the comparison at the end learns from, stops on, and is measured on.
        note: one sentence: which rows serve what.
        identity: plain values that tell these rows from others.
        count: about how many rows a trial learns from.
        labels: how many labels they have.
    """

    data: DataSpec
    final: DataSet
    note: str
    identity: dict[str, Any]
    count: int
    labels: int


def prepare_rows(recipe: Recipe, folder: Path, *, test: str | None) -> SearchRows:
    """Read the rows, and keep some apart that no trial sees.

    With ``test``, those. Without it the development rows of the recipe, and trials hold rows of the training file out; where
    there are none, a fifth of the training rows. Metrics count every row once, so rows of ``test`` need no weights.

    Args:
        recipe: names the files.
        folder: of the search, for the rows that are kept apart.
        test: path of labelled rows.
    Raises:
        RecipeError: the recipe names no training data.
        DataError: a file cannot be read, or its labels are of no training row.
    """
    data = recipe.data
    if data.train is None:
        raise RecipeError("there is nothing to train on; pass --data FILE, or a recipe with data.train")
    reading = data.reading()
    rows = read_examples(data.train, **reading)
    labels = discover_labels(rows, data.labels)
    dev = None if data.dev is None else read_examples(data.dev, **reading)
    if test is not None:
        measured, stops_on = read_examples(test, **{**reading, "weight_column": None}), dev
        note = f"trials are compared on the development rows; the end is measured on {test}, which no trial sees"
    elif dev is not None:
        measured, stops_on = dev, None
        note = (
            f"no --test: the end is measured on {data.dev}, which no trial sees; trials are compared on {data.dev_ratio:.0%} "
            f"of {data.train}, held out"
        )
    else:
        rows, measured = hold_out(rows, ratio=_KEPT_APART, seed=recipe.seed)
        stops_on = None
        note = (
            f"no --test and no development file: the end is measured on {_KEPT_APART:.0%} of {data.train}, {len(measured)} "
            f"rows that no trial sees; trials are compared on {data.dev_ratio:.0%} of the rest"
        )
    for label in measured.labels:
        if label not in labels:
            raise DataError(
                f"{measured.source} has the label {label!r}, which no training row has; expected {', '.join(labels)}"
            )
    paths = {
        name: write_rows(part, folder / "rows" / f"{name}.jsonl")
        for name, part in (("train", rows), ("dev", stops_on), ("test", measured))
        if part is not None
    }
    kept = DataSpec(
        train=paths["train"],
        dev=paths.get("dev"),
        labels=labels if data.labels is not None else None,
        ordered=data.ordered,
        dev_ratio=data.dev_ratio,
        weight_column=None if data.weight_column is None else WEIGHT,
    )
    identity = {name: sha256_of(Path(path)) for name, path in paths.items()}
    final = DataSet(name="rows", train=paths["train"], dev=paths.get("dev"), test=paths["test"])
    count = len(rows) if stops_on is not None else round(len(rows) * (1 - data.dev_ratio))
    return SearchRows(kept, final, note, identity, count, len(labels))
