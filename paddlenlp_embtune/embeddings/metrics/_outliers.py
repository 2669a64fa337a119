"""Outliers: whether a word that does not belong to a group is the one that fits it least."""

from __future__ import annotations

import dataclasses

import numpy as np

from paddlenlp_embtune.embeddings.metrics.sampling import Table, unit_rows
from paddlenlp_embtune.errors import VectorError

__all__ = ["OutlierScore", "detect_outliers"]


@dataclasses.dataclass(frozen=True)
class OutlierScore:
    """How well outliers of one group stand out from its members.

    Args:
        tests: outliers that were tried, one after the other.
        accuracy: share of them that are found, 0 to 1; by chance 1 / (members + 1).
        position: mean place of the outlier among all, from 0 (fits best) to 1 (fits least); by chance a half. The paper calls
            it outlier position percentage.
    """

    tests: int
    accuracy: float
    position: float


def detect_outliers(members: Table, outliers: Table) -> OutlierScore:
    """Try each outlier beside all members of a group: the word without which the rest is most compact is taken for it.

    The compactness of the rest, the mean cosine of its pairs, is highest where the word that is left out has the lowest sum of
    cosines to all others; so only these sums are compared. Among equals, the outlier counts as found last.

    Args:
        members: (N, D) float32, two or more.
        outliers: (M, D) float32, one or more.
    Raises:
        VectorError: there are too few of one kind.
    Source:
        Camacho-Collados and Navigli 2016, "Find the word that does not belong: A Framework for an Intrinsic Evaluation of Word
        Vector Representations", section 3, equations 1 to 4
    """
    if len(members) < 2 or len(outliers) < 1:
        raise VectorError(
            f"there are {len(members)} members and {len(outliers)} outliers; expected two or more, and one or more"
        )
    group, others = unit_rows(members), unit_rows(outliers)
    crossed = group @ others.T
    of_members = (group @ group.sum(axis=0) - np.einsum("nd,nd->n", group, group))[:, None] + crossed
    of_outliers = crossed.sum(axis=0)
    place = np.count_nonzero(of_members > of_outliers, axis=0)
    return OutlierScore(len(outliers), float((place == len(group)).mean()), float(place.mean() / len(group)))
