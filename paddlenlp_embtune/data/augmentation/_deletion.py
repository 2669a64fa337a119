"""Words that are dropped."""

from __future__ import annotations

import random
from collections.abc import Sequence

from paddlenlp_embtune.data.augmentation._edits import apply_edits, count_of, shuffled
from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._words import Word, join

__all__ = ["delete_words"]


def delete_words(words: Sequence[Word], *, rate: float, draw: random.Random, protection: Protection) -> str | None:
    """Drop a share of the words that may move, never the last word of a text; None where there is none to drop."""
    places = shuffled((place for place, word in enumerate(words) if word.movable), draw)
    free = sum(not word.fixed for word in words)
    if free == len(places) and not protection.kept(join(words)):
        places = places[1:]
    edits = ({place: ""} for place in places)
    return apply_edits([word.text for word in words], edits, protection, most=count_of(rate, free))
