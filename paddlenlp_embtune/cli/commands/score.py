"""``embtune score``: the labels of very many texts, by several workers, in files that a killed job continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import JsonOption, OverwriteOption
from paddlenlp_embtune.data import ANSWER_FORMATS
from paddlenlp_embtune.scoring import SCORING_ENGINES, ScoringSpec, score_files

__all__ = ["score"]


@reads_data(labels=False)
def score(
    data_format: DataFormat,
    data: Annotated[list[Path], typer.Argument(help="Files, folders or patterns such as 'part-*.parquet'.")],
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the answers, one file for each partition; a killed job continues there.")
    ],
    engine: Annotated[str, typer.Option(metavar="|".join(SCORING_ENGINES), help="What runs the workers.")] = "processes",
    workers: Annotated[
        Optional[int], typer.Option(min=1, help="Workers, one thread each; by default one for each processor of the engine.")
    ] = None,
    to: Annotated[
        Optional[str],
        typer.Option(
            metavar="|".join(ANSWER_FORMATS), help="Format of the answers; by default that of Parquet, CSV and TSV, else jsonl."
        ),
    ] = None,
    rows_per_partition: Annotated[int, typer.Option(min=1, help="Rows that are scored and written together.")] = 20_000,
    scores: Annotated[bool, typer.Option("--scores", help="Also write the probability of every label.")] = False,
    precision: Annotated[str, typer.Option(help="Precision: fp32, or one that the bundle has.")] = "fp32",
    windows: Annotated[
        Optional[bool],
        typer.Option("--windows/--cut", help="Read long texts in windows, or truncate them; by default as the bundle states."),
    ] = None,
    abstain_below: Annotated[
        Optional[float], typer.Option(min=0, max=1, help="Abstain below this score; by default below the bundle's thresholds.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label the rows of many files with several workers; all columns and the order of the rows are kept."""
    spec = ScoringSpec(
        bundle=bundle,
        data=data,
        text_column=data_format.text_column,
        options=data_format.options,
        format=to,
        rows_per_partition=rows_per_partition,
        scores=scores,
        precision=precision,
        windows=windows,
        abstain_below=abstain_below,
    )
    columns = (TextColumn("scored"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        rows = progress.add_task("rows", total=None)

        def ended(record: Mapping[str, Any]) -> None:
            progress.advance(rows, record["rows"])
            if "error" in record:
                err.print(record["error"], style="bold red", markup=False, soft_wrap=True)

        report = score_files(spec, out, engine=engine, workers=workers, overwrite=overwrite, listener=ended)
    print_notes(report["notes"])
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        _tell(report)
    if report["failed"]:
        raise typer.Exit(1)


def _tell(report: Mapping[str, Any]) -> None:
    speed = f", {report['texts_per_second']:,} texts a second" if report["texts_per_second"] else ""
    resumed = f", {report['resumed']:,} of them before" if report["resumed"] else ""
    print(
        f"{report['rows']:,} rows in {report['partitions']:,} partitions{resumed}: {report['out']} "
        f"({report['seconds']:,} s with {report['workers']} workers{speed})"
    )
    if report["failed"]:
        print(
            f"{len(report['failed']):,} parts failed and are not there; the same command tries them again; for a file that was "
            "changed, give another --out"
        )
