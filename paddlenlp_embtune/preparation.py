"""What is settled before the first step of a run: names, data, vocabulary, and where the embedding starts."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import registry
from paddlenlp_embtune.data import DataReport, Rows, check_rows, discover_labels, hold_out, read_rows
from paddlenlp_embtune.domain import Domain
from paddlenlp_embtune.errors import MissingDependencyError, RecipeError, legal_names
from paddlenlp_embtune.files import sha256_of
from paddlenlp_embtune.recipe import Recipe
from paddlenlp_embtune.text import CharTokenizer, Tokenizer, Vocabulary, unknown_report
from paddlenlp_embtune.vectors import Coverage, VectorTable, initialise, initialise_random

__all__ = ["Prepared", "check_names", "data_summary", "prepare", "settle", "term_groups"]

_RANDOM_DIMENSION = 128


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Everything that is settled before the first step.

    Args:
        train, dev: labelled rows.
        labels: class names in order.
        ordered: whether their order means anything.
        report: what a look at the data found.
        tokenizer: with its vocabulary.
        table: (V, D) float32, the embedding's start.
        coverage: where its rows came from.
    """

    train: Rows
    dev: Rows
    labels: tuple[str, ...]
    ordered: bool
    report: DataReport
    tokenizer: Tokenizer
    table: npt.NDArray[np.float32]
    coverage: Coverage


def check_names(recipe: Recipe) -> None:
    """Refuse unknown names and missing packages before any work is done."""
    known = registry.current()
    wanted = [("model", [recipe.model.name]), ("loss", [recipe.train.loss]), ("exporter", recipe.export.engines)]
    for kind, names in wanted:
        for name in names:
            if name not in known.names(kind):
                raise RecipeError(f"the recipe asks for the {kind} {name!r}; {legal_names(name, known.names(kind))}")
    for name in recipe.export.engines:
        for package in getattr(known.get("exporter", name), "requires", ()):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"the exporter {name!r} needs {package}, which is not installed; install it with: pip install {package}, "
                    "or leave the engine out of export.engines"
                )
    if recipe.domain is not None and recipe.domain not in known.names("domain"):
        raise RecipeError(f"the recipe's domain is {recipe.domain!r}; {legal_names(recipe.domain, known.names('domain'))}")


def prepare(recipe: Recipe) -> Prepared:
    """Read and check the data, build vocabulary and embedding; no Paddle yet.

    Raises:
        RecipeError: the recipe names no training data.
        DataError: the data cannot be trained on.
        VectorError: the vectors do not fit.
    """
    data = recipe.data
    if data.train is None:
        raise RecipeError("the recipe names no training data; set data.train, or pass --data FILE")
    columns = {"text_column": data.text_column, "label_column": data.label_column, "skip_empty": data.skip_empty}
    rows = read_rows(data.train, **columns)  # type: ignore[arg-type]
    domain = _domain(recipe)
    labels = discover_labels(rows, data.labels or (domain.labels if domain else None))
    if data.dev is not None:
        dev = read_rows(data.dev, **columns)  # type: ignore[arg-type]
    else:
        rows, dev = hold_out(rows, ratio=data.dev_ratio, seed=recipe.seed)
    report = check_rows(rows, dev, labels)
    vectors = _read_vectors(recipe)
    tokenizer = _build_tokenizer(recipe, rows, vectors)
    vocabulary, rms = tokenizer.vocabulary, recipe.vectors.rms
    if vectors is None:
        table, coverage = initialise_random(vocabulary, _RANDOM_DIMENSION, rms=rms, seed=recipe.seed)
    else:
        table, coverage = initialise(vocabulary, vectors, rms=rms, seed=recipe.seed)
    ordered = domain.ordered if domain and labels == domain.labels else data.labels is not None
    return Prepared(rows, dev, labels, ordered, report, tokenizer, table, coverage)


def term_groups(recipe: Recipe) -> Mapping[str, tuple[str, ...]]:
    """Return the groups of terms of the recipe's domain; none without a domain."""
    domain = _domain(recipe)
    return domain.term_groups if domain is not None else {}


def _domain(recipe: Recipe) -> Domain | None:
    found: Domain | None = registry.current().get("domain", recipe.domain) if recipe.domain is not None else None
    return found


def settle(recipe: Recipe, *, rows: int) -> Recipe:
    """Replace what follows from the number of rows: the epochs."""
    epochs = recipe.train.epochs
    if epochs is None:
        steps_per_epoch = -(-rows // recipe.train.batch_size)
        epochs = min(40, max(8, round(1200 / steps_per_epoch)))
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=epochs))


def _read_vectors(recipe: Recipe) -> VectorTable | None:
    source = recipe.vectors.source
    if source == "random":
        return None
    formats = registry.current().names("vector format")
    if source not in formats:
        raise RecipeError(f"vectors.source is {source!r}; {legal_names(source, [*formats, 'random'])}")
    table: VectorTable = registry.current().get("vector format", source)(source)
    return table


def _build_tokenizer(recipe: Recipe, rows: Rows, vectors: VectorTable | None) -> CharTokenizer:
    text = recipe.text
    if text.tokenizer != "char":
        raise RecipeError(f"text.tokenizer is {text.tokenizer!r}; {legal_names(text.tokenizer, ['char'])}")
    counts = CharTokenizer.count(rows.texts, lowercase=text.lowercase)
    further: list[str] = []
    if vectors is not None and text.extra_rows:
        folded = (word.lower() if text.lowercase else word for word in vectors.rows)
        further = [w for w in dict.fromkeys(folded) if w not in counts and w.strip() and len(w) == 1][: text.extra_rows]
    return CharTokenizer(Vocabulary.from_counts(counts, min_count=text.min_count, extra=further), text.lowercase)


def data_summary(prepared: Prepared, *, folders: bool = True) -> dict[str, Any]:
    """Counts and fingerprints of the data; a bundle, which travels, gets the names of files without their folders."""
    unknown = unknown_report(prepared.tokenizer, prepared.dev.texts)

    def shown(source: str) -> str:
        return source if folders else Path(source).name

    return {
        "train": shown(prepared.train.source),
        "dev": shown(prepared.dev.source),
        "train_rows": len(prepared.train),
        "dev_rows": len(prepared.dev),
        "classes": prepared.report.classes,
        "duplicates": prepared.report.duplicates,
        "conflicts": prepared.report.conflicts,
        "leaks": prepared.report.leaks,
        "skipped_empty": prepared.train.skipped_empty,
        "warnings": prepared.report.warnings(),
        "vocabulary": len(prepared.tokenizer.vocabulary),
        "dev_unknown_rate": round(unknown.rate, 6),
        "sha256": {shown(source): sha256_of(Path(source)) for source in _files(prepared)},
    }


def _files(prepared: Prepared) -> list[str]:
    return [rows.source for rows in (prepared.train, prepared.dev) if Path(rows.source).is_file()]
