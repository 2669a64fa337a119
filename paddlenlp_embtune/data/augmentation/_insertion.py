"""Putting in synonyms of words, near the words."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from paddlenlp_embtune.data.augmentation._edits import Edit, apply_edits, count_of, shuffled
from paddlenlp_embtune.data.augmentation._lexicon import Alternatives
from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._synonyms import replaceable
from paddlenlp_embtune.data.augmentation._words import Word

__all__ = ["insert_synonyms"]


def insert_synonyms(
    words: Sequence[Word], *, rate: float, draw: random.Random, lexicon: Alternatives, protection: Protection
) -> str | None:
    """Put in a synonym of a share of the words, within the word's stretch; None where there is no place for any.

    Anywhere else, it could become the subject of another verb or number.
    """
    free = sum(not word.fixed for word in words)
    sources = [place for place in replaceable(words, lexicon) if words[place].movable]

    def edits() -> Iterator[Edit]:
        taken: set[int] = set()
        for source in shuffled(sources, draw):
            stretch = words[source].stretch
            places = [at for at, word in enumerate(words) if word.movable and word.stretch == stretch and at not in taken]
            if not places:
                continue
            place, synonym = draw.choice(places), draw.choice(lexicon[words[source].text])
            taken.add(place)
            yield {place: draw.choice((f"{words[place].text}{synonym}", f"{synonym}{words[place].text}"))}

    return apply_edits([word.text for word in words], edits(), protection, most=count_of(rate, free))
