"""``embtune vectors inspect``: what a file of vectors holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._options import FormatOption, JsonOption, TensorOption, TokensOption, VectorsArgument
from paddlenlp_embtune.cli._store import folding_table, out, print_json
from paddlenlp_embtune.cli._texts import printable
from paddlenlp_embtune.cli._vector_sources import RowFilter, read_options, read_source, resolve_format, size_in_bytes
from paddlenlp_embtune.embeddings.metrics import describe_vectors, nearest_tokens

__all__ = ["inspect"]


def inspect(
    file: VectorsArgument,
    format: FormatOption = None,  # noqa: A002
    term: Annotated[
        Optional[list[str]], typer.Option(metavar="TERM", help="Show the nearest neighbours of this token; repeat for more.")
    ] = None,
    neighbours: Annotated[int, typer.Option(min=1, max=1000, help="Number of neighbours to show.")] = 10,
    most: Annotated[Optional[int], typer.Option(min=1, help="Read only this many rows; by default all.")] = None,
    tokens: TokensOption = None,
    tensor: TensorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a file of vectors holds: tokens, norms, damage, neighbours. Damaged rows are counted, not refused."""
    found, seen = resolve_format(file, format), RowFilter(lambda _name: True, most)
    vectors = read_source(file, f"reading {file}", read_options(found, seen if most else None, tokens, tensor, "skip"))
    rows = {"rows_in_file": seen.offered} if most else {}
    told = {"source": file, "format": found, "bytes": size_in_bytes(Path(file)), **rows, **describe_vectors(vectors)}
    told["neighbours"] = {name: nearest_tokens(vectors, name, k=neighbours) for name in term or ()}
    if as_json:
        print_json(told)
    else:
        _show(told)
    for name, near in told["neighbours"].items():
        if not near:
            err.print(f"{name!r} has {'no row' if near is None else 'a zero row'} in {file}", markup=False)


def _show(told: dict[str, Any]) -> None:
    size = "" if told["bytes"] is None else f", {told['bytes'] / 1e6:,.1f} MB"
    of = f" (the first of {told['rows_in_file']:,})" if "rows_in_file" in told else ""
    subwords = ", and subwords for other words" if told["subwords"] else ""
    out.print(f"{told['format']}: {told['rows']:,} rows{of} of width {told['width']}{size}{subwords}", markup=False)
    out.print("first tokens: " + " ".join(map(printable, told["first"])), markup=False, soft_wrap=True)
    table = folding_table("tokens", "rows", "share")
    marked = {f"with {mark}": count for mark, count in told["marked"].items() if count}
    for kind, count in {**told["kinds"], **marked}.items():
        table.add_row(kind, f"{count:,}", f"{count / max(1, told['rows']):.1%}")
    out.print(table)
    if norms := told["norms"]:
        out.print(f"norms: mean {norms['mean']:.4f}, 5% below {norms['p5']:.4f}, 5% above {norms['p95']:.4f}", markup=False)
    out.print(f"zero rows: {told['zero_rows']:,}", markup=False)
    for name, near in told["neighbours"].items():
        if near:
            out.print(
                f"{printable(name)}: " + " ".join(f"{printable(n)} {c:.3f}" for n, c in near), markup=False, soft_wrap=True
            )
    print_notes(told["notes"])
