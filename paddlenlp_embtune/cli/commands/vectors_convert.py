"""``embtune vectors convert``: vector files in other formats, whole or reduced to the rows that a domain uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import (
    CasedOption,
    DamagedOption,
    FallbacksOption,
    FormatOption,
    JsonOption,
    MinCountOption,
    OverwriteOption,
    TensorOption,
    TokenizerOption,
    TokensOption,
    VocabularyOption,
)
from paddlenlp_embtune.cli._store import print_json
from paddlenlp_embtune.cli._texts import only_option, printable, tokens_in_file, tokens_in_texts
from paddlenlp_embtune.cli._vector_sources import (
    RowFilter,
    parse_fallbacks,
    read_options,
    read_source,
    resolve_format,
    size_in_bytes,
)
from paddlenlp_embtune.cli.commands import vectors_coverage
from paddlenlp_embtune.cli.commands.vectors_coverage import CoverageReport, coverage_report, print_coverage
from paddlenlp_embtune.embeddings.init import token_filter
from paddlenlp_embtune.embeddings.io import VectorTable, write_vectors
from paddlenlp_embtune.errors import RecipeError, VectorError, expected_names
from paddlenlp_embtune.text import UNK
from paddlenlp_embtune.training import possible_fallbacks
from paddlenlp_embtune.utils.files.locks import exclusive_lock

__all__ = ["convert", "target_format"]

_ENDINGS = {
    ".vec": "word2vec",
    ".txt": "word2vec",
    ".bin": "word2vec-binary",
    ".glove": "glove",
    ".npz": "npz",
    ".safetensors": "safetensors",
}
_WRITABLE = tuple(dict.fromkeys(_ENDINGS.values()))


@reads_data(labels=False)
def convert(
    data_format: DataFormat,
    source: Annotated[str, typer.Argument(metavar="IN", help="File of vectors, folder of a checkpoint, bundle, or lac.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; .gz compresses text and word2vec-binary.")],
    format: FormatOption = None,  # noqa: A002
    to: Annotated[
        Optional[str], typer.Option(help=f"Format of OUT: {', '.join(_WRITABLE)}; by default that of its extension.")
    ] = None,
    keep_vocabulary: Annotated[Optional[Path], typer.Option(help="Keep the rows of these tokens, one per line.")] = None,
    keep_texts: Annotated[Optional[Path], typer.Option(help="Keep the rows that these texts use: .txt, or rows.")] = None,
    tokenizer: TokenizerOption = None,
    vocabulary: VocabularyOption = None,
    min_count: MinCountOption = 1,
    cased: CasedOption = False,
    fallbacks: FallbacksOption = None,
    damaged: DamagedOption = "refuse",
    tokens: TokensOption = None,
    tensor: TensorOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write vectors in another format; with --keep-vocabulary or --keep-texts, only the rows needed."""
    form = target_format(target, to, overwrite=overwrite)
    kept = only_option(keep_vocabulary=keep_vocabulary, keep_texts=keep_texts)
    stated = {"tokenizer": tokenizer, "vocabulary": vocabulary, "min_count": min_count > 1 or None, "cased": cased or None}
    _refuse_without_texts(keep_texts, stated)
    if fallbacks is not None and kept is None:
        raise RecipeError("--fallbacks decides which rows are kept; add --keep-vocabulary or --keep-texts, or leave it out")
    tried, found, used = parse_fallbacks(fallbacks, tokenizer), resolve_format(source, format), None
    if keep_texts is not None:
        used = tokens_in_texts(
            keep_texts,
            data_format,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            min_count=min_count,
            cased=cased,
        )
    elif keep_vocabulary is not None:
        used = tokens_in_file(keep_vocabulary)
    seen = RowFilter(token_filter([*used.tokens, UNK], tried) if used is not None else lambda _name: True)
    keep = seen if used is not None else None
    before = size_in_bytes(Path(source))
    vectors = read_source(source, f"reading {source}", read_options(found, keep, tokens, tensor, damaged))
    told: dict[str, Any] = {
        "source": source,
        "format": found,
        "target": str(target),
        "target_format": form,
        "width": vectors.dimension,
    }
    account = (
        coverage_report(used, vectors, possible_fallbacks(tried, vectors, asked=fallbacks is not None))
        if used is not None
        else None
    )
    with exclusive_lock(target, error=VectorError):
        target_format(target, to, overwrite=overwrite)  # another command may have written there meanwhile
        written, composed = _write(vectors, account, target, form)
    told["rows"] = {"before": seen.offered if used is not None else written, "after": written, "composed": composed}
    told["bytes"] = {"before": before, "after": size_in_bytes(target)}
    told["dropped"] = {"count": seen.dropped, "first": seen.first}
    told["notes"] = [*vectors.notes, *_lost(vectors, composed)]
    told["coverage"] = account.plain() if account is not None else None
    print_notes(told["notes"])
    if as_json:
        print_json(told)
    else:
        _show_conversion(told, account)


def _refuse_without_texts(keep_texts: Path | None, stated: Mapping[str, object]) -> None:
    """Refuse options that set how texts are read where there are none."""
    stray = [f"--{name.replace('_', '-')}" for name, value in stated.items() if value is not None]
    if stray and keep_texts is None:
        raise RecipeError(f"{' and '.join(stray)} set how --keep-texts is read; add it, or leave them out")


def target_format(target: Path, to: str | None, *, overwrite: bool) -> str:
    """Return the format to write; refuse what cannot be written before anything is read.

    Raises:
        RecipeError: no format of that name, or none for that ending, can be written, or it cannot be compressed.
        VectorError: the place is taken.
    """
    packed = target.suffix.lower() == ".gz"
    ending = (target.with_suffix("") if packed else target).suffix.lower()
    if to is not None and to not in _WRITABLE:
        raise RecipeError(f"--to is {to!r}; {expected_names(to, _WRITABLE)}")
    if to is None and ending not in _ENDINGS:
        raise RecipeError(f"the extension of {target} is unknown; {expected_names(ending, _ENDINGS)}; or pass --to")
    form = to or _ENDINGS[ending]
    if packed and form in ("npz", "safetensors"):
        raise RecipeError(f"{target} cannot be compressed: {form} is read in place; choose a name without .gz")
    if target.is_dir():
        raise VectorError(f"{target} is a folder; expected the name of a file")
    if target.exists() and not overwrite:
        raise VectorError(f"{target} already exists; replace it with --overwrite, or choose another name")
    return form


def _write(vectors: VectorTable, account: CoverageReport | None, target: Path, form: str) -> tuple[int, int]:
    """Write all rows, and those that were composed of subwords; return how many rows and how many of these."""
    composed = account.composed(vectors) if account is not None else {}
    if account is not None and not account.matches:
        raise VectorError(
            f"none of the {len(account.used.tokens):,} tokens to keep has a row in {vectors.source}; check the tokenizer"
        )
    names, numbers = list(vectors.rows), list(vectors.rows.values())
    if not names and not composed:
        raise VectorError(f"{vectors.source} has no rows, only subwords; pass the tokens to compose with --keep-vocabulary")
    table = vectors.table if numbers == list(range(len(vectors.table))) else vectors.table[numbers]
    if composed:
        table = vectors_coverage.append_rows(table, list(composed.values()))
    write_vectors(target, [*names, *composed], table, format=form)
    return len(table), len(composed)


def _lost(vectors: VectorTable, composed: int) -> list[str]:
    lost = []
    if vectors.compose is not None:
        made = f"; {composed:,} rows were composed of them" if composed else ""
        lost.append(f"the subwords, of which further words can be composed, are not in the new file{made}")
    if vectors.unknown_row is not None and vectors.unknown_row not in set(vectors.rows.values()):
        lost.append("the row for unknown tokens is not in the new file, whose format has no place for it")
    return lost


def _show_conversion(told: dict[str, Any], account: CoverageReport | None) -> None:
    rows, size, dropped = told["rows"], told["bytes"], told["dropped"]
    before = "" if size["before"] is None else f"{size['before'] / 1e6:,.2f} MB -> "
    err.print(f"{rows['before']:,} rows -> {rows['after']:,} of width {told['width']}; {before}{size['after'] / 1e6:,.2f} MB")
    if dropped["count"]:
        err.print(f"dropped {dropped['count']:,} rows, first: {' '.join(map(printable, dropped['first']))}", markup=False)
    if account is not None:
        print_coverage(account, err)
    print(told["target"])
