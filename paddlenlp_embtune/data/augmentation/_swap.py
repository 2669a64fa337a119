"""Words that change places."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from paddlenlp_embtune.data.augmentation._edits import apply_edits, count_of
from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._words import Word

__all__ = ["swap_words"]


def swap_words(words: Sequence[Word], *, rate: float, draw: random.Random, protection: Protection) -> str | None:
    """Let pairs of words change places, each within its stretch; None where no stretch has two words that may move."""
    stretches: dict[int, list[int]] = defaultdict(list)
    for place, word in enumerate(words):
        if word.movable:
            stretches[word.stretch].append(place)
    pairs = []
    for places in stretches.values():
        draw.shuffle(places)
        pairs += list(zip(places[::2], places[1::2], strict=False))
    draw.shuffle(pairs)
    edits = ({one: words[other].text, other: words[one].text} for one, other in pairs)
    free = sum(not word.fixed for word in words)
    return apply_edits([word.text for word in words], edits, protection, most=count_of(rate / 2, free))
