"""What figures are drawn on: colours, axes of a fixed size in inches, and texts and legends that fit."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.report._formatting import printable
from paddlenlp_embtune.report.plots._fonts import matplotlib_module

__all__ = ["COLOURS", "FONT_SIZE", "INK", "PALE", "Canvas", "text_width"]

INK, PALE = "#1f2933", "#7b8794"
COLOURS = ("#0b63a5", "#d1590a", "#12805c", "#8e3a9d", "#a67c00", "#c2185b", "#4d6370", "#2b9fc9", "#7a4a21", "#5b6abf")
"""Dark enough on white for a line; neighbours differ for people who do not tell red from green."""
FONT_SIZE = 8.5
"""In points."""

_LEGEND_ROW, _TITLE_ROW, _MARGIN = 0.19, 0.26, 0.1
"""Heights and the distance from the edge, in inches."""
_HANDLE_EMS, _PAD_EMS, _GAP_EMS = 2.0, 0.5, 1.2


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Makes axes and legends for one output: the page, or a PNG file.

    Args:
        show: turns a text into what the output can show; every text of a figure goes through it.
        title: drawn above the figure; None where the page has it already.
    """

    show: Callable[[str], str]
    title: str | None

    def text(self, text: object, ems: float = 15.0) -> str:
        """Return a text on one line, as the output can show it, cut to a width in units of the font size."""
        line = " ".join(printable(str(text)).split())[:80] or "-"
        shown = self.show(line)
        while text_width(shown) > ems * FONT_SIZE and len(line) > 1:
            line = line[:-1]
            shown = self.show(line + "…")
        return shown

    def axes(
        self,
        *,
        width: float = 4.0,
        height: float = 2.3,
        left: float = 0.6,
        bottom: float = 0.45,
        right: float = 0.15,
    ) -> tuple[Any, Any]:
        """Make a figure with one pair of axes; lengths are inches, the height is that of the axes."""
        title = _TITLE_ROW if self.title else 0.0
        total = bottom + height + 0.12 + title
        figure = matplotlib_module("figure").Figure(figsize=(width, total))
        axes = figure.add_axes((left / width, bottom / total, (width - left - right) / width, height / total))
        if self.title:
            corner = {"xycoords": "figure fraction", "textcoords": "offset points"}
            text = self.text(self.title, 40)
            axes.annotate(text, (0, 1), (72 * _MARGIN, -5), va="top", size=FONT_SIZE + 1.5, annotation_clip=False, **corner)
        return figure, axes

    def legend(self, axes: Any, entries: Sequence[tuple[str, Any]]) -> None:
        """Put a legend above all axes of a figure, which grows by its height.

        Args:
            axes: one of the axes.
            entries: texts, each with the artist that it explains.
        """
        if not entries:
            return
        texts = [self.text(text, 20) for text, _ in entries]
        figure = axes.figure
        width, height = figure.get_size_inches()
        columns = _columns(texts, 72 * (width - 2 * _MARGIN))
        total = height + _LEGEND_ROW * -(-len(texts) // columns)
        figure.set_size_inches(width, total)
        for one in figure.axes:
            x, y, wide, high = one.get_position().bounds
            one.set_position([x, y * height / total, wide, high * height / total])
        above = 0.06 + (_TITLE_ROW if self.title else 0.0)
        legend = axes.legend(
            [artist for _, artist in entries],
            ["-"] * len(texts),
            loc="upper left",
            bbox_to_anchor=(_MARGIN / width, 1 - above / total),
            bbox_transform=figure.transFigure,
            ncols=columns,
            columnspacing=_GAP_EMS + max(map(_unmeasured_ems, texts)),
            handlelength=_HANDLE_EMS,
            handletextpad=_PAD_EMS,
            borderpad=0,
            borderaxespad=0,
            labelspacing=72 * _LEGEND_ROW / FONT_SIZE - 1,
            frameon=False,
        )
        for written, text in zip(legend.get_texts(), texts, strict=True):
            written.set_text(text)  # as labels, matplotlib would drop those that begin with an underscore


def _columns(texts: Sequence[str], width: float) -> int:
    """Return the most columns of a legend that fit in a width in points; matplotlib fills one column after the other."""
    beside = FONT_SIZE * (_HANDLE_EMS + _PAD_EMS + _GAP_EMS)
    for columns in range(len(texts), 1, -1):
        parts = np.array_split([text_width(text) + beside for text in texts], columns)
        if sum(part.max() for part in parts) <= width + FONT_SIZE * _GAP_EMS:
            return columns
    return 1


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """Estimate the width of a text in points without asking a font, because the browser's is not known."""
    wide = _wide_letters(text)
    return size * (wide + 0.6 * (len(text) - wide))


def _unmeasured_ems(text: str) -> float:
    """Return by how much Chinese characters are wider than the boxes of a font that lacks them, which matplotlib measures."""
    return 0.4 * _wide_letters(text)


def _wide_letters(text: str) -> int:
    return sum(unicodedata.east_asian_width(letter) in "WFA" for letter in text)
