"""The leaderboard: how the arms of a choice stand, by their scores on rows that they have not learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.experiments.analysis import analyze
from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto.limits import ServingCost
from paddlenlp_embtune.experiments.auto.rungs import Rung
from paddlenlp_embtune.experiments.cell import Cell

__all__ = ["Entry", "Standing", "stand"]

_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """How an arm stands.

    Args:
        arm: its name.
        rung: number of the last rung that it was measured on; 0 for none.
        score: mean over folds and seeds of the metric, on rows that it had not learned from; None where it was not measured.
        interval: 95%, of the score.
        rows: that it was measured on.
        seconds: of one fit on that rung.
        cost: of its bundle where it serves; None where none was measured.
        within_noise: whether it led, or was within noise of the arm that led, on that rung.
        state: ``in`` while it is tried further; ``behind`` another beyond noise; ``late`` where there was no time for it;
            ``out`` where it failed or breaks a limit; ``chosen`` at the end.
        reason: why it is not tried further.
    """

    arm: str
    rung: int = 0
    score: float | None = None
    interval: tuple[float, float] | None = None
    rows: int = 0
    seconds: float | None = None
    cost: ServingCost | None = None
    within_noise: bool = False
    state: str = "in"
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Standing:
    """The arms of one rung against each other.

    Args:
        rung: number of the rung.
        table: of :func:`paddlenlp_embtune.experiments.analysis.analyze`.
        entries: by arm, from the best score down.
    """

    rung: Rung
    table: Mapping[str, Any]
    entries: dict[str, Entry]

    @property
    def leader(self) -> str:
        """The arm with the best score."""
        return next(iter(self.entries))

    @property
    def level(self) -> list[str]:
        """The leader and the arms within noise of it."""
        return list(self.table["order"]["best"])

    def behind_by(self, arm: str) -> float:
        """How far the score of an arm is below the leader's."""
        return float(self.entries[self.leader].score or 0.0) - float(self.entries[arm].score or 0.0)


def stand(
    rung: Rung,
    cells: Sequence[Cell],
    measured: Mapping[str, Measured],
    *,
    metric: str,
    entries: Mapping[str, Entry],
) -> Standing:
    """Compare the arms of a rung by paired resamples of the rows that all of them were measured on.

    Args:
        rung: the rung.
        cells: of all its arms.
        measured: what they left, by :attr:`Cell.place`; all of them have figures.
        metric: ``f1_macro`` or ``accuracy``.
        entries: of all arms as they stood; what their bundles cost is kept.
    """
    results = {place: each.result for place, each in measured.items()}
    (table,) = analyze(cells, results, against=cells[0].arm.name, metric=metric, resamples=_RESAMPLES)["tables"]
    entries = {
        row["arm"]: Entry(
            arm=row["arm"],
            rung=rung.number,
            score=row[metric]["mean"],
            interval=tuple(row[metric]["interval"]),
            rows=table["test_rows"],
            seconds=row["cost"]["seconds"],
            cost=entries[row["arm"]].cost,
            within_noise=row["arm"] in table["order"]["best"],
        )
        for row in table["arms"]
    }
    return Standing(rung, table, entries)
