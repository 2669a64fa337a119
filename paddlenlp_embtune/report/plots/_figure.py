"""Figures of one look: as SVG inside the page, whose letters stay text, and as PNG files on request."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.report._templates import render
from paddlenlp_embtune.report.plots._canvas import FONT_SIZE, INK, PALE, Canvas
from paddlenlp_embtune.report.plots._fonts import NO_CJK_FONT, Fonts, find_fonts, matplotlib_module
from paddlenlp_embtune.utils.files.atomic_io import replace_file

__all__ = ["FigureWriter"]

logger = logging.getLogger("paddlenlp_embtune")

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "embtune",
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "font.size": FONT_SIZE,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": PALE,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7eb",
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "patch.linewidth": 0.0,
}
_NOT_STYLE = frozenset({"backend", "interactive", "toolbar"})


class FigureWriter:
    """Draws figures, each once for the page and, on request, once as a PNG file.

    Args:
        png_dir: folder for PNG files; None for no PNG files.
        method: how term maps are drawn: ``pca``, ``tsne`` or ``umap``.
    """

    def __init__(self, *, png_dir: Path | None = None, method: str = "pca") -> None:
        self.method = method
        self.png_dir = png_dir
        self._fonts: Fonts | None = find_fonts() if png_dir is not None else None
        self._names: set[str] = set()
        if self._fonts is not None and not self._fonts.chinese:
            logger.warning(NO_CJK_FONT)

    def draw(self, name: str, title: str, plot: Callable[[Canvas], Any], *, alt: str, note: str = "") -> str:
        """Draw a figure and return it as HTML.

        Args:
            name: name of the PNG file and prefix of the ids in the SVG; a name that is taken gets a number.
            title: written above it.
            plot: called with a canvas, returns a figure of matplotlib.
            alt: a description for people who do not see it.
            note: written below it in the page.
        """
        name = self._unused(name)
        with _style(["DejaVu Sans"]):
            figure = plot(Canvas(str, None))
            body = _svg_body(figure, name)
        if self.png_dir is not None and self._fonts is not None:
            self.png_dir.mkdir(parents=True, exist_ok=True)
            with _style(self._fonts.families), replace_file(self.png_dir / f"{name}.png") as file:
                plot(Canvas(self._fonts.drawable, title)).savefig(file, format="png", dpi=200)
        width, height = (72 * float(length) for length in figure.get_size_inches())
        return render("figure.html", title=title, alt=alt, note=note, width=width, height=height, body=body)

    def _unused(self, name: str) -> str:
        base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "figure"
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base}-{number}"
        self._names.add(name)
        return name


@contextlib.contextmanager
def _style(families: list[str]) -> Iterator[None]:
    """Apply our style over the defaults of matplotlib rather than over those of this machine."""
    matplotlib = matplotlib_module()
    # As style.context("default") does, without reading its library of styles, which takes 30 ms.
    default, now = matplotlib.rcParamsDefault, matplotlib.rcParams
    changed = {key: default[key] for key in default if key not in _NOT_STYLE and now[key] != default[key]}
    with matplotlib.rc_context({**changed, **_STYLE, "font.family": families}), warnings.catch_warnings():
        # Glyphs that the font lacks do not matter in an SVG: the browser draws its text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _svg_body(figure: Any, name: str) -> str:
    """Return the inside of an SVG element that can stand beside others: its own ids, no style sheet, no address of any kind."""
    with io.StringIO() as file:
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=metadata, transparent=True)
        text = file.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Text of the data is escaped, so anything between < and > is a tag.
    return re.sub(r"<[^>]+>", lambda tag: _own_ids(tag[0], name), body)


def _own_ids(tag: str, name: str) -> str:
    if 'id="' not in tag and 'href="#' not in tag and "url(#" not in tag:  # most tags, and quicker than three searches
        return tag
    tag = re.sub(r'(\sid=")', rf"\g<1>{name}-", tag)
    tag = re.sub(r'\s(?:xlink:)?href="#', f' href="#{name}-', tag)
    return tag.replace("url(#", f"url(#{name}-")
