"""Rows that a cleaning step would change: broken encodings, control characters, markup, addresses, names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from paddlenlp_embtune.data.checks.rows import CheckedRows, Place
from paddlenlp_embtune.text import CLEANING_STEPS, cleaning_edits

__all__ = ["ODDITIES", "Oddity", "find_oddities"]

ODDITIES = tuple(step for step in CLEANING_STEPS if step != "width")
"""The steps that are looked for; full width is usual in Chinese text."""
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class Oddity:
    """A row with something that a cleaning step would change.

    Args:
        file, row: where it is.
        kind: the step: ``mojibake``, ``controls``, ``markup``, ``urls`` or ``mentions``.
        found: what would be changed, the first stretch, at most 40 characters; invisible characters as code points.
        count: number of stretches.
    """

    file: str
    row: int
    kind: str
    found: str
    count: int

    @property
    def place(self) -> Place:
        """Where the row is."""
        return Place(self.file, self.row)


def find_oddities(rows: CheckedRows, *, steps: Sequence[str] = ODDITIES) -> tuple[Oddity, ...]:
    """Find rows that cleaning steps would change."""
    found = []
    for index, text in enumerate(rows.texts):
        for step in steps:
            if edits := cleaning_edits(text, step):
                place = rows.place(index)
                begin, end, _ = edits[0]
                found.append(Oddity(place.file, place.row, step, _shown(text[begin:end]), len(edits)))
    return tuple(found)


def _shown(part: str) -> str:
    if part.isprintable():
        return part[:_SHOWN]
    return " ".join(f"U+{ord(character):04X}" for character in part[: _SHOWN // 7])
