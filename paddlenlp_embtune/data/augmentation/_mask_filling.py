"""Words that are masked, and filled in anew by an encoder."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from paddlenlp_embtune.data.augmentation._edits import apply_edits, count_of, shuffled
from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._words import Word

__all__ = ["Guesses", "MaskFiller", "fill_masks"]

Guesses = Sequence[Sequence[tuple[str, float]]]
"""For each masked character of a text, in order, the likeliest characters with their probabilities, likeliest first."""

MaskFiller = Callable[[Sequence[Sequence[str | None]]], Sequence[Guesses]]
"""From texts in pieces, None for each masked character, to the guesses for each text."""

_LONGEST = 4


def fill_masks(
    texts: Sequence[Sequence[Word]],
    draws: Sequence[random.Random],
    *,
    rate: float,
    filler: MaskFiller,
    protection: Protection,
) -> list[str | None]:
    """Mask a share of the words of each text and take other likely ones in their place; None where none is found.

    Args:
        texts: each as words.
        draws: what is drawn for each text.
        rate: share of the words.
        filler: guesses masked characters, of all texts at once.
        protection: what must stay.
    Source:
        Kumar, Choudhary and Cho 2020, "Data Augmentation using Pre-trained Transformer Models", section 3.1, without the label
        in front of the text
    """
    chosen = [_choose(words, rate, draw) for words, draw in zip(texts, draws, strict=True)]
    asked = [number for number, places in enumerate(chosen) if places]
    guesses = filler([_masked(texts[number], chosen[number]) for number in asked]) if asked else []
    found: list[str | None] = [None] * len(texts)
    for number, guessed in zip(asked, guesses, strict=True):
        found[number] = _filled(texts[number], chosen[number], guessed, draws[number], protection)
    return found


def _choose(words: Sequence[Word], rate: float, draw: random.Random) -> list[int]:
    """Choose words of Chinese characters, up to four, that are not fixed; return their places in order."""
    places = [place for place, word in enumerate(words) if not word.fixed and len(word.text) <= _LONGEST and _is_han(word.text)]
    free = sum(not word.fixed for word in words)
    return sorted(shuffled(places, draw)[: count_of(rate, free)])


def _is_han(text: str) -> bool:
    return all("\u4e00" <= character <= "\u9fff" for character in text)


def _masked(words: Sequence[Word], places: Sequence[int]) -> list[str | None]:
    pieces: list[str | None] = []
    for place, word in enumerate(words):
        pieces += [None] * len(word.text) if place in places else [word.text]
    return pieces


def _filled(
    words: Sequence[Word], places: Sequence[int], guesses: Guesses, draw: random.Random, protection: Protection
) -> str | None:
    """Draw a character for each mask, by the probabilities; words that come out as they were count for nothing."""
    edits, at = [], 0
    for place in places:
        word = words[place].text
        own = guesses[at : at + len(word)]
        at += len(word)
        if len(own) == len(word) and all(own):  # a text that is cut has masks that the encoder does not see
            drawn = (draw.choices([each for each, _ in one], [share for _, share in one])[0] for one in own)
            edits.append({place: "".join(drawn)})
    return apply_edits([word.text for word in words], edits, protection, most=len(edits))
