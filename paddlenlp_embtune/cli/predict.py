"""``embtune predict``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.data import read_texts, split_lines
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.serving import Predictor

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    data: Annotated[
        Optional[Path],
        typer.Option(help="Texts: .txt (one a line), .tsv, .csv, .json or .jsonl; without it, stdin, one a line."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = "text",
    engine: Annotated[str, typer.Option(help="onnxruntime, paddle_inference or paddle.")] = "onnxruntime",
    threads: Annotated[Optional[int], typer.Option(min=1, help="Threads of one run of the engine.")] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Also give the probability of every label.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line instead of label, tab, score, tab, text.")
    ] = False,
) -> None:
    """Label texts: one answer a line, in the order of the input, blanks included."""
    predictor = Predictor(bundle, engine=engine, threads=threads)
    texts = read_texts(data, text_column=text_column) if data is not None else _standard_input()
    for result in predictor.predict(texts, scores=scores):
        if as_json:
            print(json.dumps(result, ensure_ascii=False))
        else:
            shown = " ".join(result["text"].split())
            print(f"{result['label'] or ''}\t{result['score']:.4f}\t{shown}")


def _standard_input() -> list[str]:
    try:
        content = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"stdin is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from None
    return split_lines(content)
