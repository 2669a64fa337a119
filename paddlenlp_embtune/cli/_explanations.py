"""Explanations of predictions: a line of terms, a coloured text for the terminal, and an HTML page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from rich.text import Text

from paddlenlp_embtune.inference import Explanation

__all__ = ["coloured_text", "html_page", "html_section", "strongest_terms"]

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


def html_page(sections: Iterable[str]) -> str:
    """Return a page that opens without a network, from the sections of its texts."""
    return "".join([_PAGE, *sections, "</body></html>\n"])


def _visible(text: str) -> str:
    """Replace characters that would control a terminal or a page."""
    return _UNSHOWABLE.sub("\ufffd", text)


def _line(text: str) -> str:
    return re.sub(r"\s", " ", _visible(text))


def strongest_terms(explanation: Explanation) -> list[str]:
    """Return the terms that mattered most, each with its log-odds."""
    terms = explanation.terms()[:_SHOWN_TERMS]
    return [f"{_line(explanation.text[start:end])} {value:+.2f}" for start, end, value in terms]


def _heading(explanation: Explanation) -> str:
    if explanation.label is None:
        return "no label was given" if explanation.text.strip() else "no visible character"
    found = explanation.attribution
    method = found.method.replace("_", " ")
    return f"{explanation.label} {explanation.score:.4f}, log-odds {found.difference:+.2f} above no text, by {method}"


def coloured_text(explanation: Explanation) -> Text:
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
    return shown.append(f"\n  {_heading(explanation)}: {'; '.join(strongest_terms(explanation))}", style="dim")


def html_section(explanation: Explanation) -> str:
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
    terms_line = html.escape("; ".join(strongest_terms(explanation)))
    return (
        f"<section><h2>{html.escape(_visible(_heading(explanation)))}</h2>\n"
        f'<p class="text">{"".join(parts)}{rest}</p>\n<p class="terms">{terms_line}</p></section>\n'
    )
