"""What a comparison of two domains found, in figures and in plain words."""

from __future__ import annotations

import dataclasses
from typing import Any

from paddlenlp_embtune.data.domains.distance import DomainDistance
from paddlenlp_embtune.data.domains.terms import TermShift

__all__ = ["DomainReport", "LabelShift", "Lengths", "Side"]


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Characters of the texts of one side: percentiles.

    Args:
        median, p90, longest: of the texts as they are.
    """

    median: int
    p90: int
    longest: int


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two sets.

    Args:
        path: of its file.
        texts: how many it has.
        labels: share of the rows of each label; None where it has no labels.
        lengths: of its texts.
    """

    path: str
    texts: int
    labels: dict[str, float] | None
    lengths: Lengths


@dataclasses.dataclass(frozen=True)
class LabelShift:
    """How the labels of two labelled sets differ.

    Args:
        total_variation: half the sum of the differences of the shares: 0 for the same shares, 1 for none in common.
        only_first, only_second: labels that one side alone has.
    """

    total_variation: float
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class DomainReport:
    """How far two sets are apart.

    Args:
        first: the source: what a model is trained on.
        second: the target: what it is used on.
        shared: texts of the target that the source has too, after cleaning.
        distance: by a domain classifier.
        terms: how the words differ.
        label_shift: None unless both sides are labelled.
        level: ``same``, ``close``, ``apart`` or ``far``.
        meaning: what follows for a model, a sentence each.
    """

    first: Side
    second: Side
    shared: int
    distance: DomainDistance
    terms: TermShift
    label_shift: LabelShift | None
    level: str
    meaning: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return dataclasses.asdict(self)
