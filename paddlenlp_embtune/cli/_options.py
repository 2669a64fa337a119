"""Options that several commands have, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.embeddings.init import FALLBACKS
from paddlenlp_embtune.text import TOKENIZERS

__all__ = [
    "CasedOption",
    "ColumnOption",
    "DamagedOption",
    "EncodingOption",
    "FallbacksOption",
    "FormatOption",
    "JsonOption",
    "LabelOption",
    "LabelledOption",
    "LeastOption",
    "MaybeQuotingOption",
    "OverwriteOption",
    "QuotingOption",
    "StoreOption",
    "TensorOption",
    "TokenizerOption",
    "TokensOption",
    "VocabularyOption",
]

FormatOption = Annotated[Optional[str], typer.Option("--format", help="Format of the vectors; by default found by content.")]
TokensOption = Annotated[Optional[Path], typer.Option(help="Tokens of an array that holds none, one a line.")]
TensorOption = Annotated[Optional[str], typer.Option(help="Name of the table in a file that holds several.")]
DamagedOption = Annotated[str, typer.Option(help="What becomes of damaged rows: refuse (the file) or skip (and count them).")]
TokenizerOption = Annotated[Optional[str], typer.Option(help=f"What cuts the texts: {', '.join(TOKENIZERS)}; char by default.")]
VocabularyOption = Annotated[Optional[Path], typer.Option(help="vocab.txt of wordpiece, or .model file of sentencepiece.")]
LeastOption = Annotated[int, typer.Option("--min-count", min=1, help="Leave tokens out that the texts have fewer times.")]
CasedOption = Annotated[bool, typer.Option("--cased", help="Do not fold case.")]
ColumnOption = Annotated[str, typer.Option(help="Column or key of the text.")]
FallbacksOption = Annotated[
    Optional[str],
    typer.Option(
        help=f"What is tried for a token without a row, in order, with commas: {', '.join(FALLBACKS)}; or none. By default "
        "as in training."
    ),
]
EncodingOption = Annotated[
    Optional[str],
    typer.Option(help="Encoding of the data, such as gb18030 or big5; by default UTF-8, or another where that is plain."),
]
_QUOTES = (
    "What double quotes in TSV and CSV data are: quotes around fields (csv), text (none), or what the file looks like (auto)."
)
QuotingOption = Annotated[str, typer.Option(metavar="auto|csv|none", help=_QUOTES)]
MaybeQuotingOption = Annotated[Optional[str], typer.Option(metavar="auto|csv|none", help=_QUOTES)]
LabelOption = Annotated[str, typer.Option(help="Column or key of the label.")]
LabelledOption = Annotated[
    Optional[Path], typer.Option(help="Labelled rows that the model was not trained on, to calibrate and measure with.")
]
StoreOption = Annotated[
    Optional[Path], typer.Option(help="Folder of the store, or of its run; by default that of the run, or of this folder.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
