"""WordPiece: subword tokens with the same ids as PaddleNLP's ``ErnieTokenizer`` and ``BertTokenizer``."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text._added_tokens import AddedTokenMatcher
from paddlenlp_embtune.text._offsets import append_span, parts_of
from paddlenlp_embtune.text._wordpiece_tables import CharacterTable, WordRules, WordTable
from paddlenlp_embtune.text.base import NO_FILES
from paddlenlp_embtune.text.vocabulary import Vocabulary

__all__ = ["WordPieceTokenizer"]

_CLS, _SEP = "[CLS]", "[SEP]"
Spans = Sequence[tuple[int, int, str]]


class WordPieceTokenizer:
    """Splits text into words and symbols, and these greedily into the longest pieces, ``##`` before all but the first.

    The ids are those of PaddleNLP's Python tokenizers, oddities included. Control and format characters, private use, lone
    surrogates, U+FFFD, and characters newer than Python's Unicode version are dropped: a vertical tab or U+0085 joins the words
    beside it. If accents are dropped, Hangul syllables are split into letters. Full width is kept. A word of more than 100
    characters is unknown.

    Unlike in PaddleNLP, on purpose, a text that spells ``[SEP]`` or ``[MASK]`` gets the pieces of its brackets and letters,
    unless ``whole`` names the token, so that texts cannot inject control tokens; and a text without pieces gets no ids at all.

    Args:
        vocabulary: must contain ``[CLS]`` and ``[SEP]``.
        lowercase: fold case, like ``do_lower_case`` in PaddleNLP.
        strip_accents: drop accents; None does so if case is folded.
        ideographs: each Chinese ideograph is a word, as with ``tokenize_chinese_chars``.
        symbols: each symbol is a word, not only punctuation, as in PaddleNLP; ``tokenizers`` keeps them in their words.
        words: split at punctuation, symbols and ideographs, as with ``do_basic_tokenize``; otherwise at white space only.
        frame: add ``[CLS]`` before and ``[SEP]`` after a text.
        whole: tokens to match before anything else, longest first.
        fold_whole: match them in the case-folded text, see :class:`AddedTokenMatcher`.
    Raises:
        DataError: the vocabulary lacks ``[CLS]`` or ``[SEP]``, or a token of ``whole``.
    Source:
        Devlin et al. 2019, "BERT", section 3, as in paddlenlp.transformers.bert.tokenizer
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        lowercase: bool = True,
        *,
        strip_accents: bool | None = None,
        ideographs: bool = True,
        symbols: bool = True,
        words: bool = True,
        frame: bool = True,
        whole: Sequence[str] = (),
        fold_whole: bool = False,
    ) -> None:
        for token in ((_CLS, _SEP) if frame else ()) + tuple(whole):
            if token not in vocabulary:
                raise DataError(f"the vocabulary of {len(vocabulary)} tokens lacks {token!r}, which WordPiece needs")
        accents = lowercase if strip_accents is None else strip_accents
        rules = WordRules(
            lowercase=lowercase, strip_accents=accents and words, ideographs=ideographs, symbols=symbols, words=words
        )
        self.vocabulary = vocabulary
        self.lowercase = lowercase
        self.whole = tuple(whole)
        self.prefix: tuple[int, ...] = (vocabulary.ids[_CLS],) if frame else ()
        self.suffix: tuple[int, ...] = (vocabulary.ids[_SEP],) if frame else ()
        given = {"ideographs": ideographs, "symbols": symbols, "words": words, "frame": frame}
        self._options: dict[str, Any] = {name: value for name, value in given.items() if not value}
        if accents != lowercase:
            self._options["strip_accents"] = accents
        if whole:
            self._options |= {"whole": list(whole), "fold_whole": fold_whole}
        self._rules = rules
        self._characters = CharacterTable(rules)
        self._words = WordTable(vocabulary, rules.strip_accents)
        self._whole = AddedTokenMatcher(whole, fold=fold_whole) if whole else None

    def on(self, vocabulary: Vocabulary) -> WordPieceTokenizer:
        """Build the same tokenizer on another vocabulary."""
        return WordPieceTokenizer(vocabulary, self.lowercase, **self._options)

    def tokens(self, text: str) -> list[str]:
        """Split a text into pieces, without ``[CLS]`` and ``[SEP]``; an unknown word stays whole."""
        table, found = self._words, list[str]()
        for begin, end, token in self._parts(text):
            if token:
                found.append(token)
                continue
            for word in text[begin:end].translate(self._characters).split():
                found += table.pieces("".join(word[at] for at in table.order(word)))
        return found

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Encode a text as the ids of ``[CLS]``, as many pieces as fit, and ``[SEP]``.

        Raises:
            DataError: ``max_length`` is too small for a single piece.
        """
        fixed = len(self.prefix) + len(self.suffix)
        if max_length is not None and max_length <= fixed:
            raise DataError(f"max_length must be {fixed + 1} or more, for {_CLS}, a piece and {_SEP}, got {max_length}")
        limit = None if max_length is None else max_length - fixed
        block = len(text) if max_length is None else 2 * max_length
        if self._whole is not None and (spans := self._whole.spans(text)):
            own = self._read_between(text, spans, block=block, limit=limit)
        else:
            own = self._read(text, block=block, limit=limit)
        return [*self.prefix, *own, *self.suffix] if own else []

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Return the spans (start, end) of the first ``limit`` pieces in the original text; None returns all.

        A dropped accent belongs to the character before it. Any two spans are equal or disjoint: pieces that share a character,
        such as those of a Hangul syllable, share one span.
        """
        spans: list[tuple[int, int]] = []
        for begin, end, token in self._parts(text):
            room = None if limit is None else limit - len(spans)
            if room is not None and room <= 0:
                break
            if token:
                spans.append((begin, end))
            else:
                inside = self._piece_spans(text[begin:end], limit=room)
                spans += [(begin + first, begin + last) for first, last in inside] if begin else inside
        return spans[:limit]

    def config(self) -> dict[str, Any]:
        """Return the options for rebuilding this tokenizer from the same vocabulary."""
        return {"name": "wordpiece", "lowercase": self.lowercase, **self._options}

    def files(self) -> Mapping[str, bytes]:
        """Return no files: only the vocabulary is needed."""
        return NO_FILES

    def _parts(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Split a text into added tokens and the stretches between them, whose name is empty."""
        return parts_of(text, self._whole.spans(text) if self._whole is not None else ())

    def _read_between(self, text: str, spans: Spans, *, block: int, limit: int | None) -> list[int]:
        """Return the ids of the first tokens of a text with tokens that are matched whole, ``limit`` at most."""
        ids: list[int] = []
        for begin, end, token in parts_of(text, spans):
            room = None if limit is None else limit - len(ids)
            if room is not None and room <= 0:
                break
            ids += [self.vocabulary.ids[token]] if token else self._read(text[begin:end], block=block, limit=room)
        return ids

    def _read(self, text: str, *, block: int, limit: int | None = None) -> list[int]:
        """Return the ids of the first pieces, ``limit`` at most, reading blocks of characters of doubling size."""
        ids: list[int] = []
        start, unfinished = 0, ""
        while start < len(text) and (limit is None or len(ids) < limit):
            folded = unfinished + text[start : start + block].translate(self._characters)
            start, block, unfinished = start + block, 2 * block, ""
            words = folded.split()
            if start < len(text) and not folded.endswith(" ") and words:
                unfinished = words.pop()
            ids.extend(chain.from_iterable(map(self._words.__getitem__, words)))
        return ids[:limit]

    def _piece_spans(self, text: str, *, limit: int | None) -> list[tuple[int, int]]:
        """Return the spans of the first pieces of a text without tokens that are matched whole."""
        spans: list[tuple[int, int]] = []
        for word, origins in self._located_words(text):
            if limit is not None and len(spans) >= max(limit, 1) and spans[-1][1] <= origins[0][0]:
                break
            order, first = self._words.order(word), 0
            for piece in self._words.pieces("".join(word[at] for at in order)):
                end = first + len(piece) - (2 if first else 0)
                under = [origins[at] for at in order[first:end]]
                append_span(spans, min(under)[0], max(under)[1])
                first = end
        return spans[:limit]

    def _located_words(self, text: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        """Split a text into the words that ``encode`` looks up, with the span of each of their characters."""
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
        """Yield the replacement of each character and its span; accents, which are dropped, share the span before them."""
        folded, start, end = "", 0, 0
        for index, character in enumerate(text):
            found = self._characters[ord(character)]
            if self._rules.strip_accents and unicodedata.category(character) == "Mn":
                folded += found
                end = index + 1
            elif found:
                yield folded, start, end
                folded, start, end = found, index, index + 1
        yield folded, start, end
