"""Replacing words by synonyms."""

from __future__ import annotations

import random
from collections.abc import Sequence

from paddlenlp_embtune.data.augmentation._edits import apply_edits, count_of, shuffled
from paddlenlp_embtune.data.augmentation._lexicon import Alternatives
from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._words import Word

__all__ = ["replace_synonyms", "replaceable"]


def replaceable(words: Sequence[Word], lexicon: Alternatives) -> list[int]:
    """Return the places of words that have synonyms; words of one character mean too many things."""
    return [place for place, word in enumerate(words) if not word.fixed and len(word.text) > 1 and word.text in lexicon]


def replace_synonyms(
    words: Sequence[Word], *, rate: float, draw: random.Random, lexicon: Alternatives, protection: Protection
) -> str | None:
    """Replace a share of the words by synonyms; None where none has any."""
    free = sum(not word.fixed for word in words)
    places = shuffled(replaceable(words, lexicon), draw)
    edits = ({place: draw.choice(lexicon[words[place].text])} for place in places)
    return apply_edits([word.text for word in words], edits, protection, most=count_of(rate, free))
