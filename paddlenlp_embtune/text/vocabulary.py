"""The vocabulary: tokens in the order of their ids, with a fingerprint."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.files import write_text

__all__ = ["PAD", "PAD_ID", "UNK", "UNK_ID", "Vocabulary"]

PAD, UNK = "[PAD]", "[UNK]"
PAD_ID, UNK_ID = 0, 1
_BREAKING = re.compile(r"[\r\n\ud800-\udfff]")


class Vocabulary:
    """An immutable two-way table of tokens and ids; id 0 is padding, id 1 stands for everything unknown.

    Args:
        tokens: all tokens in the order of their ids, beginning with ``[PAD]`` and ``[UNK]``.
    Raises:
        DataError: the first two tokens are others, a token is there twice, is empty, or holds a line break or a lone surrogate.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        if list(tokens[:2]) != [PAD, UNK]:
            raise DataError(f"a vocabulary begins with {PAD} and {UNK}, this one with {list(tokens[:2])}")
        self.tokens = tuple(tokens)
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            token, count = Counter(self.tokens).most_common(1)[0]
            raise DataError(f"the token {token!r} stands in the vocabulary {count} times; legal: once")
        for token in self.tokens:
            if not token or _BREAKING.search(token):
                raise DataError(f"{token!r} cannot be a token; legal: one or more characters, no line break, no lone surrogate")

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.ids

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
