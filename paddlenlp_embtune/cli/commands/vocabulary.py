"""``embtune vocabulary``: comparing tokenizers, proposing terms, and bundles with more or fewer tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.markup import escape

from paddlenlp_embtune.cli._console import err, print_notes, progress_bar
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import (
    CasedOption,
    JsonLinesOption,
    JsonOption,
    OverwriteOption,
    TextFileOption,
    TextRowsOption,
)
from paddlenlp_embtune.cli._store import folding_table, open_bundle, out, print_json
from paddlenlp_embtune.cli._texts import load_texts, only_option, printable, read_tokens
from paddlenlp_embtune.cli.commands import vocabulary_resize
from paddlenlp_embtune.data import stream_texts
from paddlenlp_embtune.errors import DataError, MissingDependencyError, RecipeError
from paddlenlp_embtune.text import (
    Proposal,
    Tokenizer,
    build_tokenizer,
    common_words,
    compare_tokenizers,
    describe_unused_terms,
    propose_terms,
    read_term_list,
    unused_terms,
)
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = ["app"]

_PIECES = 8000
_BUILT = ("char", "word", "sentencepiece")

app = typer.Typer(
    name="vocabulary",
    help="Vocabularies: compare tokenizers, propose domain terms, add tokens to a bundle or remove them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("compare")
@reads_data(labels=False)
def compare(
    data_format: DataFormat,
    data: TextRowsOption = None,
    texts: TextFileOption = None,
    terms: Annotated[Optional[Path], typer.Option(help="Terms, one per line; shows how many stay whole.")] = None,
    vocabulary: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME=FILE",
            help="A vocab.txt (wordpiece) or .model file (sentencepiece); repeat for more.",
        ),
    ] = None,
    pieces: Annotated[
        Optional[int],
        typer.Option(min=0, help=f"Size of the SentencePiece model to train, {_PIECES:,} by default; 0 trains none."),
    ] = None,
    min_count: Annotated[int, typer.Option(min=1, help="Drop characters and words rarer than this.")] = 1,
    max_length: Annotated[Optional[int], typer.Option(min=1, help="Also show the share of texts with more tokens.")] = None,
    cased: CasedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare tokenizers on the same texts: lengths, unknown tokens, terms kept whole, and speed."""
    if only_option(data=data, texts=texts) is None:
        raise RecipeError("pass the texts to compare on: --data ROWS or --texts TEXTS")
    files = _named_files(vocabulary or ())
    listed = read_term_list(terms) if terms is not None else None
    wanted = listed.terms if listed is not None else ()
    read = load_texts(data or texts or Path(), data_format)
    if listed is not None:
        unused = unused_terms(wanted, read, lowercase=not cased)
        print_notes(
            [*listed.remarks(), *([describe_unused_terms(listed.path.name, unused, len(set(wanted)))] if unused else ())]
        )
    built = _built(read, pieces=pieces, min_count=min_count, cased=cased)
    for name, file in files.items():
        kind = "sentencepiece" if file.suffix == ".model" else "wordpiece"
        built[name] = build_tokenizer(kind, texts=(), lowercase=not cased, vocabulary_file=file)
    rows = compare_tokenizers(built, read, terms=wanted, max_length=max_length)
    if as_json:
        print_json({"texts": len(read), "terms": len(wanted), "tokenizers": rows})
        return
    _show(rows)
    own = [name for name in _BUILT if name in built]
    err.print(f"built from these texts: {', '.join(own)}; they cover other texts less well", soft_wrap=True)
    if wanted:
        err.print("every tokenizer keeps whole the terms that a recipe lists as text.terms", soft_wrap=True)


@app.command("propose")
@reads_data(labels=False)
def propose(
    data_format: DataFormat,
    texts: Annotated[Path, typer.Option(help="Unlabelled texts of the domain, the more the better: .txt, or rows.")],
    background: Annotated[
        Optional[Path], typer.Option(help="Texts of other domains; proposes only what is more frequent in this one.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Maximum number of proposals.")] = 200,
    least_count: Annotated[int, typer.Option(min=2, help="Ignore strings rarer than this.")] = 10,
    max_characters: Annotated[int, typer.Option(min=2, help="Maximum characters of a term.")] = 8,
    all_words: Annotated[bool, typer.Option("--all", help="Also propose words of jieba's dictionary.")] = False,
    known: Annotated[Optional[Path], typer.Option(help="Leave out these tokens, one per line, such as a vocab.txt.")] = None,
    bundle: Annotated[Optional[Path], typer.Option(help="Leave out the tokens of this bundle, or run.")] = None,
    to: Annotated[Optional[Path], typer.Option("--out", help="Also write the terms to this file, one per line.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Propose domain terms: cohesive, free-standing strings that no general dictionary has."""
    only_option(known=known, bundle=bundle)
    if to is not None and to.exists() and not overwrite:
        raise DataError(f"{to} already exists; replace it with --overwrite, or choose another name")
    tokens = frozenset(read_tokens(known)) if known is not None else frozenset[str]()
    if bundle is not None:
        tokens = frozenset(open_bundle(bundle).vocabulary.tokens)
    if not all_words:
        tokens |= common_words()
    with progress_bar("counting") as progress:
        found = propose_terms(
            stream_texts(texts, **data_format.for_texts()),
            known=tokens,
            background=stream_texts(background, **data_format.for_texts()) if background is not None else (),
            min_count=least_count,
            max_terms=most,
            max_characters=max_characters,
            progress=progress,
        )
    if not found:
        raise DataError(f"{texts} contains no term that occurs {least_count} times; give more texts, or lower --least-count")
    if to is not None:
        write_text(to, "".join(f"{proposal.term}\n" for proposal in found))
    if as_json:
        for proposal in found:
            print(json.dumps(dataclasses.asdict(proposal), ensure_ascii=False))
    else:
        _show_proposals(found)
    if to is not None:
        err.print(
            f"{len(found)} terms: {to}; review them, delete wrong ones, then use the file as text.terms",
            markup=False,
            soft_wrap=True,
        )


def _named_files(given: Sequence[str]) -> Mapping[str, Path]:
    """Read ``NAME=FILE``.

    Raises:
        RecipeError: it is of another form, or a name is taken.
    """
    files: dict[str, Path] = {}
    for each in given:
        name, sign, file = each.partition("=")
        if not (name and sign and file):
            raise RecipeError(f"--vocabulary is {each!r}; expected NAME=FILE, such as ernie=vocab.txt")
        if name in files or name in _BUILT:
            raise RecipeError(
                f"--vocabulary uses the name {name!r}, which is taken; choose another one, none of {', '.join(_BUILT)}"
            )
        files[name] = Path(file)
    return files


def _built(texts: Sequence[str], *, pieces: int | None, min_count: int, cased: bool) -> dict[str, Tokenizer]:
    """Build the tokenizers that are made from the texts; leave out one whose package is not installed."""
    built: dict[str, Tokenizer] = {}
    for name in _BUILT:
        trained = name == "sentencepiece"
        if trained and pieces == 0:
            continue
        size = (pieces or _PIECES) if trained else None
        try:
            built[name] = build_tokenizer(name, texts=texts, lowercase=not cased, min_count=min_count, size=size)
        except (MissingDependencyError, DataError) as error:
            # Fail only for a size that was asked for.
            if isinstance(error, DataError) and not (trained and pieces is None):
                raise
            err.print(f"[yellow]note:[/] {name} left out: {escape(str(error))}", markup=True, soft_wrap=True)
    return built


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    limit = rows[0]["max_length"]
    further = [] if limit is None else [f"over {limit}"]
    terms = ["terms whole"] if rows[0]["terms"] else []
    table = folding_table("tokenizer", "tokens", "length: mean, 95%, most", *further, "unknown", *terms, "texts/s")
    for row in rows:
        length = f"{row['tokens_mean']:.1f}, {row['tokens_p95']:.0f}, {row['tokens_max']}"
        cells = [row["name"], f"{row['vocabulary']:,}", length]
        cells += [f"{row['longer_than_max_length']:.1%}"] if further else []
        cells += [f"{row['unknown_rate']:.3%}"]
        cells += [f"{row['terms_whole']:.1%}"] if terms else []
        table.add_row(*cells, f"{row['texts_per_second']:,.0f}")
    out.print(table)
    for row in rows if terms else ():
        cut = ", ".join(f"{each['term']}: {' '.join(map(printable, each['pieces']))}" for each in row["terms_cut"])
        err.print(f"{row['name']} splits {cut or 'no term'}", markup=False, soft_wrap=True)


def _show_proposals(found: Sequence[Proposal]) -> None:
    contrast = found[0].contrast is not None
    table = folding_table("term", "count", "cohesion", "freedom", *(["contrast"] if contrast else []), "score")
    for each in found:
        cells = [each.term, f"{each.count:,}", f"{each.cohesion:.2f}", f"{each.freedom:.2f}"]
        table.add_row(*cells, *([f"{each.contrast:.1f}"] if contrast else []), f"{each.score:.1f}")
    out.print(table)


app.command("extend")(vocabulary_resize.extend)
app.command("cut")(vocabulary_resize.cut)
