"""WordPiece: subword tokens with the ids that PaddleNLP's ``ErnieTokenizer`` and ``BertTokenizer`` give."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text.offsets import append_place
from paddlenlp_embtune.text.tokenizers import NO_FILES
from paddlenlp_embtune.text.vocabulary import Vocabulary
from paddlenlp_embtune.text.wordtables import CharacterTable, WordTable

__all__ = ["WordPieceTokenizer"]

_CLS, _SEP = "[CLS]", "[SEP]"


class WordPieceTokenizer:
    """Cuts text into words and symbols, and these into the longest pieces there are, ``##`` before all but the first.

    The ids are those of PaddleNLP's Python tokenizers, oddities included. Control and format characters, private use, lone
    surrogates, U+FFFD, and what Unicode knows later than this Python are dropped: a vertical tab or U+0085 joins the words
    beside it. With ``lowercase``, accents are dropped and Hangul syllables fall apart into letters. Full width is kept. A
    word of more than 100 characters is unknown.

    On purpose unlike PaddleNLP, a text that spells ``[SEP]`` or ``[MASK]`` gets the pieces of its brackets and letters, for a
    text must not give orders to the model; and a text without a piece of its own gets no ids at all.

    Args:
        vocabulary: holds ``[CLS]`` and ``[SEP]``.
        lowercase: fold case and drop accents, as ``do_lower_case`` does there.
    Raises:
        DataError: the vocabulary lacks ``[CLS]`` or ``[SEP]``.
    Source:
        Devlin et al. 2019, "BERT", section 3, as in paddlenlp.transformers.bert.tokenizer
    """

    def __init__(self, vocabulary: Vocabulary, lowercase: bool = True) -> None:
        for token in (_CLS, _SEP):
            if token not in vocabulary:
                raise DataError(f"the vocabulary of {len(vocabulary)} tokens lacks {token!r}, which WordPiece needs")
        self.vocabulary = vocabulary
        self.lowercase = lowercase
        self.prefix: tuple[int, ...] = (vocabulary.ids[_CLS],)
        self.suffix: tuple[int, ...] = (vocabulary.ids[_SEP],)
        self._characters = CharacterTable(lowercase)
        self._words = WordTable(vocabulary, lowercase)

    def tokens(self, text: str) -> list[str]:
        """Cut a text into pieces, without ``[CLS]`` and ``[SEP]``; an unknown word stays whole."""
        table, found = self._words, list[str]()
        for word in text.translate(self._characters).split():
            found += table.pieces("".join(word[at] for at in table.order(word)))
        return found

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Turn a text into the ids of ``[CLS]``, of its first ``max_length - 2`` pieces, and of ``[SEP]``.

        Raises:
            DataError: ``max_length`` leaves no room for a piece.
        """
        if max_length is None:
            own = self._read(text, block=len(text))
        elif max_length > len(self.prefix + self.suffix):
            own = self._read(text, block=2 * max_length, most=max_length - len(self.prefix + self.suffix))
        else:
            raise DataError(f"max_length is {max_length}; legal: 3 or more, for {_CLS}, {_SEP} and a piece between them")
        return [*self.prefix, *own, *self.suffix] if own else []

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Find where in a text as given its first ``limit`` pieces come from, begin and end; None finds all.

        A dropped accent belongs to the character before it. Two places are the same or do not overlap: pieces that share a
        character, as those of a Hangul syllable may, have the place of all of them together.
        """
        places: list[tuple[int, int]] = []
        for word, origins in self._located_words(text):
            if limit is not None and len(places) >= max(limit, 1) and places[-1][1] <= origins[0][0]:
                break
            order, first = self._words.order(word), 0
            for piece in self._words.pieces("".join(word[at] for at in order)):
                end = first + len(piece) - (2 if first else 0)
                under = [origins[at] for at in order[first:end]]
                append_place(places, min(under)[0], max(under)[1])
                first = end
        return places[:limit]

    def config(self) -> dict[str, Any]:
        """Return the options that rebuild this tokenizer on the same vocabulary."""
        return {"name": "wordpiece", "lowercase": self.lowercase}

    def files(self) -> Mapping[str, bytes]:
        """Return nothing: the vocabulary is all that it needs."""
        return NO_FILES

    def _read(self, text: str, *, block: int, most: int | None = None) -> list[int]:
        """Give the ids of the first pieces, ``most`` at most; read blocks of characters, each twice the former, until then."""
        ids: list[int] = []
        start, unfinished = 0, ""
        while start < len(text) and (most is None or len(ids) < most):
            folded = unfinished + text[start : start + block].translate(self._characters)
            start, block, unfinished = start + block, 2 * block, ""
            words = folded.split()
            if start < len(text) and not folded.endswith(" ") and words:
                unfinished = words.pop()
            ids.extend(chain.from_iterable(map(self._words.__getitem__, words)))
        return ids[:most]

    def _located_words(self, text: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        """Cut a text into the words that ``encode`` looks up, with the place of each of their characters."""
        letters, origins = "", list[tuple[int, int]]()
        for folded, start, end in self._located_characters(text):
            for letter in folded:
                if letter != " ":
                    letters += letter
                    origins.append((start, end))
                elif letters:
                    yield letters, origins
                    letters, origins = "", []
        if letters:
            yield letters, origins

    def _located_characters(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Give what each character becomes, begin and end; accents, which will be dropped, with the character before them."""
        folded, start, end = "", 0, 0
        for index, character in enumerate(text):
            found = self._characters[ord(character)]
            if self.lowercase and unicodedata.category(character) == "Mn":
                folded += found
                end = index + 1
            elif found:
                yield folded, start, end
                folded, start, end = found, index, index + 1
        yield folded, start, end
