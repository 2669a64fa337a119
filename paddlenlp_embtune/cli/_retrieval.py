"""``embtune evaluate --retrieval``: how well a bundle's sentence vectors find rows of the same label, or pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from paddlenlp_embtune.cli._console import print_notes
from paddlenlp_embtune.cli._data_format import DataFormat
from paddlenlp_embtune.cli._texts import load_examples
from paddlenlp_embtune.data import Pairs, read_pairs
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.evaluation import alignment, class_alignment, retrieval_metrics, spearman, uniformity
from paddlenlp_embtune.inference import Predictor

__all__ = ["evaluate_retrieval", "retrieval_table"]


def evaluate_retrieval(
    predictor: Predictor,
    data_format: DataFormat,
    *,
    data: Path | None,
    index: Path | None,
    pairs: Path | None,
    k: int,
    dimensions: int | None,
    skip_empty: bool,
) -> dict[str, Any]:
    """Measure the sentence vectors of a bundle on classes or pairs.

    Args:
        predictor: of the bundle.
        data_format: how files are read.
        data: labelled queries.
        index: labelled rows to search in; None searches the queries themselves, each without itself.
        pairs: pairs, triples or scored pairs, in place of ``data``.
        k: rows that are looked at.
        dimensions: kept of each vector; None keeps all.
        skip_empty: leave rows with an empty text out.
    Raises:
        RecipeError: neither or both of ``data`` and ``pairs`` are given.
    """
    if (data is None) == (pairs is None):
        raise RecipeError("--retrieval needs --data FILE of labelled queries, or --pairs FILE; give one of them")
    if pairs is not None:
        if index is not None:
            raise RecipeError("--index goes with --data; pairs are searched in what belongs to all anchors; leave it out")
        return _on_pairs(predictor, read_pairs(pairs, options=data_format.options), k=k, dimensions=dimensions)
    assert data is not None
    queries = load_examples(data, data_format, skip_empty=skip_empty)
    rows = queries if index is None else load_examples(index, data_format, skip_empty=skip_empty)
    _note_cut(predictor, [*queries.texts, *(() if index is None else rows.texts)])
    asked = predictor.embed(queries.texts, dimensions=dimensions)
    searched = asked if index is None else predictor.embed(rows.texts, dimensions=dimensions)
    groups = queries.labels, rows.labels
    found = retrieval_metrics(asked, searched, *groups, k=k, leave_one_out=index is None)
    return {**found, "alignment": class_alignment(asked, searched, *groups), "uniformity": _uniformity(searched)}


def retrieval_table(metrics: Mapping[str, Any]) -> Table:
    """Build a table of the figures."""
    table = Table("figure", "value", title_justify="left")
    for name, value in metrics.items():
        if isinstance(value, (int, float)):
            table.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
    return table


def _on_pairs(predictor: Predictor, pairs: Pairs, *, k: int, dimensions: int | None) -> dict[str, Any]:
    _note_cut(predictor, [*pairs.first, *pairs.second, *(pairs.negatives or ())])
    first, second = (predictor.embed(side, dimensions=dimensions) for side in (pairs.first, pairs.second))
    if pairs.scores is not None:
        cosines = (first * second).sum(axis=1)
        return {"pairs": len(pairs), "spearman": spearman(cosines, pairs.scores), "uniformity": _uniformity(first)}
    anchors = dict.fromkeys(pairs.first)
    groups = {text: number for number, text in enumerate(anchors)}
    rows, owners = _candidates(pairs, groups)
    asked, searched = (predictor.embed(side, dimensions=dimensions) for side in (list(anchors), rows))
    found = retrieval_metrics(asked, searched, [*groups.values()], owners, k=k)
    return {**found, "pairs": len(pairs), "alignment": alignment(first, second), "uniformity": _uniformity(searched)}


def _candidates(pairs: Pairs, groups: Mapping[str, int]) -> tuple[list[str], list[int]]:
    """Return all texts that anchors are searched in, once for each anchor that they belong to, and the numbers of these."""
    owned = dict.fromkeys((text, groups[anchor]) for anchor, text in zip(pairs.first, pairs.second, strict=True))
    others = set(pairs.negatives or ()) - set(pairs.second)
    rows: Sequence[tuple[str, int]] = [*owned, *((text, -1) for text in sorted(others))]
    return [text for text, _ in rows], [owner for _, owner in rows]


def _uniformity(vectors: np.ndarray[Any, Any]) -> float | None:
    return uniformity(vectors) if len(vectors) > 1 else None


def _note_cut(predictor: Predictor, texts: Sequence[str]) -> None:
    if cut := predictor.count_cut(texts):
        most = predictor.bundle.manifest.max_length
        print_notes([f"{cut:,} of {len(texts):,} texts have more than the {most} tokens that the model reads and were cut"])
