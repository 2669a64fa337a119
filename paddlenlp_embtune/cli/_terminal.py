"""The consoles of the command line: texts of users are printed unchanged, and cannot control the terminal."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

__all__ = ["err", "out", "visible"]

# C0 and C1 controls but for tab and line break, what turns the direction of text, lone surrogates, and no characters.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Replace characters that control a terminal by visible escapes, such as ``\x1b``."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


class _Console(Console):
    """A console that prints text literally, without markup or emoji codes, unless a call asks for markup."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string, including the cells of tables, to a safe text."""
        return super().render_str(visible(text), **options)


err = _Console(stderr=True, highlight=False, markup=False, emoji=False)
out = _Console(highlight=False, markup=False, emoji=False)
