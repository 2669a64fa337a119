"""The rungs of successive halving: how many rows arms learn from, and on how many folds they are measured."""

from __future__ import annotations

import dataclasses

from paddlenlp_embtune.experiments.arms import Arm
from paddlenlp_embtune.experiments.cell import Cell, DataSet

__all__ = ["FOLDS", "Rung", "plan_rungs"]

FOLDS = 4
_SEEDS = 3
_LEAST_ROWS = 400
"""Fewer rows than these to learn from say too little about more of them, and cost hardly less."""
_LEARNING = 0.04


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rung:
    """One rung. All arms of a rung learn from the same rows and are measured on the same others.

    Args:
        number: from 1 on.
        share: of the rows outside a fold that are learned from, above 0, at most 1.
        folds: how many of the :data:`FOLDS` folds are measured.
        seeds: how often each is fitted.
        rows: that one fit learns from, before development rows are held out of them.
    """

    number: int
    share: float
    folds: int
    seeds: int
    rows: int

    @property
    def margin(self) -> float:
        """How far an arm may be behind beyond noise and still gain enough from the rows that this rung leaves out."""
        return _LEARNING * (1.0 - self.share)

    def cells(self, arm: Arm, data: DataSet, *, seed: int) -> list[Cell]:
        """Return the fits of an arm."""
        size = None if self.share == 1.0 else self.rows
        return [
            Cell(arm=arm, data=data, seed=seed + number, size=size, fold=(fold, FOLDS))
            for number in range(self.seeds)
            for fold in range(self.folds)
        ]

    def describe(self) -> str:
        """Return the rung in words."""
        seeds = "" if self.seeds == 1 else f", {self.seeds} seeds"
        folds = "1 fold" if self.folds == 1 else f"{self.folds} folds"
        return f"rung {self.number}: {self.rows:,} rows to learn from, measured on {folds} of {FOLDS}{seeds}"


def plan_rungs(least_fold: int) -> tuple[Rung, ...]:
    """Return the rungs of a choice.

    Args:
        least_fold: the fewest rows that are left to learn from when a fold is taken away.
    Source:
        Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", with rows as the
        resource; who is behind is decided by paired resamples and not by rank
    """
    steps = [(share, 2, 1) for share in (0.25, 0.5) if least_fold * share >= _LEAST_ROWS]
    steps += [(1.0, 2, 1), *((1.0, FOLDS, seeds) for seeds in range(1, _SEEDS + 1))]
    return tuple(
        Rung(number=number, share=share, folds=folds, seeds=seeds, rows=max(2, int(least_fold * share)))
        for number, (share, folds, seeds) in enumerate(steps, 1)
    )
