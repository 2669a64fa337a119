"""Cleaning steps of a recipe in front of a tokenizer, so that training and serving read a text alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.errors import DataError, expected_names
from paddlenlp_embtune.text._offsets import append_span
from paddlenlp_embtune.text.base import Tokenizer, TokenizerOnBase
from paddlenlp_embtune.text.cleaning_steps import CLEANING_STEPS, apply_cleaning, trace_cleaning
from paddlenlp_embtune.text.normalization import CLEANING
from paddlenlp_embtune.text.vocabulary import Vocabulary

__all__ = ["CleaningTokenizer", "with_cleaning", "without_cleaning"]


@dataclasses.dataclass(frozen=True)
class CleaningTokenizer(TokenizerOnBase):
    """Applies cleaning steps to a text, and splits what is left with another tokenizer.

    Args:
        base: the other tokenizer; one that has no steps itself.
        steps: names in :data:`paddlenlp_embtune.text.CLEANING_STEPS`, in the order in which they are applied.
    Raises:
        DataError: a step is unknown or stands there twice, there is none, or ``base`` has steps itself.
    """

    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        for step in self.steps:
            if step not in CLEANING_STEPS:
                raise DataError(f"the cleaning step {step!r} is unknown; {expected_names(step, CLEANING_STEPS)}")
        if not self.steps or len(set(self.steps)) != len(self.steps):
            raise DataError(f"a tokenizer needs one or more cleaning steps, each once, got {list(self.steps)}")
        if isinstance(self.base, CleaningTokenizer):
            raise DataError("the base tokenizer must not have cleaning steps itself; pass one list of steps")

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of ``base``."""
        return self.base.vocabulary

    @property
    def cleaning(self) -> int:
        """The cleaning rule of ``base``."""
        return int(getattr(self.base, "cleaning", CLEANING))

    def tokens(self, text: str) -> list[str]:
        """Clean a text and split it into tokens."""
        return self.base.tokens(apply_cleaning(text, self.steps))

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Encode a cleaned text as at most ``max_length`` ids; empty if nothing is left of it."""
        return self.base.encode(apply_cleaning(text, self.steps), max_length=max_length)

    def offsets(self, text: str, *, limit: int | None = None) -> list[tuple[int, int]]:
        """Return the spans (start, end) of the first ``limit`` tokens in the original text; None returns all."""
        cleaned, origins = trace_cleaning(text, self.steps)
        if origins is None:
            return self.base.offsets(cleaned, limit=limit)
        spans: list[tuple[int, int]] = []
        for begin, end in self.base.offsets(cleaned):  # all of them: a later token may share a span with an earlier one
            append_span(spans, origins[begin][0], origins[end - 1][1])
        return spans[:limit]

    def config(self) -> dict[str, Any]:
        """Return the options for rebuilding this tokenizer from the same vocabulary and files."""
        return {"name": "cleaned", "cleaning_steps": list(self.steps), "base": self.base.config()}

    def files(self) -> Mapping[str, bytes]:
        """Return the files that ``base`` needs besides its vocabulary."""
        return self.base.files()


def with_cleaning(tokenizer: Tokenizer, steps: Sequence[str]) -> Tokenizer:
    """Put cleaning steps in front of a tokenizer; one that has steps keeps them.

    Raises:
        DataError: it has other steps, or a step is unknown.
    """
    base, present = without_cleaning(tokenizer)
    if present and steps and tuple(steps) != present:
        raise DataError(
            f"text.cleaning is {list(steps)}, but the tokenizer has the steps {list(present)}; expected the same, or left out"
        )
    return CleaningTokenizer(base, tuple(steps) or present) if steps or present else tokenizer


def without_cleaning(tokenizer: Tokenizer) -> tuple[Tokenizer, tuple[str, ...]]:
    """Part a tokenizer into the one that splits and the steps in front of it, which may be none."""
    return (tokenizer.base, tokenizer.steps) if isinstance(tokenizer, CleaningTokenizer) else (tokenizer, ())
