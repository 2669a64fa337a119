"""Finding added tokens in a text before the tokenizer splits the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["AddedTokenMatcher"]

# Characters whose lower case depends on their neighbours, or is two characters.
_UNEVEN = re.compile("[\u03a3\u0130]")


class AddedTokenMatcher:
    """Finds tokens in a text, even inside a word: leftmost first, then longest.

    Args:
        tokens: none of them empty.
        fold: search the case-folded text, except where it is spelled exactly like a token, as PaddleNLP's tokenizers with
            ``do_lower_case`` do.
    Source:
        paddlenlp.transformers.tokenizer_utils.PretrainedTokenizer.tokenize
    """

    def __init__(self, tokens: Sequence[str], *, fold: bool) -> None:
        self.fold = fold
        self._find = re.compile("|".join(map(re.escape, sorted(tokens, key=lambda token: (-len(token), token)))))
        # In this order, as in PaddleNLP: of two tokens with a common prefix, the shorter one keeps its case.
        self._exact = re.compile("|".join(map(re.escape, sorted(tokens))))

    def spans(self, text: str) -> list[tuple[int, int, str]]:
        """Return start, end and token of all matches, in order."""
        return [(found.start(), found.end(), found[0]) for found in self._find.finditer(self._folded(text))]

    def _folded(self, text: str) -> str:
        """Fold the case of a text outside of tokens, without moving a character."""
        if not self.fold:
            return text
        parts, done = list[str](), 0
        for found in self._exact.finditer(text):
            parts += [_lower(text[done : found.start()]), found[0]]
            done = found.end()
        return "".join([*parts, _lower(text[done:])]) if parts else _lower(text)


def _lower(text: str) -> str:
    if not _UNEVEN.search(text):
        return text.lower()
    return "".join("\u03c3" if letter == "\u03a3" else letter if letter == "\u0130" else letter.lower() for letter in text)
