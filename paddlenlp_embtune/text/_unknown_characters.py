"""Characters that texts use and a tokenizer does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from paddlenlp_embtune.text._term_matcher import clean_term
from paddlenlp_embtune.text.base import Tokenizer
from paddlenlp_embtune.text.cleaning_tokenizer import without_cleaning
from paddlenlp_embtune.text.normalization import CLEANING, clean

__all__ = ["unknown_characters"]

_LEAST_COUNT = 2


def unknown_characters(tokenizer: Tokenizer, texts: Sequence[str], terms: Collection[str] = ()) -> list[str]:
    """Return characters that stand in texts twice or more and that a tokenizer reads as unknown, in order of their code points.

    Letters that have a case stay out, as a tokenizer of word pieces reads them within words; so do characters that join others,
    such as variation selectors, and those of which cleaning makes something else.

    Args:
        tokenizer: any.
        texts: as they are, or cleaned.
        terms: that become tokens anyway.
    """
    tokenizer, _ = without_cleaning(tokenizer)
    cleaning = getattr(tokenizer, "cleaning", CLEANING)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(clean(text, lowercase=tokenizer.lowercase, cleaning=cleaning))
    known, unknown = tokenizer.vocabulary.ids, tokenizer.vocabulary.unknown_id
    found = []
    for character in sorted(each for each, count in counts.items() if count >= _LEAST_COUNT):
        if character in known or character in terms or character.lower() != character.upper() or not character.isprintable():
            continue
        ids = tokenizer.encode(character)
        own = ids[len(tokenizer.prefix) : len(ids) - len(tokenizer.suffix)]
        if own == [unknown] and _is_term(character, tokenizer.lowercase, cleaning):
            found.append(character)
    return found


def _is_term(character: str, lowercase: bool, cleaning: int) -> bool:
    """Whether a character stays what it is where a list of terms is read."""
    try:
        return clean_term(character, lowercase=lowercase, number=1, cleaning=cleaning) == character
    except ValueError:
        return False
