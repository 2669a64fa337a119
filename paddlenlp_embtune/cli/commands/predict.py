"""``embtune predict``, and its explanations in a terminal and in an HTML file."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import BundleArgument, DeviceOption, EngineOption
from paddlenlp_embtune.data import stream_standard_input, stream_texts
from paddlenlp_embtune.inference import Explanation, Predictor, without_scores
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = ["predict"]

_SHOWN_TERMS = 8
_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_STYLES = {True: ("underline blue", "bold white on blue"), False: ("italic dark_orange3", "italic black on orange1")}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Explanations - embtune predict</title>
<style>
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #111; font: 1rem/2 system-ui, "Noto Sans CJK SC", sans-serif; }
section { border-top: 1px solid #ccc; } h2 { font-size: 1rem; margin: .5rem 0 0; }
.text { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 1.25rem; }
.terms { margin: 0 0 .5rem; color: #444; }
.for { background: rgb(11 99 165 / var(--a)); border-bottom: 3px solid #0b63a5; }
.against { background: rgb(230 159 0 / var(--a)); border-bottom: 3px dashed #b36b00; }
sup { font-size: .7em; font-weight: bold; user-select: none; line-height: 0; } .cut { color: #767676; }
</style></head><body>
<h1>Which characters carried the decision</h1>
<p><span class="for" style="--a:.4">for the label<sup>+</sup></span> blue, solid line, plus;
<span class="against" style="--a:.4">against it<sup>&minus;</sup></span> orange, dashed line, minus; the deeper, the more.
<span class="cut">Grey was not read.</span> Figures are natural log-odds of the label: +0.7 doubles its odds, &minus;0.7 halves
them. Point at a character for its own.</p>
"""


@reads_data(labels=False)
def predict(
    data_format: DataFormat,
    bundle: BundleArgument,
    data: Annotated[
        Optional[Path],
        typer.Option(help="Texts: .txt (one per line), .tsv, .csv, .json or .jsonl; by default stdin, one per line."),
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
    if data is not None:
        texts = stream_texts(data, **data_format.for_texts(), notes=notes)
    else:
        texts = stream_standard_input(encoding=data_format.encoding)
    explain = explain or explain_label is not None or page is not None
    if explain:
        predictor.explain_answers([], label=explain_label)  # refuses a wrong label before anything is printed
    sections, answered, cut = [], 0, 0
    for answer in _watched(predictor.stream(texts, scores=scores or explain_label is not None)):
        answered, cut = answered + 1, cut + ("cut" in answer)
        terms = ""
        if explain:
            (explanation,) = predictor.explain_answers([answer], label=explain_label)
            if page is not None:
                sections.append(_section(explanation))
            answer["explanation"] = explanation.to_dict()
            terms = "\t" + "; ".join(_worded(explanation))
        if as_json:
            print(json.dumps(answer if scores else without_scores(answer), ensure_ascii=False))
        else:
            shown = " ".join(answer["text"].split())
            label = "" if answer.get("abstained") else answer["label"] or ""
            print(f"{label}\t{answer['score']:.4f}\t{shown}{terms}", flush=explain)
        if explain and explanation.label is not None and page is None and not as_json:
            err.print(_coloured(explanation), soft_wrap=True)
    if cut:
        notes.append(
            f"{cut:,} of {answered:,} texts have more than the {predictor.bundle.manifest.max_length} tokens that the model "
            "reads and were cut; --windows reads all of them"
        )
    print_notes(notes)
    if page is not None:
        write_text(page, "".join([_PAGE, *sections, "</body></html>\n"]))
        err.print(f"explanations: {page}", markup=False, soft_wrap=True)


def _watched(answers: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Show on a terminal how many texts are done, unless the answers are printed there."""
    if err.is_terminal and not sys.stdout.isatty():
        columns = (TextColumn("labelled"), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            yield from progress.track(answers)
    else:
        yield from answers


def _visible(text: str) -> str:
    """Replace characters that would control a terminal or a page."""
    return _UNSHOWABLE.sub("\ufffd", text)


def _line(text: str) -> str:
    return re.sub(r"\s", " ", _visible(text))


def _worded(explanation: Explanation) -> list[str]:
    terms = explanation.terms()[:_SHOWN_TERMS]
    return [f"{_line(explanation.text[start:end])} {value:+.2f}" for start, end, value in terms]


def _heading(explanation: Explanation) -> str:
    if explanation.label is None:
        return "no visible character"
    found = explanation.attribution
    method = found.method.replace("_", " ")
    return f"{explanation.label} {explanation.score:.4f}, log-odds {found.difference:+.2f} above no text, by {method}"


def _coloured(explanation: Explanation) -> Text:
    """Colour the text up to where the model read it; terms for the label are underlined and end with a plus."""
    terms = explanation.terms()
    strongest = max((abs(value) for _, _, value in terms), default=0.0)
    shown, position = Text("  "), 0
    for start, end, value in sorted(terms):
        shown.append(_line(explanation.text[position:start]))
        style = _STYLES[value > 0][abs(value) >= strongest / 2]
        shown.append(_line(explanation.text[start:end]) + ("⁺" if value > 0 else "⁻"), style=style)
        position = end
    end = len(explanation.text) if explanation.cut_at is None else explanation.cut_at
    shown.append(_line(explanation.text[position:end]))
    if explanation.cut_at is not None:
        shown.append(f" ... {len(explanation.text) - end:,} more characters were not read", style="dim")
    return shown.append(f"\n  {_heading(explanation)}: {'; '.join(_worded(explanation))}", style="dim")


def _section(explanation: Explanation) -> str:
    """Return the HTML of one explained text."""

    def escaped(start: int, end: int) -> str:
        return html.escape(_visible(explanation.text[start:end]))

    terms, places = explanation.terms(), explanation.places()
    signs = {end: "+" if value > 0 else "&minus;" for _, end, value in terms}
    strongest = max((abs(value) for _, _, value in places), default=0.0)
    parts, position = [], 0
    for start, end, value in places:
        inside = any(begin <= start < stop for begin, stop, _ in terms)
        kind = "weak" if not inside else "for" if value > 0 else "against"
        style = f'class="{kind}" style="--a:{0.6 * abs(value) / max(strongest, 1e-6):.2f}" title="{value:+.3f}"'
        sign = f"<sup>{signs[end]}</sup>" if end in signs else ""
        parts.append(f"{escaped(position, start)}<span {style}>{escaped(start, end)}{sign}</span>")
        position = end
    rest = escaped(position, len(explanation.text))
    if explanation.cut_at is not None:
        rest = f'<span class="cut" title="not read">{rest}</span>'
    terms_line = html.escape("; ".join(_worded(explanation)))
    return (
        f"<section><h2>{html.escape(_visible(_heading(explanation)))}</h2>\n"
        f'<p class="text">{"".join(parts)}{rest}</p>\n<p class="terms">{terms_line}</p></section>\n'
    )
