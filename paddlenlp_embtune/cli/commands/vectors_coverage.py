"""``embtune vectors coverage``: how much of a vocabulary a source of vectors covers, before any training."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

from paddlenlp_embtune.cli._console import print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import (
    CasedOption,
    DamagedOption,
    FallbacksOption,
    FormatOption,
    JsonOption,
    MinCountOption,
    TensorOption,
    TextFileOption,
    TextRowsOption,
    TokenizerOption,
    TokensOption,
    VectorsArgument,
    VocabularyOption,
)
from paddlenlp_embtune.cli._store import folding_table, out, print_json
from paddlenlp_embtune.cli._texts import NeededTokens, only_option, printable, tokens_in_file, tokens_in_texts
from paddlenlp_embtune.cli._vector_sources import parse_fallbacks, read_options, read_source, resolve_format
from paddlenlp_embtune.embeddings.init import Coverage, Origin, TokenMatch, build_coverage, match_tokens, token_filter
from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.text import PAD, UNK, Vocabulary
from paddlenlp_embtune.training import possible_fallbacks

__all__ = ["CoverageReport", "append_rows", "coverage", "coverage_report", "print_coverage"]

_EXAMPLES = 5
_MISSING = 20
_OUTSIDE = "outside the vocabulary"
Table = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class CoverageReport:
    """How well vectors cover the tokens that are needed.

    Args:
        used: the tokens.
        coverage: of a vocabulary of them.
        matches: what was found for each token.
    """

    used: NeededTokens
    coverage: Coverage
    matches: Mapping[str, TokenMatch]

    @cached_property
    def origins(self) -> dict[str, str]:
        """Where the row of each token comes from; padding and unknown are left out."""
        pairs = zip(self.coverage.tokens, self.coverage.origins, strict=True)
        return {token: origin for token, origin in pairs if token not in (PAD, UNK)}

    def missing(self) -> list[tuple[str, int | None]]:
        """Return tokens without a row and how often they occur, the most frequent first, or in their order without texts."""
        counts = self.used.counts
        if counts is None:
            return [(token, None) for token in self.coverage.missing]
        lacking = (token for token in counts if self.origins.get(token, Origin.SAMPLED) == Origin.SAMPLED)
        return [(token, counts[token]) for token in sorted(lacking, key=lambda token: (-counts[token], token))]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each origin: vocabulary, running tokens, examples."""
        amounts, running = Counter(self.origins.values()), Counter[str]()
        for token, count in (self.used.counts or {}).items():
            running[self.origins.get(token, _OUTSIDE)] += count
        examples, total = self.coverage.examples(), running.total()
        found = []
        for origin in [*dict(amounts.most_common()), *([_OUTSIDE] if _OUTSIDE in running else [])]:
            alike = [token for token, own in self.origins.items() if own == origin][:_EXAMPLES]
            found.append(
                {
                    "origin": origin,
                    "rows": amounts[origin],
                    "share": amounts[origin] / len(self.origins),
                    "running_tokens": running[origin] if total else None,
                    "running_share": running[origin] / total if total else None,
                    "examples": examples.get(origin, alike),
                }
            )
        return found

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        counts, missing = self.used.counts, self.missing()
        return {
            "source": self.coverage.source,
            "tokenizer": self.used.tokenizer,
            "texts": self.used.texts,
            "vocabulary": len(self.origins),
            "found": self.coverage.found,
            "approximated": self.coverage.approximated,
            "running": self.coverage.running(counts) if counts is not None else None,
            "origins": self.rows(),
            "missing": [{"token": token, "count": count} for token, count in missing[:_MISSING]],
            "missing_tokens": len(missing),
        }

    def composed(self, vectors: VectorTable) -> dict[str, Table]:
        """Return the rows that the vectors composed out of subwords, by the token."""
        made = {token: match.row for token, match in self.matches.items() if match.origin == Origin.SUBWORDS}
        return {token: row for token, row in made.items() if token not in vectors.rows}


@reads_data(labels=False)
def coverage(
    data_format: DataFormat,
    file: VectorsArgument,
    data: TextRowsOption = None,
    texts: TextFileOption = None,
    keep_vocabulary: Annotated[Optional[Path], typer.Option(help="File of tokens, one per line, instead of texts.")] = None,
    tokenizer: TokenizerOption = None,
    vocabulary: VocabularyOption = None,
    min_count: MinCountOption = 1,
    cased: CasedOption = False,
    fallbacks: FallbacksOption = None,
    damaged: DamagedOption = "refuse",
    format: FormatOption = None,  # noqa: A002
    tokens: TokensOption = None,
    tensor: TensorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the row of each token would come from, and how much of the texts that covers. Trains nothing."""
    kind = only_option(data=data, texts=texts, keep_vocabulary=keep_vocabulary)
    if kind is None:
        raise RecipeError("pass one of --data ROWS, --texts TEXTS or --keep-vocabulary TOKENS")
    source = data or texts
    if source is None and (tokenizer is not None or vocabulary is not None or min_count > 1 or cased):
        raise RecipeError(
            "--tokenizer, --vocabulary, --min-count and --cased set how texts are read; add --data or --texts, or omit them"
        )
    tried, found = parse_fallbacks(fallbacks, tokenizer), resolve_format(file, format)
    if source is not None:
        used = tokens_in_texts(
            source,
            data_format,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            min_count=min_count,
            cased=cased,
        )
    else:
        assert keep_vocabulary is not None
        used = tokens_in_file(keep_vocabulary)
    options = read_options(found, token_filter(used.tokens, tried), tokens, tensor, damaged)
    vectors = read_source(file, f"reading {file}", options)
    seen = coverage_report(used, vectors, possible_fallbacks(tried, vectors, asked=fallbacks is not None))
    print_notes(vectors.notes)
    if as_json:
        print_json({**seen.plain(), "format": found, "width": vectors.dimension, "notes": list(vectors.notes)})
    else:
        print_coverage(seen, out)


def coverage_report(used: NeededTokens, vectors: VectorTable, fallbacks: Sequence[str]) -> CoverageReport:
    """Look up every token and report where its row comes from."""
    ordinary = [token for token in used.tokens if token not in (PAD, UNK)]
    matches = match_tokens(ordinary, vectors, fallbacks)
    known = Vocabulary([PAD, UNK, *ordinary])
    return CoverageReport(
        used, build_coverage(known, vectors.source, matches, unknown=vectors.unknown_row is not None), matches
    )


def append_rows(table: Table, rows: Sequence[Table]) -> Table:
    """Return a table with further rows behind its last."""
    return np.concatenate([table, np.stack(rows).astype(np.float32)])


def print_coverage(seen: CoverageReport, console: Console) -> None:
    """Print a coverage report as tables."""
    told = seen.plain()
    where = f"{told['texts']:,} texts, by {told['tokenizer']}: " if told["tokenizer"] else ""
    console.print(f"{where}{told['vocabulary']:,} tokens; {told['source']}", markup=False, soft_wrap=True)
    table = folding_table("row from", "tokens", "share", "of the running text", "examples")
    for row in told["origins"]:
        running = "" if row["running_share"] is None else f"{row['running_share']:.2%}"
        examples = "  ".join(
            " ".join(map(printable, example.split(" "))) if " <- " in example else printable(example)
            for example in row["examples"]
        )
        table.add_row(row["origin"], f"{row['rows']:,}", f"{row['share']:.1%}", running, examples)
    console.print(table)
    if told["missing"]:
        what = "tokens" if told["tokenizer"] is None else "tokens of the texts"
        listed = (printable(row["token"]) + ("" if row["count"] is None else f" {row['count']:,}") for row in told["missing"])
        first = "  ".join(listed)
        console.print(f"{told['missing_tokens']:,} {what} without a row, first: {first}", markup=False, soft_wrap=True)
