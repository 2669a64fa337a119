"""Whether there is time for an arm: what its fits will take, and what must be kept for the last one."""

from __future__ import annotations

from collections.abc import Sequence

from paddlenlp_embtune.experiments.auto._forecast import Forecast
from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto._steps import Steps
from paddlenlp_embtune.experiments.auto.budget import in_words
from paddlenlp_embtune.experiments.auto.portfolio import Candidate
from paddlenlp_embtune.experiments.auto.rungs import Rung
from paddlenlp_embtune.experiments.cell import Cell, DataSet

__all__ = ["TimePlan"]

_START_SECONDS, _PUBLISH_SECONDS = 5.0, 2.0
_KIN = 1.25
"""How much longer than a like arm one may take that was not fitted yet."""


class TimePlan:
    """Forecasts by what was measured, and before that by arms that are like one, or by what is known of its kind.

    Args:
        candidates: the arms; the first is the linear one.
        data: the rows that they are compared on.
        rows: labelled rows that the last fit learns from.
        length: mean characters of a text.
        seed: of the first fits.
        steps: runs fits, on the clock of the budget.
    """

    def __init__(
        self, candidates: Sequence[Candidate], data: DataSet, *, rows: int, length: float, seed: int, steps: Steps
    ) -> None:
        self._candidates = {each.name: each for each in candidates}
        self._data, self._rows, self._length, self._seed = data, rows, length, seed
        self._steps = steps
        self._forecast = Forecast(start_seconds=_START_SECONDS)
        self._fitted: set[str] = set()

    @property
    def left(self) -> float:
        """Seconds that are left of the budget."""
        return self._steps.clock.left

    def cells(self, name: str, rung: Rung) -> list[Cell]:
        """Return the fits of an arm on a rung."""
        return rung.cells(self._candidates[name].arm, self._data, seed=self._seed)

    def note(self, name: str, measured: Measured, *, passes: float) -> None:
        """Note what a fit took that read so many texts."""
        self._forecast.add(name, passes, measured.seconds, measured.learning_seconds)
        self._forecast.start_seconds = max(self._forecast.start_seconds, measured.start_seconds)

    def note_rung(self, name: str, rung: Rung, found: Sequence[Measured]) -> None:
        """Note what the fits of an arm on a rung took."""
        for each in found:
            self.note(name, each, passes=self._candidates[name].passes(rung.rows))

    def note_final(self, name: str, measured: Measured) -> None:
        """Note that an arm was fitted on all rows, which need not be done again."""
        self._fitted.add(name)
        self.note(name, measured, passes=self._candidates[name].passes(self._rows))

    def final_seconds(self, name: str) -> float:
        """Return what the fit of an arm on all rows takes; 0 where it is there."""
        if name in self._fitted:
            return 0.0
        return self._forecast.step_seconds(self._fit_seconds(name, self._rows), 1, jobs=1) + _PUBLISH_SECONDS

    def lack(self, name: str, rung: Rung, *, leader: str | None, beside: Sequence[str] = ()) -> str | None:
        """Say that there is no time for arms on a rung and for the last fit of one of them, or of the leader; None if there is.

        Args:
            name: of the arm.
            rung: the rung.
            leader: the arm that leads so far.
            beside: other arms that are measured before it.
        """
        needed = sum(self._step_seconds(each, rung) for each in (*beside, name))
        kept = max(self.final_seconds(each) for each in (name, leader or name))
        left = self.left
        if not needed or needed + kept <= left:
            return None
        last = f" and {in_words(kept)} for the last fit on all rows" if kept else ""
        return f"about {in_words(needed)} were needed{last}, and {in_words(left)} were left"

    def _step_seconds(self, name: str, rung: Rung) -> float:
        """Return the seconds of those fits of an arm on a rung that are not there yet."""
        fits = sum(not self._steps.stands(cell) for cell in self.cells(name, rung))
        return self._forecast.step_seconds(self._fit_seconds(name, rung.rows), fits, jobs=self._steps.jobs) if fits else 0.0

    def _fit_seconds(self, name: str, rows: int) -> float:
        """Return the seconds of one fit on so many rows."""
        candidate = self._candidates[name]
        passes = candidate.passes(rows)
        known = self._forecast.fit_seconds(name, passes)
        if known is not None:
            return known
        kin = [self._forecast.fit_seconds(other, passes) for other, each in self._candidates.items() if each.is_like(candidate)]
        if measured := [seconds for seconds in kin if seconds is not None]:
            return _KIN * max(measured)
        linear = self._forecast.fit_seconds(next(iter(self._candidates)), passes) or 0.0
        return linear + candidate.token_seconds * passes * self._length
