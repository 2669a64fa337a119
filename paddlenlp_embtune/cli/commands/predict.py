"""``embtune predict``: labels of texts, one answer per line."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._explanations import coloured_text, html_page, html_section, strongest_terms
from paddlenlp_embtune.cli._options import BundleArgument, DeviceOption, EngineOption
from paddlenlp_embtune.cli._texts import only_option
from paddlenlp_embtune.data import stream_rows, stream_standard_input, stream_texts, write_answers
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.inference import Predictor, given_labels, without_scores
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = ["predict"]


@reads_data(labels=False)
def predict(
    data_format: DataFormat,
    bundle: BundleArgument,
    data: Annotated[
        Optional[Path],
        typer.Option(help="Texts: .txt, one per line, or a file of rows; by default stdin, one per line."),
    ] = None,
    engine: EngineOption = "onnxruntime",
    precision: Annotated[str, typer.Option(help="Precision: fp32, or one that the bundle has.")] = "fp32",
    device: DeviceOption = "auto",
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads; by default one per processor, at most 8.")] = None,
    windows: Annotated[
        Optional[bool],
        typer.Option("--windows/--cut", help="Read long texts in windows, or truncate them; by default as the bundle states."),
    ] = None,
    abstain_below: Annotated[
        Optional[float],
        typer.Option(min=0, max=1, help="Abstain below this score; by default below the bundle's thresholds."),
    ] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Also print the probability of every label.")] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Also show which characters decided: a column, and colours on stderr."),
    ] = False,
    explain_label: Annotated[
        Optional[str], typer.Option("--label", help="Explain this label instead of the predicted one; implies --explain.")
    ] = None,
    page: Annotated[
        Optional[Path], typer.Option("--html", help="Write the explanations to this HTML file; implies --explain.")
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="Write all columns of --data and the answers to this file: .jsonl, .csv, .tsv, .xlsx or .parquet."),
    ] = None,
    format: Annotated[  # noqa: A002
        Optional[str], typer.Option(metavar="doccano|label-studio", help="Write --out for an annotation tool, to be corrected.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line instead of label, score and text separated by tabs.")
    ] = False,
) -> None:
    """Label texts: one answer per line, in the order of the input, blanks included."""
    predictor = Predictor(
        bundle,
        engine=engine,
        precision=precision,
        device=device,
        num_threads=threads,
        windows=windows,
        abstain_below=abstain_below,
    )
    notes = list[str]()
    explain = explain or explain_label is not None or page is not None
    if out is not None or format is not None:
        only_option(out=out or format, explain=explain or None, json=as_json or None)
        _write(predictor, data, out, data_format, format=format, scores=scores, notes=notes)
        print_notes(notes)
        return
    texts = _texts(data, data_format, notes)
    if explain:
        predictor.explain_answers([], label=explain_label)  # refuses a wrong label before anything is printed
    sections, answered, cut = [], 0, 0
    for answer in _counting(predictor.stream(texts, scores=scores or explain_label is not None)):
        answered, cut = answered + 1, cut + ("cut" in answer)
        terms = ""
        if explain:
            (explanation,) = predictor.explain_answers([answer], label=explain_label)
            if page is not None:
                sections.append(html_section(explanation))
            answer["explanation"] = explanation.to_dict()
            terms = "\t" + "; ".join(strongest_terms(explanation))
        if as_json:
            print(json.dumps(answer if scores else without_scores(answer), ensure_ascii=False))
        else:
            shown = " ".join(answer["text"].split())
            given = given_labels(answer)
            figures = [answer["score"]] if "score" in answer else given.values()
            printed = ", ".join(given), ", ".join(f"{score:.4f}" for score in figures), f"{shown}{terms}"
            print("\t".join(printed), flush=explain)
        if explain and explanation.label is not None and page is None and not as_json:
            err.print(coloured_text(explanation), soft_wrap=True)
    if cut:
        notes.append(
            f"{cut:,} of {answered:,} texts have more than the {predictor.bundle.manifest.max_length} tokens that the model "
            "reads and were cut; --windows reads all of them"
        )
    print_notes(notes)
    if page is not None:
        write_text(page, html_page(sections))
        err.print(f"explanations: {page}", markup=False, soft_wrap=True)


def _texts(data: Path | None, data_format: DataFormat, notes: list[str]) -> Iterator[str]:
    if data is not None:
        return stream_texts(data, **data_format.for_texts(), notes=notes)
    return stream_standard_input(encoding=data_format.encoding)


def _write(
    predictor: Predictor,
    data: Path | None,
    out: Path | None,
    data_format: DataFormat,
    *,
    format: str | None,  # noqa: A002
    scores: bool,
    notes: list[str],
) -> None:
    """Write the rows of a file with their answers."""
    if data is None or out is None:
        raise RecipeError("--out FILE and --format go with --data FILE, whose columns are kept; give both files")
    if out.resolve() == data.resolve():
        raise RecipeError(f"--out is {out}, which is read; give another file")
    held: deque[Mapping[str, Any]] = deque()

    def texts() -> Iterator[str]:
        for text, row in stream_rows(data, **data_format.for_texts(), notes=notes):
            held.append(row)
            yield text

    answers = _counting(predictor.stream(texts(), scores=scores))
    rows = ((held.popleft(), answer) for answer in answers)
    count = write_answers(out, rows, format=format, model=predictor.bundle.path.name)
    notes.append(f"{count:,} rows with their answers: {out}")


def _counting(answers: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Show on a terminal how many texts are done, unless the answers are printed there."""
    if err.is_terminal and not sys.stdout.isatty():
        columns = (TextColumn("labelled"), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            yield from progress.track(answers)
    else:
        yield from answers
