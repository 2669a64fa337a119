"""``embtune evaluate``: the metrics of a bundle on labelled rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.cli._console import err, per_class_table, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import BundleArgument, EngineOption, JsonOption, SkipEmptyOption
from paddlenlp_embtune.cli._retrieval import evaluate_retrieval, retrieval_table
from paddlenlp_embtune.cli._task_table import measured_sets, named_files, sets_table
from paddlenlp_embtune.cli._texts import load_examples, require_known_labels
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.evaluation import measures_of
from paddlenlp_embtune.inference import Predictor

__all__ = ["evaluate"]


@reads_data(labels=True)
def evaluate(
    data_format: DataFormat,
    bundle: BundleArgument,
    data: Annotated[
        Optional[list[str]],
        typer.Option(help="File of labelled rows; several as NAME=FILE each, such as the tasks that a model has learnt."),
    ] = None,
    former: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Bundle from before, first task first; one for each NAME=FILE but the last gives the matrix of accuracies, "
            "transfer and forgetting."
        ),
    ] = None,
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
    files = named_files(data or ())
    several = len(files) > 1 or bool(former)
    if retrieval and not several:
        file = next(iter(files.values()), None)
        with Predictor(bundle, engine=engine, precision=precision, num_threads=threads) as searching:
            found = evaluate_retrieval(
                searching,
                data_format,
                data=file,
                index=index,
                pairs=pairs,
                k=k,
                dimensions=dimensions,
                skip_empty=skip_empty,
            )
        shown = {"engine": engine, "bundle": str(bundle), "data": str(file or pairs)}
        print(json.dumps({**found, **shown}, ensure_ascii=False)) if as_json else err.print(retrieval_table(found))
        return
    if not files or retrieval or index is not None or pairs is not None or dimensions is not None:
        raise RecipeError(
            "give --data FILE of labelled rows; --index, --pairs and --dimensions go with --retrieval, which takes one --data"
        )
    options: dict[str, Any] = {"engine": engine, "precision": precision, "num_threads": threads}
    if several:
        answer = measured_sets([*(former or ()), bundle], files, data_format, skip_empty=skip_empty, **options)
    else:
        (file,) = files.values()
        answer = _measured(file, data_format, bundle, skip_empty=skip_empty, **options)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        err.print(sets_table(answer) if several else per_class_table(answer))


def _measured(data: Path, data_format: DataFormat, bundle: Path, *, skip_empty: bool, **options: Any) -> dict[str, Any]:
    predictor = Predictor(bundle, **options)
    rows = load_examples(data, data_format, skip_empty=skip_empty, several=predictor.kind.several)
    require_known_labels(rows, predictor.labels)
    scores = predictor.probabilities(rows.texts)
    truth = predictor.kind.encode(rows.labels_of_rows, predictor.labels)
    decided = predictor.kind.decide(scores, predictor.thresholds)
    report = measures_of(predictor.kind, predictor.labels).report(truth, decided, scores)
    if cut := predictor.count_cut(rows.texts):
        most = predictor.bundle.manifest.max_length
        told = f"{cut:,} of {len(rows):,} texts have more than the {most} tokens that the model reads and were cut"
        print_notes([told])
    return {**report, "cut": cut, "engine": options["engine"], "bundle": str(bundle), "data": str(data)}
