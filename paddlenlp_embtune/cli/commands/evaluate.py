"""``embtune evaluate``: the metrics of a bundle on labelled rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._console import err, per_class_table, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import BundleArgument, EngineOption, JsonOption, SkipEmptyOption
from paddlenlp_embtune.cli._retrieval import evaluate_retrieval, retrieval_table
from paddlenlp_embtune.cli._texts import load_examples, require_known_labels
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.evaluation import classification_report
from paddlenlp_embtune.inference import Predictor

__all__ = ["evaluate"]


@reads_data(labels=True)
def evaluate(
    data_format: DataFormat,
    bundle: BundleArgument,
    data: Annotated[Optional[Path], typer.Option(help="File of labelled rows.")] = None,
    engine: EngineOption = "onnxruntime",
    precision: Annotated[str, typer.Option(help="Precision: fp32, or one that the bundle has.")] = "fp32",
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads of the engine.")] = None,
    skip_empty: SkipEmptyOption = False,
    retrieval: Annotated[
        bool, typer.Option("--retrieval", help="Measure how well the sentence vectors find rows of the same label, or pairs.")
    ] = False,
    index: Annotated[
        Optional[Path],
        typer.Option(help="Labelled rows that --data is searched in, for --retrieval; by default the other rows of --data."),
    ] = None,
    pairs: Annotated[
        Optional[Path],
        typer.Option(help="Pairs (anchor, positive, negative) or scored pairs (sentence1, sentence2, score), for --retrieval."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Rows that recall and nDCG look at, for --retrieval.")] = 10,
    dimensions: Annotated[
        Optional[int], typer.Option(min=1, help="Keep the first so many values of a vector, for --retrieval.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on labelled rows, or its sentence vectors with --retrieval."""
    if retrieval:
        with Predictor(bundle, engine=engine, precision=precision, num_threads=threads) as searching:
            found = evaluate_retrieval(
                searching,
                data_format,
                data=data,
                index=index,
                pairs=pairs,
                k=k,
                dimensions=dimensions,
                skip_empty=skip_empty,
            )
        shown = {"engine": engine, "bundle": str(bundle), "data": str(data or pairs)}
        print(json.dumps({**found, **shown}, ensure_ascii=False)) if as_json else err.print(retrieval_table(found))
        return
    if data is None or index is not None or pairs is not None or dimensions is not None:
        raise RecipeError("give --data FILE of labelled rows; --index, --pairs and --dimensions go with --retrieval")
    rows = load_examples(data, data_format, skip_empty=skip_empty)
    predictor = Predictor(bundle, engine=engine, precision=precision, num_threads=threads)
    number = {label: index for index, label in enumerate(predictor.labels)}
    require_known_labels(rows, predictor.labels)
    predicted = predictor.probabilities(rows.texts).argmax(axis=1).tolist()
    report = classification_report([number[label] for label in rows.labels], predicted, predictor.labels)
    if cut := predictor.count_cut(rows.texts):
        most = predictor.bundle.manifest.max_length
        told = f"{cut:,} of {len(rows):,} texts have more than the {most} tokens that the model reads and were cut"
        print_notes([told])
    answer = {**report, "cut": cut, "engine": engine, "bundle": str(bundle), "data": str(data)}
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        err.print(per_class_table(answer))
