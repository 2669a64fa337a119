"""The part of a recipe about labels: how many a text has, and what they are called."""

from __future__ import annotations

import dataclasses

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_name

__all__ = ["LABEL_KINDS", "LabelSpec"]

LABEL_KINDS = ("single", "ordered", "multi")
"""One label a text; one on a scale; any number, none included."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSpec:
    """What the labels of a run are.

    Args:
        kind: ``single``, one label for each text; ``ordered``, one on a scale, whose answers have a level; ``multi``, any
            number for each text, none included. None finds out from the data: ``multi`` where rows have lists of several
            labels, or ``data.label_separator`` is stated; ``ordered`` as ``data.ordered`` says.
        names: the labels in the order of their numbers; None takes ``data.labels``.
    """

    kind: str | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_types(self, where="labels", error=RecipeError)
        if self.kind is not None:
            require_name("labels.kind", self.kind, LABEL_KINDS)
        if self.names is not None:
            require(len(self.names) >= 2, "labels.names", self.names, "two or more labels")
            require(len(set(self.names)) == len(self.names), "labels.names", self.names, "labels that differ from each other")
