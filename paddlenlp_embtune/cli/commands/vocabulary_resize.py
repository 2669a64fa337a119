"""``embtune vocabulary extend`` and ``embtune vocabulary cut``: a trained bundle with more tokens, or with fewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._console import err, print_event, print_notes
from paddlenlp_embtune.cli._options import (
    ColumnOption,
    EncodingOption,
    JsonOption,
    LabelledOption,
    LabelOption,
    OverwriteOption,
    QuotingOption,
)
from paddlenlp_embtune.cli._store import load_examples_for, locked_target, open_bundle, print_json
from paddlenlp_embtune.cli._texts import load_texts, only_option, printable
from paddlenlp_embtune.cli._vector_sources import read_options, read_source, resolve_format, size_in_bytes
from paddlenlp_embtune.embeddings.init import token_filter as known_names
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.text import read_term_list
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.export import Resized

__all__ = ["add_to"]

_SHOWN = 20

BundleArgument = Annotated[Path, typer.Argument(help="Folder of a bundle, or of its run.")]
OutOption = Annotated[Path, typer.Option("--out", help="Write the new bundle here.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("extend")(extend)
    app.command("cut")(cut)


def extend(
    bundle: BundleArgument,
    terms: Annotated[Path, typer.Option(help="Terms to add, one a line, or a dictionary in jieba's format.")],
    to: OutOption,
    overwrite: OverwriteOption = False,
    data: LabelledOption = None,
    vectors: Annotated[
        Optional[str], typer.Option(help="Pretrained vectors, for the rows of terms that they have; a file, a folder, or lac.")
    ] = None,
    text_column: ColumnOption = "text",
    label_column: LabelOption = "label",
    encoding: EncodingOption = None,
    quoting: QuotingOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Give terms tokens and rows of their own in a bundle; all old rows stay as they are, and every engine is proven anew."""
    with locked_target(to, overwrite=overwrite):
        opened, listed = open_bundle(bundle), read_term_list(terms)
        wanted = listed.terms
        print_notes(listed.remarks())
        before = _size(opened)
        labelled = _labelled(opened, data, text_column, label_column, encoding=encoding, quoting=quoting)
        table = None
        if vectors is not None:
            keep = known_names([*opened.vocabulary.tokens, *wanted])
            options = read_options(resolve_format(vectors, None), keep, None, None, "refuse")
            table = read_source(vectors, "vectors", options)
        _prepare()
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


def cut(
    bundle: BundleArgument,
    to: OutOption,
    overwrite: OverwriteOption = False,
    texts: Annotated[Optional[Path], typer.Option(help="Texts of the domain, one a line: .txt.")] = None,
    data: Annotated[
        Optional[Path], typer.Option(help="Rows whose texts are the domain's: .tsv, .csv, .json or .jsonl.")
    ] = None,
    min_count: Annotated[
        int, typer.Option(min=1, help="Drop tokens that the texts have fewer times, unless they are single characters.")
    ] = 1,
    check_data: LabelledOption = None,
    text_column: ColumnOption = "text",
    label_column: LabelOption = "label",
    encoding: EncodingOption = None,
    quoting: QuotingOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Take the tokens and rows that a domain does not use out of a bundle; every engine is proven anew."""
    if only_option(texts=texts, data=data) is None:
        raise RecipeError("say what the vocabulary must serve: --texts TEXTS or --data ROWS")
    with locked_target(to, overwrite=overwrite):
        opened = open_bundle(bundle)
        before = _size(opened)
        domain = load_texts(texts or data or Path(), text_column, encoding=encoding, quoting=quoting)
        labelled = _labelled(opened, check_data, text_column, label_column, encoding=encoding, quoting=quoting)
        _prepare()
        from paddlenlp_embtune.export import cut_bundle
        from paddlenlp_embtune.text import PrunedTokenizer

        done = cut_bundle(opened, to, domain, min_count=min_count, **labelled)
        assert isinstance(done.change, PrunedTokenizer)
        change = done.change
        figures = ("texts", "resegmented", "unknown_before", "unknown_after")
        told: dict[str, Any] = {"dropped": list(change.dropped), **{name: getattr(change, name) for name in figures}}
        _say(f"dropped {len(change.dropped):,} tokens", told["dropped"])
        err.print(
            f"{change.texts:,} texts: {change.resegmented:,} are cut otherwise than before; unknown "
            f"{change.unknown_before:.3%} -> {change.unknown_after:.3%}"
        )
        _finish(done, before, told, as_json=as_json)


def _labelled(
    bundle: Bundle, data: Path | None, text_column: str, label_column: str, *, encoding: str | None, quoting: str
) -> dict[str, Any]:
    if data is None:
        return {}
    rows = load_examples_for(bundle, data, text_column, label_column, encoding=encoding, quoting=quoting)
    return {"texts": rows.texts, "labels": rows.labels}


def _prepare() -> None:
    compat.require_paddle()
    compat.quiet_logging()


def _size(bundle: Bundle) -> dict[str, int]:
    return {"tokens": len(bundle.vocabulary), "bytes": size_in_bytes(bundle.path) or 0}


def _say(what: str, named: list[str]) -> None:
    if named:
        more = " ..." if len(named) > _SHOWN else ""
        err.print(f"{what}: {' '.join(map(printable, named[:_SHOWN]))}{more}", markup=False, soft_wrap=True)


def _finish(done: Resized, before: dict[str, int], told: dict[str, Any], *, as_json: bool) -> None:
    """Say what every change has in common, and print the place of the bundle, or all as JSON."""
    path, after = done.bundle.path, _size(done.bundle)
    for engine, record in done.bundle.manifest.parity.items():
        print_event({"event": "parity", "engine": engine, **to_plain(record)})
    print_notes(done.notes)
    megabytes = " -> ".join(f"{size['bytes'] / 1e6:.2f}" for size in (before, after))
    err.print(f"tokens {before['tokens']:,} -> {after['tokens']:,}, bundle {megabytes} MB")
    err.print(
        f"to train on, write model: {{start: {path}}} into a recipe, then: embtune train RECIPE --out RUN",
        markup=False,
        soft_wrap=True,
    )
    if as_json:
        print_json({"bundle": str(path), **told, "before": before, "after": after, "notes": list(done.notes)})
    else:
        print(path)
