"""``embtune vocabulary extend`` and ``embtune vocabulary cut``: a trained bundle with more tokens, or with fewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import (
    BundleOrRunArgument,
    CalibrationRowsOption,
    JsonOption,
    NewBundleOption,
    OverwriteOption,
)
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._run_display import print_parity
from paddlenlp_embtune.cli._store import load_examples_for, locked_target, open_bundle, print_json
from paddlenlp_embtune.cli._texts import load_texts, only_option, printable
from paddlenlp_embtune.cli._vector_sources import read_options, read_source, resolve_format, size_in_bytes
from paddlenlp_embtune.embeddings.init import token_filter as known_names
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.text import read_term_list

if TYPE_CHECKING:
    from paddlenlp_embtune.export import Resized

__all__ = ["cut", "extend"]

_SHOWN = 20


@reads_data(labels=True)
def extend(
    data_format: DataFormat,
    bundle: BundleOrRunArgument,
    terms: Annotated[Path, typer.Option(help="File of terms to add, one per line, or a dictionary in jieba's format.")],
    to: NewBundleOption,
    overwrite: OverwriteOption = False,
    data: CalibrationRowsOption = None,
    vectors: Annotated[
        Optional[str], typer.Option(help="Pretrained vectors that give terms their rows: a file, a folder, or lac.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add terms to a bundle as tokens with rows of their own; old rows stay unchanged, and every engine is verified again."""
    with locked_target(to, overwrite=overwrite):
        opened, listed = open_bundle(bundle), read_term_list(terms)
        wanted = listed.terms
        print_notes(listed.remarks())
        before = _size(opened)
        labelled = _labelled(opened, data, data_format)
        table = None
        if vectors is not None:
            keep = known_names([*opened.vocabulary.tokens, *wanted])
            options = read_options(resolve_format(vectors, None), keep, None, None, "refuse")
            table = read_source(vectors, "vectors", options)
        start_paddle()
        from paddlenlp_embtune.export import extend_bundle
        from paddlenlp_embtune.text import AddedTerms

        done = extend_bundle(opened, to, wanted, vectors=table, **labelled)
        assert isinstance(done.change, AddedTerms)
        change = done.change
        told: dict[str, Any] = {name: list(getattr(change, name)) for name in ("added", "known", "repeated")}
        told["origins"] = dict(done.coverage.counts()) if done.coverage is not None else {}
        for name, what in (("added", "new tokens"), ("known", "tokens already"), ("repeated", "repeated lines")):
            _say(f"{len(told[name]):,} terms are {what}", told[name])
        err.print("rows: " + ", ".join(f"{count:,} {origin}" for origin, count in told["origins"].items()), markup=False)
        _finish(done, before, told, as_json=as_json)


@reads_data(labels=True)
def cut(
    data_format: DataFormat,
    bundle: BundleOrRunArgument,
    to: NewBundleOption,
    overwrite: OverwriteOption = False,
    texts: Annotated[Optional[Path], typer.Option(help="File of texts of the domain, one per line (.txt).")] = None,
    data: Annotated[Optional[Path], typer.Option(help="File of rows of the domain.")] = None,
    min_count: Annotated[int, typer.Option(min=1, help="Drop tokens rarer than this, except single characters.")] = 1,
    check_data: CalibrationRowsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove tokens and rows that a domain does not use from a bundle; every engine is verified again."""
    if only_option(texts=texts, data=data) is None:
        raise RecipeError("pass the texts that the vocabulary must cover: --texts TEXTS or --data ROWS")
    with locked_target(to, overwrite=overwrite):
        opened = open_bundle(bundle)
        before = _size(opened)
        domain = load_texts(texts or data or Path(), data_format)
        labelled = _labelled(opened, check_data, data_format)
        start_paddle()
        from paddlenlp_embtune.export import cut_bundle
        from paddlenlp_embtune.text import PrunedTokenizer

        done = cut_bundle(opened, to, domain, min_count=min_count, **labelled)
        assert isinstance(done.change, PrunedTokenizer)
        change = done.change
        figures = ("texts", "resegmented", "unknown_before", "unknown_after")
        told: dict[str, Any] = {"dropped": list(change.dropped), **{name: getattr(change, name) for name in figures}}
        _say(f"dropped {len(change.dropped):,} tokens", told["dropped"])
        err.print(
            f"{change.texts:,} texts: {change.resegmented:,} are split differently than before; unknown "
            f"{change.unknown_before:.3%} -> {change.unknown_after:.3%}"
        )
        _finish(done, before, told, as_json=as_json)


def _labelled(bundle: Bundle, data: Path | None, data_format: DataFormat) -> dict[str, Any]:
    if data is None:
        return {}
    rows = load_examples_for(bundle, data, data_format)
    return {"texts": rows.texts, "labels": rows.labels}


def _size(bundle: Bundle) -> dict[str, int]:
    return {"tokens": len(bundle.vocabulary), "bytes": size_in_bytes(bundle.path) or 0}


def _say(what: str, named: list[str]) -> None:
    if named:
        more = " ..." if len(named) > _SHOWN else ""
        err.print(f"{what}: {' '.join(map(printable, named[:_SHOWN]))}{more}", markup=False, soft_wrap=True)


def _finish(done: Resized, before: dict[str, int], told: dict[str, Any], *, as_json: bool) -> None:
    """Print what every change has in common, and the path of the bundle, or all of it as JSON."""
    path, after = done.bundle.path, _size(done.bundle)
    print_parity(done.bundle.manifest.parity)
    print_notes(done.notes)
    megabytes = " -> ".join(f"{size['bytes'] / 1e6:.2f}" for size in (before, after))
    err.print(f"tokens {before['tokens']:,} -> {after['tokens']:,}, bundle {megabytes} MB")
    err.print(
        f"to continue training, set model: {{start: {path}}} in a recipe and run: embtune train RECIPE --out RUN",
        markup=False,
        soft_wrap=True,
    )
    if as_json:
        print_json({"bundle": str(path), **told, "before": before, "after": after, "notes": list(done.notes)})
    else:
        print(path)
