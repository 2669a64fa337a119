"""The vocabulary: tokens in the order of their ids, with a fingerprint."""

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
# The unknown token stands at UNK_ID in vocabularies that we build; others say where theirs is, see ``unknown_id``.
PAD_ID, UNK_ID = 0, 1
_BREAKING = re.compile(r"[\r\n\ud800-\udfff]")


class Vocabulary:
    """An immutable two-way table of tokens and ids; id 0 is padding, ``[UNK]`` stands for everything unknown.

    A token may stand there twice, as ``$`` does in that of ERNIE 3.0: its last id is in use, as in PaddleNLP, and the other
    row of the embedding is never read.

    Args:
        tokens: all tokens in the order of their ids, ``[PAD]`` first, ``[UNK]`` anywhere, both once.
    Raises:
        DataError: ``[PAD]`` or ``[UNK]`` is not where it belongs, or a token is empty or holds a line break or lone surrogate.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        if self.tokens[:1] != (PAD,):
            raise DataError(f"a vocabulary begins with {PAD}, this one with {list(tokens[:2])}")
        for special in (PAD, UNK):
            if (count := self.tokens.count(special)) != 1:
                raise DataError(f"the token {special!r} stands in the vocabulary {count} times; expected once")
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        for token in self.ids:
            if not token or _BREAKING.search(token):
                raise DataError(
                    f"{token!r} cannot be a token; expected one or more characters, no line break, no lone surrogate"
                )

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
        """Build a vocabulary from counted tokens, frequent ones first (ties by code point), then further tokens.

        Args:
            counts: how often each token occurs.
            min_count: rarer tokens are left out.
            extra: tokens to append where they are not in yet.
        """
        kept = sorted((token for token, count in counts.items() if count >= min_count), key=lambda t: (-counts[t], t))
        return cls(list(dict.fromkeys([PAD, UNK, *kept, *extra])))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read one token a line, UTF-8, split on line feeds only.

        Raises:
            DataError: the file is not a vocabulary.
        """
        try:
            return cls(path.read_bytes().decode("utf-8").removesuffix("\n").split("\n"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 (byte {error.start}), so it is no vocabulary of ours") from None

    def save(self, path: Path) -> None:
        """Write one token a line, UTF-8."""
        write_text(path, "\n".join(self.tokens) + "\n")

    def fingerprint(self) -> str:
        """Return the SHA-256 over all tokens in order, 64 hexadecimal digits."""
        return hashlib.sha256("\n".join(self.tokens).encode("utf-8")).hexdigest()


def describe_vocabulary_difference(trained: Sequence[str], now: Sequence[str], *, max_shown: int = 3) -> str:
    """Say where two vocabularies first differ, so that ids no longer mean what they did; empty where they are the same.

    Args:
        trained: tokens in the order of their ids, as the weights know them.
        now: as they are here.
        max_shown: ids to show.
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
