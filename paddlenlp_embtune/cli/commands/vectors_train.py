"""``embtune vectors train``: skip-gram vectors from texts of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.cli._console import err, print_notes, progress_bar
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import CasedOption, JsonOption, OverwriteOption
from paddlenlp_embtune.cli._store import print_json
from paddlenlp_embtune.cli._texts import load_texts
from paddlenlp_embtune.cli._vector_sources import read_options, read_source, resolve_format, size_in_bytes
from paddlenlp_embtune.cli.commands import vectors_convert
from paddlenlp_embtune.embeddings.init import token_filter
from paddlenlp_embtune.embeddings.io import VectorTable, write_vectors
from paddlenlp_embtune.embeddings.skipgram import SkipGramConfig, SkipGramResult, train_skipgram
from paddlenlp_embtune.errors import RecipeError, VectorError, expected_names
from paddlenlp_embtune.text import build_tokenizer
from paddlenlp_embtune.training import possible_fallbacks, usual_fallbacks
from paddlenlp_embtune.utils.files.locks import exclusive_lock

__all__ = ["train"]

_TOKENIZERS = ("char", "word")
_NGRAMS = {"char": (0, 0), "word": (1, 3)}


@reads_data(labels=False)
def train(
    data_format: DataFormat,
    texts: Annotated[list[Path], typer.Argument(help="Texts of the domain, one per line in a .txt file, or rows.")],
    target: Annotated[Path, typer.Option("--out", help="File to write, for vectors.source; its extension sets the format.")],
    tokenizer: Annotated[str, typer.Option(help=f"Tokenizer: {' or '.join(_TOKENIZERS)}, as in the recipe.")] = "char",
    width: Annotated[int, typer.Option(help="Dimensions of a vector.")] = 128,
    epochs: Annotated[int, typer.Option(help="Passes over the texts.")] = 5,
    window: Annotated[int, typer.Option(help="Largest distance between tokens that predict each other.")] = 5,
    negatives: Annotated[int, typer.Option(help="Negative samples per pair.")] = 5,
    min_count: Annotated[int, typer.Option(help="Drop tokens rarer than this.")] = 2,
    start: Annotated[
        Optional[str], typer.Option(metavar="SOURCE", help="Vectors to continue from: a file, a bundle, or lac.")
    ] = None,
    to: Annotated[Optional[str], typer.Option(help="Format of the file; by default that of its extension.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    cased: CasedOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train token vectors on unlabelled texts with skip-gram, for words with n-grams of 1 to 3 characters."""
    if tokenizer not in _TOKENIZERS:
        raise RecipeError(f"--tokenizer is {tokenizer!r}; {expected_names(tokenizer, _TOKENIZERS)}")
    form = vectors_convert.target_format(target, to, overwrite=overwrite)
    shortest, longest = _NGRAMS[tokenizer]
    settings = SkipGramConfig(
        width=width,
        epochs=epochs,
        window=window,
        negatives=negatives,
        min_count=min_count,
        shortest=shortest,
        longest=longest,
        seed=seed,
    )
    read = [text for file in texts for text in load_texts(file, data_format)]
    # Words that are too rare are split into characters, as the recipe's tokenizer does.
    built = build_tokenizer(tokenizer, texts=read, lowercase=not cased, min_count=min_count)
    first, fallbacks = (None, None) if start is None else _start(start, tokenizer, built.vocabulary.tokens)
    with progress_bar("learning") as progress:
        cut = map(built.tokens, read)
        trained = train_skipgram(cut, settings, start=first, fallbacks=fallbacks, progress=progress)
    with exclusive_lock(target, error=VectorError):
        vectors_convert.target_format(target, to, overwrite=overwrite)  # another command may have written there meanwhile
        write_vectors(target, list(trained.vectors.rows), trained.vectors.table, format=form)
    told = _told(trained, len(read), target, form)
    if as_json:
        print_json(told)
    else:
        _show(told)


def _start(source: str, tokenizer: str, needed: Sequence[str]) -> tuple[VectorTable, list[str]]:
    """Read the rows that the texts can use, and return the fallbacks for tokens without one."""
    fallbacks = usual_fallbacks(tokenizer)
    keep = token_filter(needed, fallbacks)
    vectors = read_source(source, f"reading {source}", read_options(resolve_format(source, None), keep, None, None, "refuse"))
    print_notes(vectors.notes)
    return vectors, possible_fallbacks(fallbacks, vectors, asked=False)


def _told(trained: SkipGramResult, texts: int, target: Path, form: str) -> dict[str, Any]:
    started = trained.started
    return {
        "target": str(target),
        "format": form,
        "bytes": size_in_bytes(target),
        "texts": texts,
        "tokens": trained.tokens,
        "rows": len(trained.vectors.rows),
        "width": trained.vectors.dimension,
        "rare": trained.rare,
        "losses": [round(loss, 4) for loss in trained.losses],
        "seconds": round(trained.seconds, 1),
        "start": None if started is None else {"source": started.source, "origins": started.counts()},
    }


def _show(told: dict[str, Any]) -> None:
    if (start := told["start"]) is not None:
        origins = ", ".join(f"{count} {origin}" for origin, count in start["origins"].items())
        err.print(f"started from {start['source']}: {origins}", markup=False)
    err.print(
        f"{told['texts']:,} texts, {told['tokens']:,} running tokens -> {told['rows']:,} rows of width {told['width']}; "
        f"{told['rare']:,} rare tokens left out; {told['seconds']:.0f} s",
        markup=False,
    )
    err.print("loss of a pair, by epoch: " + " ".join(f"{loss:.3f}" for loss in told["losses"]), markup=False)
    print(told["target"])
