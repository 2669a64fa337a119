"""``embtune vectors diff`` and ``embtune vectors ab``: two versions side by side."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._console import err
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import JsonOption, StoreOption, TermGroupsOption
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._store import (
    find_store,
    folding_table,
    load_examples_for,
    open_bundle,
    out,
    print_json,
    select_term_groups,
)
from paddlenlp_embtune.data import read_texts
from paddlenlp_embtune.embeddings.store import VectorStore, compare_versions, shared_rows
from paddlenlp_embtune.errors import RecipeError, VectorError

__all__ = ["ab", "diff"]


@reads_data(labels=False)
def diff(
    data_format: DataFormat,
    before: Annotated[str, typer.Argument(help="Name or id of the first version.")],
    after: Annotated[str, typer.Argument(help="Name or id of the second version, or latest.")],
    store: StoreOption = None,
    groups: TermGroupsOption = None,
    domain: Annotated[
        Optional[str],
        typer.Option(help="Use the term groups of this domain; by default those saved with the version."),
    ] = None,
    bundle: Annotated[Optional[Path], typer.Option(help="Bundle, or run, whose tokenizer splits terms and texts.")] = None,
    data: Annotated[Optional[Path], typer.Option(help="Training texts, to group the drift by token frequency.")] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="Number of tokens and terms to list.")] = 20,
    neighbours: Annotated[int, typer.Option(min=1, help="Number of neighbours to list.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions: the tokens that moved most, their neighbours before and after, and the drift of term groups."""
    if data is not None and bundle is None:
        raise RecipeError("--data needs --bundle, whose tokenizer cuts the texts")
    opened = find_store(store, beside=bundle)
    pair = opened.version(before), opened.version(after)
    cut = open_bundle(bundle).tokenizer.tokens if bundle is not None else None
    counts = _counts(data, data_format, cut) if data is not None and cut is not None else None
    found = compare_versions(
        opened.load(pair[0].name),
        opened.load(pair[1].name),
        select_term_groups(groups, domain, pair),
        counts=counts,
        cut=cut,
        k=neighbours,
        count=count,
    )
    answer = {"before": pair[0].name, "after": pair[1].name, **found}
    if as_json:
        print_json(answer)
    else:
        _show(answer)


@reads_data(labels=True)
def ab(
    data_format: DataFormat,
    a: Annotated[str, typer.Argument(help="Name or id of the first version.")],
    b: Annotated[str, typer.Argument(help="Name or id of the second version, or latest.")],
    bundle: Annotated[Path, typer.Option(help="Bundle, or run, whose model runs with both versions.")],
    data: Annotated[Path, typer.Option(help="Labelled rows that neither version was trained on.")],
    store: StoreOption = None,
    resamples: Annotated[int, typer.Option(min=100, help="Resamples of the bootstrap and the randomization test.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the resamples.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Evaluate two versions with the same model on the same rows, and test whether they differ significantly."""
    opened, saved = open_bundle(bundle), find_store(store, beside=bundle)
    rows = load_examples_for(opened, data, data_format)
    names = saved.version(a).name, saved.version(b).name
    tables = [_table_for(opened, saved, name) for name in names]
    start_paddle()
    from paddlenlp_embtune.evaluation import compare_tables, verdict

    found = compare_tables(opened, tables[0], tables[1], rows.texts, rows.labels, resamples=resamples, seed=seed)
    told = verdict(found, names)
    if as_json:
        print_json({"a": names[0], "b": names[1], **dataclasses.asdict(found), "verdict": told, "data": str(data)})
        return
    table = folding_table("", names[0], names[1], f"{names[1]} - {names[0]}", "p")
    for label, figure in (("accuracy", found.accuracy), ("macro F1", found.f1_macro)):
        sides = (f"{value:.4f} ({low:.4f} to {high:.4f})" for value, (low, high) in figure.sides())
        low, high = figure.interval
        table.add_row(label, *sides, f"{figure.difference:+.4f} ({low:+.4f} to {high:+.4f})", f"{figure.p:.2g}")
    out.print(table)
    out.print("intervals: 95%, by bootstrap; p: McNemar's exact test, and approximate randomization", markup=False)
    out.print(
        f"{found.rows} rows: {found.both_right} right by both, {found.only_a} by {names[0]} alone, {found.only_b} by "
        f"{names[1]} alone, {found.neither} by neither",
        markup=False,
    )
    out.print(told, markup=False, soft_wrap=True)


def _table_for(bundle: Bundle, store: VectorStore, name: str) -> npt.NDArray[np.float32]:
    """Read a version in the order of a bundle's tokens.

    Raises:
        VectorError: it lacks a token.
    """
    tokens, table = store.load(name)
    here, there = shared_rows(bundle.vocabulary.tokens, tokens)
    if len(set(bundle.vocabulary.tokens)) > len(set(here.tolist())):
        there_are = set(tokens)
        lacking = [token for token in bundle.vocabulary.tokens if token not in there_are]
        raise VectorError(
            f"the version {name!r} lacks {len(lacking)} tokens of the bundle {bundle.path}, {lacking[0]!r} first; expected "
            "versions with a row for each; merge its rows into a version that has them with: embtune vectors merge"
        )
    whole = np.empty((len(bundle.vocabulary), table.shape[1]), dtype=np.float32)
    number = {bundle.vocabulary.tokens[row]: other for row, other in zip(here.tolist(), there.tolist(), strict=True)}
    whole[:] = table[[number[token] for token in bundle.vocabulary.tokens]]
    return whole


def _counts(data: Path, data_format: DataFormat, cut: Callable[[str], Sequence[str]]) -> Counter[str]:
    seen: Counter[str] = Counter()
    for text in read_texts(data, **data_format.for_texts()):
        seen.update(cut(text))
    return seen


def _show(found: dict[str, Any]) -> None:
    for side, name in (("only_before", found["before"]), ("only_after", found["after"])):
        if found[side]["count"]:
            _note(f"{found[side]['count']} tokens only in {name}", found[side])
    if found["not_finite"]["count"]:
        _note(f"{found['not_finite']['count']} rows with NaN or infinite values, left out", found["not_finite"])
    out.print(
        f"{found['before']} -> {found['after']}: {found['rows_moved']} of {found['rows']} rows moved, drift "
        f"{found['drift_mean']:.4f} on average, {found['drift_p95']:.4f} at the 95th percentile; {found['shared']} rows in "
        f"both, {found['same_bits']} of them bit by bit alike",
        markup=False,
        soft_wrap=True,
    )
    for title in ("tokens", "terms"):
        if found[title]:
            out.print(_moved(title, found[title]))
    _show_groups(found)
    if found["bands"]:
        table = folding_table("seen", "rows", "moved", "drift, mean", "median", "95%")
        for row in found["bands"]:
            figures = (f"{row[key]:.4f}" for key in ("mean", "p50", "p95"))
            table.add_row(row["name"], str(row["rows"]), str(row["rows_touched"]), *figures)
        out.print(table)
    if found["missing"]:
        err.print(f"terms of which a part has no row: {', '.join(found['missing'])}", markup=False)


def _show_groups(found: dict[str, Any]) -> None:
    if found["groups"]:
        table = folding_table("group", "terms", "cohesion", "silhouette")
        for row in found["groups"]:
            pairs = (f"{row[key][0]:.3f} -> {row[key][1]:.3f}" for key in ("cohesion", "silhouette"))
            table.add_row(row["name"], str(row["terms"]), *pairs)
        out.print(table)
    if found["separation"]:
        table = folding_table("groups", "separation")
        for row in found["separation"]:
            table.add_row(f"{row['one']}, {row['other']}", f"{row['before']:.3f} -> {row['after']:.3f}")
        out.print(table)


def _moved(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title, "group", "drift", "kept", "neighbours before", "after")
    for row in rows:
        near = (" ".join(name for name, _ in row[side]) for side in ("before", "after"))
        kept = "" if row["kept"] is None else f"{row['kept']:.0%}"
        table.add_row(row["term"], row["group"] or "", f"{row['drift']:.4f}", kept, *near)
    return table


def _note(what: str, listed: dict[str, Any]) -> None:
    err.print(f"{what}: {' '.join(listed['tokens'][:20])}{' ...' if listed['count'] > 20 else ''}", markup=False)
