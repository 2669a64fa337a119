"""What painters draw with: colours, letters that are cut to fit, axes with a legend."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from paddlenlp_embtune.report._html import plain
from paddlenlp_embtune.report.plots._fonts import matplotlib_module

__all__ = ["COLOURS", "INK", "LETTERS", "PALE", "Entry", "Pen", "text_width"]

INK, PALE = "#1f2933", "#7b8794"
COLOURS = ("#0b63a5", "#d1590a", "#12805c", "#8e3a9d", "#a67c00", "#c2185b", "#4d6370", "#2b9fc9", "#7a4a21", "#5b6abf")
"""Dark enough on white for a line; neighbours differ for people who do not tell red from green."""
LETTERS = 8.5
"""Size of letters, in points."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a legend.

    Args:
        text: what it says.
        colour: of the line, the marker or the patch.
        marker: of matplotlib; empty for a line, ``patch`` for a patch.
        dashes: of the line.
    """

    text: str
    colour: str
    marker: str = ""
    dashes: str = "-"


@dataclasses.dataclass(frozen=True)
class Pen:
    """What a painter draws with.

    Args:
        show: turns a text into what the output can show; painters send every text through it.
        title: drawn above the figure; None where the page has it already.
    """

    show: Callable[[str], str]
    title: str | None

    def text(self, text: object, ems: float = 15.0) -> str:
        """Return a text on one line, as the output can show it, cut to a width in units of the letter size."""
        line = " ".join(plain(str(text)).split())[:80] or "-"
        shown = self.show(line)
        while text_width(shown) > ems * LETTERS and len(line) > 1:
            line = line[:-1]
            shown = self.show(line + "…")
        return shown

    def chart(
        self,
        *,
        width: float = 4.0,
        height: float = 2.3,
        left: float = 0.6,
        bottom: float = 0.45,
        right: float = 0.15,
        legend: Sequence[Entry] = (),
    ) -> tuple[Any, Any]:
        """Make a figure with one pair of axes and the legend above them; lengths are inches, the height is that of the axes."""
        rows = _flow([(entry, self.text(entry.text, 20)) for entry in legend], (width - 0.2) * 72)
        title = 0.26 if self.title else 0.0
        above = 0.12 + 0.19 * len(rows) + title
        total = bottom + height + above
        figure = matplotlib_module("figure").Figure(figsize=(width, total))
        axes = figure.add_axes((left / width, bottom / total, (width - left - right) / width, height / total))
        if self.title:
            figure.text(0.1 / width, 1 - 0.2 / total, self.text(self.title, 40), size=LETTERS + 1.5)
        for number, row in enumerate(rows):
            for at, entry, text in row:
                _draw_entry(figure, entry, text, (0.1 + at / 72, total - title - 0.13 - 0.19 * number))
        return figure, axes


def _flow(entries: Sequence[tuple[Entry, str]], width: float) -> list[list[tuple[float, Entry, str]]]:
    """Set the entries of a legend in rows, as words on a line; places are points from the left."""
    rows: list[list[tuple[float, Entry, str]]] = []
    at = width + 1.0
    for entry, text in entries:
        needed = 20 + text_width(text)
        if at + needed > width:
            rows.append([])
            at = 0.0
        rows[-1].append((at, entry, text))
        at += needed + 8
    return rows


def _draw_entry(figure: Any, entry: Entry, text: str, at: tuple[float, float]) -> None:
    width, height = figure.get_size_inches()
    x, y = at[0] / width, at[1] / height
    ends = [x, x + 0.2 / width]
    lines = matplotlib_module("lines")
    if entry.marker == "patch":
        shape = matplotlib_module("patches").Rectangle(
            (x, y - 0.05 / height), 0.2 / width, 0.1 / height, facecolor=entry.colour
        )
        shape.set_transform(figure.transFigure)
    elif entry.marker:
        shape = lines.Line2D([sum(ends) / 2], [y], color=entry.colour, marker=entry.marker, linestyle="")
    else:
        shape = lines.Line2D(ends, [y, y], color=entry.colour, linestyle=entry.dashes)
    figure.add_artist(shape)
    figure.text(x + 0.25 / width, y, text, va="center_baseline")


def text_width(text: str, size: float = LETTERS) -> float:
    """Estimate the width of a text in points without asking a font, because the browser's is not known."""
    wide = sum(unicodedata.east_asian_width(letter) in "WFA" for letter in text)
    return size * (wide + 0.6 * (len(text) - wide))
