"""``embtune evaluate``: the metrics of a bundle on labelled rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._console import err, per_class_table, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import BundleArgument, EngineOption, JsonOption, SkipEmptyOption
from paddlenlp_embtune.cli._texts import load_examples, require_known_labels
from paddlenlp_embtune.evaluation import measures_of
from paddlenlp_embtune.inference import Predictor

__all__ = ["evaluate"]


@reads_data(labels=True)
def evaluate(
    data_format: DataFormat,
    bundle: BundleArgument,
    data: Annotated[Path, typer.Option(help="File of labelled rows.")],
    engine: EngineOption = "onnxruntime",
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads of the engine.")] = None,
    skip_empty: SkipEmptyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on labelled rows."""
    predictor = Predictor(bundle, engine=engine, num_threads=threads)
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
    answer = {**report, "cut": cut, "engine": engine, "bundle": str(bundle), "data": str(data)}
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        err.print(per_class_table(answer))
