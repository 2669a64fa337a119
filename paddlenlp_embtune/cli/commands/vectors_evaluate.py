"""``embtune vectors evaluate``: groups of terms, outliers and analogies in vectors, one source or several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.bundle import bundle_folder
from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._options import FormatOption, JsonOption, TensorOption, TermGroupsOption, TokensOption
from paddlenlp_embtune.cli._store import folding_table, out, print_json, select_term_groups
from paddlenlp_embtune.cli._texts import printable
from paddlenlp_embtune.cli._vector_sources import read_options, read_source, resolve_format
from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.embeddings.metrics import evaluate_vectors, read_analogies

__all__ = ["evaluate"]


def evaluate(
    vectors: Annotated[
        list[str], typer.Argument(help="Files of vectors, checkpoints, bundles, runs, or lac; several are compared.")
    ],
    groups: TermGroupsOption = None,
    domain: Annotated[Optional[str], typer.Option(help="Use the term groups of this domain.")] = None,
    analogies: Annotated[
        Optional[Path], typer.Option(help="Analogies: four words a line, in sections such as ': capitals'.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=4, help="Look for answers among so many tokens, the first ones.")] = 200_000,
    format: FormatOption = None,  # noqa: A002
    tokens: TokensOption = None,
    tensor: TensorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure vectors without a task: uniformity, term groups (alignment, neighbours, outliers) and analogies."""
    known = select_term_groups(groups, domain, ())
    questions = read_analogies(analogies) if analogies is not None else []
    sources = [_read(source, format, tokens, tensor) for source in vectors]
    told = evaluate_vectors(sources, groups=known, analogies=questions, candidates=candidates)
    for source in sources:
        print_notes(source.notes)
    if as_json:
        print_json(told)
        return
    for line in _tables(told, _short(vectors)):
        out.print(line, markup=False, soft_wrap=True) if isinstance(line, str) else out.print(line)
    if not known and not questions:
        err.print("measured the whole tables alone; pass --groups or --domain, or --analogies, for more", markup=False)


def _read(source: str, format: str | None, tokens: Path | None, tensor: str | None) -> VectorTable:  # noqa: A002
    path = str(bundle_folder(Path(source))) if Path(source).is_dir() else source
    options = read_options(resolve_format(path, format), None, tokens, tensor, "refuse")
    return read_source(path, f"reading {source}", options)


def _short(sources: Sequence[str]) -> list[str]:
    """Return the last parts of paths, as far as these tell the sources apart."""
    names = [Path(source).name for source in sources]
    return names if len(set(names)) == len(names) else list(sources)


def _tables(told: Mapping[str, Any], names: Sequence[str]) -> Iterator[Any]:
    table = folding_table("vectors", "rows", "width", "uniformity", "mean cosine", "effective rank")
    for name, row in zip(names, told["sources"], strict=True):
        spread = f"{row['uniformity']:.3f} ± {row['uniformity_error']:.3f}"
        figures = (f"{row['rows']:,}", str(row["width"]), spread, f"{row['mean_cosine']:.3f}", f"{row['effective_rank']:.1f}")
        table.add_row(printable(name), *figures)
    yield table
    if (found := told["groups"]) is not None:
        yield from _groups(found, names)
    if (found := told["analogies"]) is not None:
        yield from _analogies(found, names)


def _coverage(found: Mapping[str, Any], what: str, names: Sequence[str]) -> Iterator[str]:
    coverage = found["coverage"]
    yield f"{what}: {coverage['used']:,} of {coverage['words']:,} are used"
    for place, name in enumerate(names):
        missing = " ".join(map(printable, coverage["missing_examples"][place]))
        yield (
            f"  {printable(name)}: {coverage['whole'][place]:,} have a row, {coverage['composed'][place]:,} stand for their "
            f"parts, {coverage['missing'][place]:,} are missing" + (f": {missing}" if missing else "")
        )


def _groups(found: Mapping[str, Any], names: Sequence[str]) -> Iterator[Any]:
    yield from _coverage(found, "terms", names)
    table = folding_table("all groups", *map(printable, names), "by chance")
    chance = {"agreement": found["agreement_by_chance"], "outlier_position": 0.5}
    for key, title in _MEASURES.items():
        table.add_row(title, *map(_figure, found[key]), _figure(chance.get(key)))
    yield table
    columns = {key: title for key, title in _BY_GROUP.items() if key in found["by_group"][0]}
    by_group = folding_table("group", "terms", *columns.values())
    for row in found["by_group"]:
        by_group.add_row(printable(row["name"]), str(row["terms"]), *(" -> ".join(map(_figure, row[key])) for key in columns))
    yield by_group


def _analogies(found: Mapping[str, Any], names: Sequence[str]) -> Iterator[Any]:
    yield from _coverage(found, "words of analogies", names)
    table = folding_table("analogies", "asked", *map(printable, names))
    for row in found["by_section"]:
        table.add_row(printable(row["name"]), f"{row['asked']:,} of {row['questions']:,}", *map(_figure, row["accuracy"]))
    table.add_row("all", f"{found['asked']:,} of {found['questions']:,}", *map(_figure, found["accuracy"]))
    yield table
    yield f"an answer is one of {found['candidates']:,} words"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


_MEASURES = {
    "alignment": "alignment (0: partners coincide)",
    "agreement": "neighbours of the same group",
    "outlier_accuracy": "outliers found",
    "outlier_position": "place of the outlier (1: fits least)",
}
_BY_GROUP = {
    "cohesion": "cohesion",
    "silhouette": "silhouette",
    "agreement": "same group",
    "outlier_accuracy": "outliers found",
}
