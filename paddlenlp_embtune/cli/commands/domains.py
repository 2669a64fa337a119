"""``embtune domains``: how far two sets of texts are apart, and what that means for a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from paddlenlp_embtune.cli._console import print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import JsonOption
from paddlenlp_embtune.cli._terminal import out
from paddlenlp_embtune.data.domains import DomainReport, compare_domains, read_domain

__all__ = ["domains"]


@reads_data(labels=True)
def domains(
    data_format: DataFormat,
    source: Annotated[Path, typer.Argument(help="Set that a model is trained on: labelled rows, or texts.")],
    target: Annotated[Path, typer.Argument(help="Set that it is used on, with or without labels.")],
    terms: Annotated[int, typer.Option(min=0, help="Terms of each side that are listed.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of draws and folds.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare two domains: distance, terms, lengths, labels, and what that means for a model. Trains no model of yours."""
    sides = [read_domain(path, **data_format.for_examples()) for path in (source, target)]
    print_notes(f"{side.source}: {note}" for side in sides for note in side.notes)
    report = compare_domains(*sides, terms=terms, seed=seed)
    if as_json:
        print(json.dumps(report.plain(), ensure_ascii=False))
    else:
        _print(report)


def _print(report: DomainReport) -> None:
    sets = Table("", "file", "texts", "labels", "median length", "90% below")
    for name, side in (("first", report.first), ("second", report.second)):
        labels = ", ".join(f"{label} {share:.0%}" for label, share in (side.labels or {}).items()) or "none"
        sets.add_row(name, Path(side.path).name, f"{side.texts:,}", labels, str(side.lengths.median), str(side.lengths.p90))
    out.print(sets)
    found = Table("measure", "value")
    found.add_row("proxy A-distance (0 to 2)", f"{report.distance.a_distance:.2f}")
    found.add_row("texts told from each other", f"{report.distance.accuracy:.1%} of 2 x {report.distance.texts:,}")
    found.add_row(f"running {report.terms.unit} of the second that the first lacks", f"{report.terms.unseen_words:.1%}")
    found.add_row("running characters likewise", f"{report.terms.unseen_characters:.1%}")
    found.add_row(f"divergence of {report.terms.unit} (0 to 1 bit)", f"{report.terms.divergence:.2f}")
    if report.label_shift is not None:
        found.add_row("difference of label shares (0 to 1)", f"{report.label_shift.total_variation:.2f}")
    out.print(found)
    if report.terms.of_first or report.terms.of_second:
        shifted = Table("more often in", "term", "first", "second", "log-odds", "z")
        for name, of_side in (("first", report.terms.of_first), ("second", report.terms.of_second)):
            for term in of_side:
                shifted.add_row(
                    name, term.term, f"{term.first:.1%}", f"{term.second:.1%}", f"{term.log_odds:+.2f}", f"{term.z:+.1f}"
                )
        out.print(shifted)
    for line in report.meaning:
        out.print(line, soft_wrap=True)
