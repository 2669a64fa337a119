"""``embtune evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._console import err, per_class_table, print_notes
from paddlenlp_embtune.cli._options import EncodingOption, QuotingOption
from paddlenlp_embtune.cli._texts import load_examples
from paddlenlp_embtune.errors import DataError, expected_names
from paddlenlp_embtune.evaluation import classification_report
from paddlenlp_embtune.inference import Predictor

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    data: Annotated[Path, typer.Option(help="Labelled rows: .tsv, .csv, .json or .jsonl.")],
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column or key of the label.")] = "label",
    encoding: EncodingOption = None,
    quoting: QuotingOption = "auto",
    engine: Annotated[str, typer.Option(help="onnxruntime, paddle_inference or paddle.")] = "onnxruntime",
    threads: Annotated[Optional[int], typer.Option(min=1, help="Threads of one run of the engine.")] = None,
    skip_empty: Annotated[bool, typer.Option("--skip-empty", help="Leave rows with an empty text out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a bundle on labelled rows."""
    rows = load_examples(data, text_column, label_column, encoding=encoding, quoting=quoting, skip_empty=skip_empty)
    predictor = Predictor(bundle, engine=engine, num_threads=threads)
    number = {label: index for index, label in enumerate(predictor.labels)}
    for label in rows.labels:
        if label not in number:
            raise DataError(f"{data} has the label {label!r}, which the bundle does not give; {expected_names(label, number)}")
    predicted = predictor.probabilities(rows.texts).argmax(axis=1).tolist()
    report = classification_report([number[label] for label in rows.labels], predicted, predictor.labels)
    if cut := predictor.count_cut(rows.texts):
        most = predictor.bundle.manifest.max_length
        told = f"{cut:,} of {len(rows):,} texts have more than the {most} tokens that the model reads; the rest was left out"
        print_notes([told])
    answer = {**report, "cut": cut, "engine": engine, "bundle": str(bundle), "data": str(data)}
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        err.print(per_class_table(answer))
