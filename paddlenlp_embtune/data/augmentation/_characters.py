"""Replacing characters by such as sound or look alike."""

from __future__ import annotations

import random
from collections.abc import Sequence

from paddlenlp_embtune.data.augmentation._edits import apply_edits, count_of, shuffled
from paddlenlp_embtune.data.augmentation._lexicon import Alternatives
from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._words import Word

__all__ = ["replace_characters"]


def replace_characters(
    words: Sequence[Word], *, rate: float, draw: random.Random, table: Alternatives, protection: Protection
) -> str | None:
    """Replace a share of the characters by others of a table; None where it has none of them."""
    pieces = [(character, word.fixed) for word in words for character in word.text]
    places = [place for place, (character, fixed) in enumerate(pieces) if not fixed and character in table]
    edits = ({place: draw.choice(table[pieces[place][0]])} for place in shuffled(places, draw))
    free = sum(not fixed for _, fixed in pieces)
    return apply_edits([character for character, _ in pieces], edits, protection, most=count_of(rate, free))
