"""Encoding texts as model input: ids, in windows if a text is too long."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.text.base import Tokenizer
from paddlenlp_embtune.text.normalization import is_blank
from paddlenlp_embtune.text.windows import WindowSpec, split_windows

__all__ = ["TokenizedTexts", "chunk_texts", "tokenize_texts"]

_TEXTS_PER_CHUNK, _CHARACTERS_PER_CHUNK = 2048, 1 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class TokenizedTexts:
    """Model input for N texts, in W windows.

    Args:
        ids: of each window; empty for a text without visible characters.
        first: index of each text's first window, (N + 1,) int64, with W at the end.
        spans: start and end of each window in its text; None if long texts are truncated instead.
        cut: indices of the texts that were truncated.
    """

    ids: Sequence[Sequence[int]]
    first: npt.NDArray[np.int64]
    spans: Sequence[tuple[int, int]] | None = None
    cut: Sequence[int] = ()


def tokenize_texts(
    texts: Sequence[str], tokenizer: Tokenizer, *, max_length: int, windows: WindowSpec | None, start: int = 0
) -> TokenizedTexts:
    """Encode texts as model input.

    Args:
        texts: N texts.
        tokenizer: the model's.
        max_length: maximum number of ids of a window.
        windows: how to read longer texts; None truncates them.
        start: index of the first text, for messages.
    Raises:
        TypeError: an item is not a string; the message gives its index.
    """
    ids, spans, first, cut = list[Sequence[int]](), list[tuple[int, int]](), [0], list[int]()
    behind = max_length - len(tokenizer.suffix)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text number {start + index} must be a str, got {text!r} of type {type(text).__name__}")
        # One id beyond the limit shows whether there is more; it costs next to nothing.
        whole = [] if is_blank(text) else tokenizer.encode(text, max_length=max_length + 1)
        if len(whole) <= max_length:
            ids.append(whole)
            spans.append((0, len(text)))
        elif windows is None:
            ids.append([*whole[:behind], *tokenizer.suffix])
            spans.append((0, len(text)))
            cut.append(index)
        else:
            parts = split_windows(text, tokenizer, max_length=max_length, overlap=windows.overlap_tokens)
            ids.extend(tokenizer.encode(text[begin:end], max_length=max_length) for begin, end in parts)
            spans.extend(parts)
        first.append(len(ids))
    return TokenizedTexts(ids, np.asarray(first, dtype=np.int64), spans if windows is not None else None, cut)


def chunk_texts(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (index of the first text, about two thousand texts, or fewer if they are long)."""
    chunk, start, characters = list[str](), 0, 0
    try:
        for text in texts:
            chunk.append(text)
            characters += len(text) if isinstance(text, str) else 0
            if len(chunk) == _TEXTS_PER_CHUNK or characters > _CHARACTERS_PER_CHUNK:
                yield start, chunk
                start, chunk, characters = start + len(chunk), [], 0
    except Exception:  # of the source: raised after the texts before it
        if chunk:
            yield start, chunk
        raise
    if chunk:
        yield start, chunk
