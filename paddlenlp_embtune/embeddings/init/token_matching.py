"""Matching tokens of a vocabulary to rows of pretrained vectors, by name or by fallbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.init._edit_distance import EditIndex
from paddlenlp_embtune.embeddings.init.coverage import Coverage, Origin
from paddlenlp_embtune.embeddings.init.token_variants import (
    DEFAULT_FALLBACKS,
    MAX_PIECE_LENGTH,
    RESPELLINGS,
    check_fallbacks,
    is_special,
    respell,
    spellings,
    text_of,
)
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.text import PAD_ID, Vocabulary

__all__ = ["TokenMatch", "build_coverage", "match_tokens"]

Row = npt.NDArray[np.float32]
Steps = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TokenMatch:
    """The match of a token.

    Args:
        origin: how it was found, an ``Origin`` value.
        sources: the names in the vectors from which the row was computed; empty if the vectors composed it.
        row: (D,) float32.
    """

    origin: str
    sources: tuple[str, ...]
    row: Row


def match_tokens(tokens: Iterable[str], vectors: VectorTable, fallbacks: Sequence[str] | None = None) -> dict[str, TokenMatch]:
    """Find rows for tokens: by exact name first, then by one fallback after another.

    Zero rows of the vectors count as absent.

    Args:
        tokens: the tokens to look up.
        vectors: the pretrained vectors; of two names one edit away, the lower row wins, as files list frequent words first.
        fallbacks: what to try, in this order: ``case`` (upper, lower, title), ``marker`` (``股`` for ``##股`` or ``▁股``),
            ``width`` (full and half width, and other forms that are equal under Unicode NFKC), ``script`` (traditional and
            simplified), each also combined with those before it; ``subwords`` (composed by the vectors themselves, as
            fastText does), ``pieces`` (mean of the longest names that a spelling of the token consists of, from the left),
            ``edit`` (a name one edit away, for three characters or more). None: the first four, and ``subwords`` where the
            vectors compose.
    Returns:
        matches by token, without tokens for which nothing was found
    Raises:
        VectorError: there is no such fallback, or ``subwords`` is requested and the vectors cannot compose.
    """
    search = _Search(vectors)
    names = check_fallbacks(_usual(vectors) if fallbacks is None else fallbacks)
    if "subwords" in names and vectors.compose is None:
        raise VectorError(
            f"{vectors.source} cannot compose tokens from subwords, as binary fastText files can; "
            f"omit 'subwords': {[name for name in names if name != 'subwords']}"
        )
    found: dict[str, TokenMatch] = {}
    open_tokens: dict[str, dict[str, Steps]] = {}
    for token in dict.fromkeys(tokens):
        if match := search.named(token, Origin.EXACT):
            found[token] = match
        elif not is_special(token):
            open_tokens[token] = {token: ()}
    for at, name in enumerate(names):
        for token, match in search.by(name, open_tokens, names[: at + 1]):
            found[token] = match
        open_tokens = {token: forms for token, forms in open_tokens.items() if token not in found}
    return found


def build_coverage(vocabulary: Vocabulary, source: str, matches: Mapping[str, TokenMatch], *, unknown: bool) -> Coverage:
    """Describe the origin of each row of a vocabulary's table.

    Args:
        vocabulary: V tokens.
        source: where the vectors were read from.
        matches: the result of ``match_tokens``; includes padding and unknown only if they were looked up.
        unknown: whether the source has a row for unknown tokens.
    """
    origins: list[str] = []
    missing: list[str] = []
    for index, token in enumerate(vocabulary.tokens):
        if token in matches:
            origins.append(matches[token].origin)
        elif index == PAD_ID:
            origins.append(Origin.PADDING)
        elif index == vocabulary.unknown_id:
            origins.append(Origin.UNKNOWN if unknown else Origin.SAMPLED)
        else:
            origins.append(Origin.SAMPLED)
            missing.append(token)
    sources = tuple(matches[token].sources if token in matches else () for token in vocabulary.tokens)
    return Coverage(source, tuple(origins), tuple(missing), vocabulary.tokens, sources)


def _usual(vectors: VectorTable) -> tuple[str, ...]:
    return DEFAULT_FALLBACKS if vectors.compose is None else (*DEFAULT_FALLBACKS, "subwords")


class _Search:
    """Applies one fallback at a time to all unmatched tokens, remembering the spellings tried so far."""

    def __init__(self, vectors: VectorTable) -> None:
        self.vectors = vectors

    def by(self, name: str, tokens: dict[str, dict[str, Steps]], tried: Sequence[str]) -> Iterator[tuple[str, TokenMatch]]:
        if name == "edit":
            yield from self._edits(tokens)
            return
        for token, forms in tokens.items():
            if name in RESPELLINGS:
                match = self._first(respell(forms, name))
            elif name == "subwords":
                match = self._composed(text_of(token))
            else:
                match = self._pieces(dict.fromkeys(map(text_of, forms)), tried)
            if match is not None:
                yield token, match

    def named(self, name: str, origin: str) -> TokenMatch | None:
        number = self.vectors.rows.get(name)
        row = self.vectors.table[number] if number is not None else None
        return TokenMatch(origin, (name,), row) if row is not None and row.any() else None

    def _first(self, candidates: Iterable[tuple[str, str]]) -> TokenMatch | None:
        matches = (self.named(name, origin) for name, origin in candidates)
        return next((match for match in matches if match is not None), None)

    def _composed(self, text: str) -> TokenMatch | None:
        row = self.vectors.compose(text) if self.vectors.compose is not None else None
        return TokenMatch(Origin.SUBWORDS, (), row) if row is not None and row.any() else None

    def _pieces(self, texts: Iterable[str], fallbacks: Sequence[str]) -> TokenMatch | None:
        """Choose the spelling with the fewest uncovered characters, then the fewest pieces, then the first."""
        cut = [self._cut(text, fallbacks) for text in texts]
        parts = min(cut, key=lambda each: (each[1], len(each[0])))[0]
        if not parts:
            return None
        row = np.asarray(np.mean([part.row for part in parts], axis=0, dtype=np.float64), dtype=np.float32)
        return TokenMatch(Origin.PIECES, tuple(part.sources[0] for part in parts), row) if row.any() else None

    def _cut(self, text: str, fallbacks: Sequence[str]) -> tuple[list[TokenMatch], int]:
        """Split a text into the longest known names, from the left; also return the number of uncovered characters."""
        parts: list[TokenMatch] = []
        at = left_out = 0
        while at < len(text):
            ends = range(min(len(text), at + MAX_PIECE_LENGTH), at, -1)
            names = (self.named(text[at:end], Origin.PIECES) for end in ends)
            part = next((match for match in names if match is not None), None)
            at += len(part.sources[0]) if part else 1
            if part := part or self._first(spellings(text[at - 1], fallbacks)):
                parts.append(part)
            else:
                left_out += 1
        return parts, left_out

    def _edits(self, tokens: Iterable[str]) -> Iterator[tuple[str, TokenMatch]]:
        index = EditIndex(map(text_of, tokens))
        nearest: dict[str, tuple[int, str]] = {}
        for name, number in self.vectors.rows.items() if index else ():
            for text in index.near(name):
                if number < nearest.get(text, (number + 1, ""))[0] and self.vectors.table[number].any():
                    nearest[text] = number, name
        for token in tokens:
            if hit := nearest.get(text_of(token)):
                yield token, TokenMatch(Origin.EDIT, (hit[1],), self.vectors.table[hit[0]])
