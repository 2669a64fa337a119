"""Fonts for PNG files: find one that has Chinese characters, or show code points without it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import MissingDependencyError

__all__ = ["NO_CJK_FONT", "Fonts", "find_fonts", "matplotlib_module"]

logger = logging.getLogger("paddlenlp_embtune")

NO_CJK_FONT = (
    "no installed font has Chinese characters, so the PNG files show code points in their place (the page "
    "itself uses the fonts of the browser); install one, for example: apt-get install fonts-noto-cjk"
)
_PROBE = "减持回购"
_LIKELY = re.compile(
    r"noto.*cjk|sourcehan|wqy|wenquanyi|simhei|simsun|msyh|pingfang|stheiti|heiti|songti|droidsansfallback|uming|ukai|arialuni",
    re.IGNORECASE,
)


class Fonts:
    """The fonts that PNG files are drawn with.

    Args:
        families: names for matplotlib, in order of preference.
        code_points: the characters that they contain.
        chinese: whether Chinese characters are among them.
    """

    def __init__(self, families: list[str], code_points: frozenset[int], *, chinese: bool) -> None:
        self.families = families
        self.code_points = code_points
        self.chinese = chinese

    def drawable(self, text: str) -> str:
        """Return the text as these fonts can draw it; a character that they lack becomes its code point, [51CF]."""
        return "".join(letter if ord(letter) in self.code_points else f"[{ord(letter):04X}]" for letter in text)


def matplotlib_module(name: str = "") -> Any:
    """Import a module of matplotlib.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        return importlib.import_module(f"matplotlib.{name}" if name else "matplotlib")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise MissingDependencyError(
            'a report needs matplotlib; install it with: pip install "paddlenlp-embtune[plot]"'
        ) from None


def find_fonts() -> Fonts:
    """Search the installed fonts for one with Chinese characters, those with likely names first."""
    manager = matplotlib_module("font_manager")
    base = manager.findfont("DejaVu Sans")
    points = frozenset(manager.get_font(base).get_charmap())
    for path in _candidates(manager):
        with contextlib.suppress(Exception):  # a font file that cannot be read is skipped
            found = frozenset(manager.get_font(path).get_charmap())
            if {ord(character) for character in _PROBE} <= found:
                manager.fontManager.addfont(path)
                family = manager.FontProperties(fname=path).get_name()
                return Fonts(["DejaVu Sans", family], points | found, chinese=True)
    return Fonts(["DejaVu Sans"], points, chinese=False)


def _candidates(manager: Any) -> Iterator[str]:
    paths = sorted(str(path) for path in manager.findSystemFonts())
    likely = [path for path in paths if _LIKELY.search(Path(path).name)]
    # Sans before serif, regular before bold.
    yield from sorted(likely, key=lambda path: ("serif" in path.lower(), "regular" not in path.lower(), path))
    yield from (path for path in paths if path not in likely)
