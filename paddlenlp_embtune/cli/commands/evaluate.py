"""``embtune evaluate``: the metrics of a bundle on labelled rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from paddlenlp_embtune.cli._console import err, per_class_table, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import BundleArgument, EngineOption, JsonOption, SkipEmptyOption
from paddlenlp_embtune.cli._task_table import measured_sets, named_files, sets_table
from paddlenlp_embtune.cli._texts import load_examples, require_known_labels
from paddlenlp_embtune.evaluation import classification_report
from paddlenlp_embtune.inference import Predictor

__all__ = ["evaluate"]


@reads_data(labels=True)
def evaluate(
    data_format: DataFormat,
    bundle: BundleArgument,
    data: Annotated[
        list[str],
        typer.Option(help="File of labelled rows; several as NAME=FILE each, such as the tasks that a model has learnt."),
    ],
    former: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Bundle from before, first task first; one for each NAME=FILE but the last gives the matrix of accuracies, "
            "transfer and forgetting."
        ),
    ] = None,
    engine: EngineOption = "onnxruntime",
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads of the engine.")] = None,
    skip_empty: SkipEmptyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on labelled rows."""
    files = named_files(data)
    if len(files) > 1 or former:
        answer = measured_sets(
            [*(former or ()), bundle], files, data_format, engine=engine, num_threads=threads, skip_empty=skip_empty
        )
        if as_json:
            print(json.dumps(answer, ensure_ascii=False))
        else:
            err.print(sets_table(answer))
        return
    (file,) = files.values()
    _evaluate_one(file, data_format, bundle, engine=engine, threads=threads, skip_empty=skip_empty, as_json=as_json)


def _evaluate_one(
    data: Path, data_format: DataFormat, bundle: Path, *, engine: str, threads: int | None, skip_empty: bool, as_json: bool
) -> None:
    rows = load_examples(data, data_format, skip_empty=skip_empty)
    predictor = Predictor(bundle, engine=engine, num_threads=threads)
    number = {label: index for index, label in enumerate(predictor.labels)}
    require_known_labels(rows, predictor.labels)
    predicted = predictor.probabilities(rows.texts).argmax(axis=1).tolist()
    report = classification_report([number[label] for label in rows.labels], predicted, predictor.labels)
    if cut := predictor.count_cut(rows.texts):
        most = predictor.bundle.manifest.max_length
        told = f"{cut:,} of {len(rows):,} texts have more than the {most} tokens that the model reads and were cut"
        print_notes([told])
    answer: dict[str, Any] = {**report, "cut": cut, "engine": engine, "bundle": str(bundle), "data": str(data)}
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        err.print(per_class_table(answer))
