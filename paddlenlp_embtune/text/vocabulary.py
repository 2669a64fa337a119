"""The vocabulary: tokens in id order, with a fingerprint."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = ["PAD", "PAD_ID", "UNK", "UNK_ID", "Vocabulary", "describe_vocabulary_difference"]

PAD, UNK = "[PAD]", "[UNK]"
# The unknown token has the id UNK_ID in vocabularies built here; in others it may be anywhere, see ``unknown_id``.
PAD_ID, UNK_ID = 0, 1
_BREAKING = re.compile(r"[\r\n\ud800-\udfff]")


class Vocabulary:
    """An immutable two-way table of tokens and ids; id 0 is padding, ``[UNK]`` represents all unknown tokens.

    A token may occur twice, as ``$`` does in ERNIE 3.0: as in PaddleNLP, its last id is used, and the other row of the
    embedding is never read.

    Args:
        tokens: all tokens in id order, ``[PAD]`` first, ``[UNK]`` anywhere, both exactly once.
    Raises:
        DataError: ``[PAD]`` or ``[UNK]`` is misplaced, or a token is empty or contains a line break or lone surrogate.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        if self.tokens[:1] != (PAD,):
            raise DataError(f"a vocabulary must begin with {PAD}, got {list(tokens[:2])}")
        for special in (PAD, UNK):
            if (count := self.tokens.count(special)) != 1:
                raise DataError(f"the token {special!r} must occur once in the vocabulary, got {count} times")
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        for token in self.ids:
            if not token or _BREAKING.search(token):
                raise DataError(f"a token must have one or more characters and no line break or lone surrogate, got {token!r}")

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.ids

    @property
    def unknown_id(self) -> int:
        """The id of ``[UNK]``."""
        return self.ids[UNK]

    @classmethod
    def from_counts(cls, counts: Counter[str], *, min_count: int = 1, extra: Iterable[str] = ()) -> Vocabulary:
        """Build a vocabulary from token counts, most frequent first (ties by code point), followed by extra tokens.

        Args:
            counts: how often each token occurs.
            min_count: rarer tokens are left out.
            extra: tokens to append if missing.
        """
        kept = sorted((token for token, count in counts.items() if count >= min_count), key=lambda t: (-counts[t], t))
        return cls(list(dict.fromkeys([PAD, UNK, *kept, *extra])))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read one token per line, UTF-8, split on line feeds only.

        Raises:
            DataError: the file is not a vocabulary.
        """
        try:
            return cls(path.read_bytes().decode("utf-8").removesuffix("\n").split("\n"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 (byte {error.start}), so it is not a vocabulary of this package") from None

    def save(self, path: Path) -> None:
        """Write one token per line, UTF-8."""
        write_text(path, "\n".join(self.tokens) + "\n")

    def fingerprint(self) -> str:
        """Return the SHA-256 of all tokens in order, 64 hexadecimal digits."""
        return hashlib.sha256("\n".join(self.tokens).encode("utf-8")).hexdigest()


def describe_vocabulary_difference(trained: Sequence[str], now: Sequence[str], *, max_shown: int = 3) -> str:
    """Describe where two vocabularies first differ, which changes the meaning of ids; empty if they are equal.

    Args:
        trained: tokens in id order, at training time.
        now: tokens in id order, now.
        max_shown: maximum number of ids to show.
    """
    both = min(len(trained), len(now))
    different = [number for number in range(both) if trained[number] != now[number]]
    parts = [f"id {number} was {trained[number]!r} and is {now[number]!r}" for number in different[:max_shown]]
    if len(different) > max_shown:
        parts.append(f"{len(different)} of {both} ids differ")
    if len(trained) > both:
        parts.append(f"{len(trained) - both} tokens are missing at the end, {trained[both]!r} first")
    if len(now) > both:
        parts.append(f"{len(now) - both} tokens are new at the end, {now[both]!r} first")
    return "; ".join(parts)
