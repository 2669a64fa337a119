"""The part of a recipe about data augmentation: how training rows are varied, and how often."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most

__all__ = ["AugmentationSpec"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationSpec:
    """Add varied copies of the training rows, with their labels; the development rows stay as they are.

    Each method has a rate, 0 to 1: the share of a text's words, or characters, that it changes, one at least; 0 leaves the
    method out. It never touches the terms of the recipe and of its domain, negations, numbers and directions such as 涨 and 跌,
    and never moves anything across one of them. A copy that equals another text is not added.

    Args:
        copies: rows that each method adds for each training row, 1 to 16.
        lexicon: path of synonyms, a group a line, separated by white space or commas; or Cilin's format, whose groups marked
            ``#`` and ``@`` are no synonyms and are left out. Needed by ``synonyms`` and ``insertion``.
        synonyms: words that are replaced by a synonym.
        insertion: words of which a synonym is put in somewhere near.
        swap: words that change places.
        deletion: words that are dropped.
        homophones: characters that are replaced by one that sounds alike, as in typing errors.
        homophone_table: path of characters that sound alike, a group a line; None takes a small table of common ones.
        lookalikes: characters that are replaced by one that looks alike, as in scanning errors.
        lookalike_table: path of characters that look alike, a group a line; None takes a small table of common ones.
        masked: words that an encoder masks and fills in anew.
        encoder: the encoder that does, one that guesses masked tokens: a registered name, PaddleNLP's name, or a folder written
            with ``./`` or ``/`` in front; None takes that of ``model.encoder``.
        protected: path of further words that stay, one per line.
    Source:
        synonyms, insertion, swap, deletion: Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques for Boosting Performance
        on Text Classification Tasks", section 2, with the protection added; masked: Kumar, Choudhary and Cho 2020, "Data
        Augmentation using Pre-trained Transformer Models", section 3.1, without the label in front of the text
    """

    copies: int = 1
    lexicon: str | None = None
    synonyms: float = 0.0
    insertion: float = 0.0
    swap: float = 0.0
    deletion: float = 0.0
    homophones: float = 0.0
    homophone_table: str | None = None
    lookalikes: float = 0.0
    lookalike_table: str | None = None
    masked: float = 0.0
    encoder: str | None = None
    protected: str | None = None

    METHODS: ClassVar[tuple[str, ...]] = ("synonyms", "insertion", "swap", "deletion", "homophones", "lookalikes", "masked")
    WITH_LEXICON: ClassVar[tuple[str, ...]] = ("synonyms", "insertion")

    def __post_init__(self) -> None:
        check_types(self, where="augmentation", error=RecipeError)
        require(self.copies >= 1, "augmentation.copies", self.copies, "1 or more")
        require_at_most("augmentation.copies", self.copies, 16)
        for name in self.METHODS:
            require(0 <= getattr(self, name) <= 1, f"augmentation.{name}", getattr(self, name), "0 to 1")
        for name in self.WITH_LEXICON:
            if getattr(self, name) and self.lexicon is None:
                raise RecipeError(
                    f"augmentation.{name} is {getattr(self, name):g}, but there is no lexicon; expected in "
                    f"augmentation.lexicon the path of a file with a group of synonyms a line; or set augmentation.{name} to 0"
                )

    @property
    def rates(self) -> dict[str, float]:
        """The rates above 0 by method, in the order in which rows are added."""
        return {name: rate for name in self.METHODS if (rate := getattr(self, name))}
