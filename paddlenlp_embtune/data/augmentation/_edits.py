"""Changing a text step by step, so that nothing protected is ever changed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from paddlenlp_embtune.data.augmentation._protection import Protection

__all__ = ["Edit", "apply_edits", "count_of", "shuffled"]

Edit = Mapping[int, str]
"""New texts of some pieces, by their places; two edits of a text share no place."""


def count_of(rate: float, units: int) -> int:
    """How many of some units a rate changes: one at least."""
    return min(units, max(1, round(rate * units)))


def shuffled(places: Iterable[int], draw: random.Random) -> list[int]:
    """Return places in a random order."""
    found = list(places)
    draw.shuffle(found)
    return found


def apply_edits(pieces: Sequence[str], edits: Iterable[Edit], protection: Protection, *, most: int) -> str | None:
    """Make edits one after the other until enough are made; leave out those that touch something protected.

    Neighbours may form a number, a negation or a term together, so the whole text is looked at after each edit.

    Args:
        pieces: concatenate to the text.
        edits: to be made, more than ``most`` where some may be left out.
        protection: what must stay.
        most: how many edits are made.
    Returns:
        The new text; None where no edit was made.
    """
    now, made = list(pieces), 0
    kept = protection.kept("".join(now))
    for edit in edits:
        if made == most:
            break
        changed = list(now)
        for place, text in edit.items():
            changed[place] = text
        if changed != now and protection.kept("".join(changed)) == kept:
            now, made = changed, made + 1
    return "".join(now) if made else None
