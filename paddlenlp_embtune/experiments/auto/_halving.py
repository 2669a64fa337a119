"""Successive halving within a budget: which arms climb the next rung, and which are left out and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from paddlenlp_embtune.experiments.auto._forecast import Forecast
from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto._steps import Steps
from paddlenlp_embtune.experiments.auto.budget import in_words
from paddlenlp_embtune.experiments.auto.leaderboard import Entry, Standing, stand
from paddlenlp_embtune.experiments.auto.limits import Limits, ServingCost
from paddlenlp_embtune.experiments.auto.portfolio import Candidate
from paddlenlp_embtune.experiments.auto.rungs import Rung
from paddlenlp_embtune.experiments.cell import Cell, DataSet

__all__ = ["Halving"]

_PUBLISH_SECONDS = 2.0
_KIN = 1.25
"""How much longer than a like arm one may take that was not measured yet."""

Listener = Callable[[Sequence[Entry]], object]


class Halving:
    """Climbs the rungs with those arms that are worth their time.

    Args:
        candidates: from cheap to dear.
        data: the rows.
        rows: labelled rows that the last fit learns from.
        length: mean characters of a text.
        seed: of the first fits.
        metric: ``f1_macro`` or ``accuracy``.
        limits: that bundles must keep.
        steps: runs fits.
        forecast: of their time.
        announce: called with a sentence about what is done.
        listener: called with the leaderboard whenever it has changed.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        data: DataSet,
        *,
        rows: int,
        length: float,
        seed: int,
        metric: str,
        limits: Limits,
        steps: Steps,
        forecast: Forecast,
        announce: Callable[[str], object],
        listener: Listener,
    ) -> None:
        self.candidates = tuple(candidates)
        self.standing: Standing | None = None
        self.entries = {each.name: Entry(arm=each.name) for each in candidates}
        self.reasons: list[str] = []
        self.costs: dict[str, ServingCost] = {}
        self.climbed: list[Rung] = []
        self._data, self._rows, self._length, self._seed, self._metric, self._limits = data, rows, length, seed, metric, limits
        self._steps, self._clock, self._forecast = steps, steps.clock, forecast
        self._fitted: set[str] = set()
        self._announce, self._listener = announce, listener

    @property
    def alive(self) -> list[Candidate]:
        """The arms that are still tried, from cheap to dear."""
        return [each for each in self.candidates if self.entries[each.name].state == "in"]

    def leave_out(self, name: str, reason: str) -> None:
        """Try an arm no further."""
        self.entries[name] = dataclasses.replace(self.entries[name], state="out", reason=reason)
        self._announce(f"{name} is left out: {reason}")
        self._listener(self.leaderboard())

    def breaks_limits(self, name: str, cost: ServingCost, broken: Sequence[str]) -> None:
        """Try an arm no further whose bundle breaks limits."""
        self.entries[name] = dataclasses.replace(self.entries[name], cost=cost)
        self.leave_out(name, f"its bundle breaks a limit: {'; '.join(broken)}")

    def fitted(self, name: str, found: Measured) -> None:
        """Note that an arm has a bundle from all rows already, and what that took."""
        self._fitted.add(name)
        self._forecast.add(name, self._rows, found.seconds)
        self._forecast.start_seconds = max(self._forecast.start_seconds, found.start_seconds)
        if found.cost is not None:
            self.costs[name] = found.cost
            self.entries[name] = dataclasses.replace(self.entries[name], cost=found.cost)

    def leaderboard(self) -> list[Entry]:
        """Return all arms: those that were tried longest and scored best first."""
        return sorted(self.entries.values(), key=lambda each: (-each.rung, -(each.score if each.score is not None else -1.0)))

    def final_seconds(self, name: str) -> float:
        """Return what the fit of an arm on all rows takes; 0 where it is there."""
        if name in self._fitted:
            return 0.0
        return self._forecast.step_seconds(self._fit_seconds(name, self._rows), 1, jobs=1) + _PUBLISH_SECONDS

    def climb(self, rungs: Sequence[Rung]) -> None:
        """Climb as far as the budget and the differences between arms allow; the last standing stays."""
        for rung in rungs:
            if not self._may_climb(rung):
                return
            self._announce(rung.describe())
            standing = self._climb(rung)
            if standing is None or (self.standing is not None and len(standing.entries) < 2):
                return
            self.standing = standing
            self.climbed.append(rung)
            self._drop_behind(standing)
            if len(self.alive) < 2:
                self._say(f"{standing.leader} was the only arm left after rung {rung.number}")
                return

    def _may_climb(self, rung: Rung) -> bool:
        """Whether there are arms, and time on this rung for the leader and another that may be better."""
        if not self.alive:
            return False
        if self.standing is None:
            return True
        leader = self.standing.leader
        rivals = [each.name for each in self.alive if each.name != leader]
        lacking = {name: self._lacks_time(name, rung, beside=(leader,)) for name in rivals}
        if all(lacking.values()):
            name, lack = next(iter(lacking.items()))
            self._say(f"the search ended before rung {rung.number}: for {leader}, which led, and {name} {lack}")
            return False
        return True

    def _climb(self, rung: Rung) -> Standing | None:
        """Measure the arms of a rung, the cheap ones first; None where none has figures."""
        leader = None if self.standing is None else self.standing.leader
        cells: list[Cell] = []
        measured: dict[str, Measured] = {}
        for candidate in sorted(self.alive, key=lambda each: each.name != leader):
            if (lack := self._lacks_time(candidate.name, rung)) is not None:
                self.leave_out(candidate.name, lack)
                continue
            own = rung.cells(candidate.arm, self._data, seed=self._seed)
            found = self._measure(candidate.name, rung, own)
            if found is None:
                continue
            cells += own
            measured |= found
            self._note(stand(rung, own, found, metric=self._metric, costs=self.costs))
        if not cells:
            return None
        standing = stand(rung, cells, measured, metric=self._metric, costs=self.costs)
        self._note(standing)
        return standing

    def _note(self, standing: Standing) -> None:
        self.entries |= standing.entries
        self._listener(self.leaderboard())

    def _measure(self, name: str, rung: Rung, cells: Sequence[Cell]) -> dict[str, Measured] | None:
        """Run the fits of an arm on a rung; None where they failed or their bundle breaks a limit: it is then left out."""
        found = self._steps.run(cells, allowed_seconds=self._clock.left - self._reserved())
        failed = next((each.result.failed for each in found.values() if each.result.failed), None)
        if failed is not None:
            self.leave_out(name, failed)
            return None
        for each in found.values():
            self._forecast.add(name, rung.rows, each.seconds)
        self._forecast.start_seconds = max([self._forecast.start_seconds, *(each.start_seconds for each in found.values())])
        cost = found[cells[0].place].cost
        if cost is None:
            self.leave_out(name, "it leaves no bundle")
            return None
        self.costs[name] = cost
        if broken := self._limits.violations(cost):
            self.breaks_limits(name, cost, broken)
            return None
        return found

    def _reserved(self) -> float:
        """Seconds that are kept for the last fit of the arm that leads."""
        return 0.0 if self.standing is None else self.final_seconds(self.standing.leader)

    def _lacks_time(self, name: str, rung: Rung, *, beside: Sequence[str] = ()) -> str | None:
        """Say that there is no time for arms on a rung and for the last fit of one of them, or of the leader; None if there is.

        Args:
            name: of the arm.
            rung: the rung.
            beside: other arms that are measured before it.
        """
        needed = sum(self._step_seconds(each, rung) for each in (*beside, name))
        if not needed:
            return None
        kept = max(self.final_seconds(name), self._reserved())
        left = self._clock.left
        if needed + kept <= left:
            return None
        last = f" and {in_words(kept)} for the last fit on all rows" if kept else ""
        return f"about {in_words(needed)} were needed{last}, and {in_words(left)} were left"

    def _step_seconds(self, name: str, rung: Rung) -> float:
        """Return the seconds of those fits of an arm on a rung that are not there yet."""
        candidate = next(each for each in self.candidates if each.name == name)
        cells = rung.cells(candidate.arm, self._data, seed=self._seed)
        fits = sum(not self._steps.stands(cell) for cell in cells)
        return self._forecast.step_seconds(self._fit_seconds(name, rung.rows), fits, jobs=self._steps.jobs) if fits else 0.0

    def _fit_seconds(self, name: str, rows: int) -> float:
        """Return the seconds of one fit; of an arm that was not fitted yet by those like it, or by how much dearer it is."""
        known = self._forecast.fit_seconds(name, rows)
        if known is not None:
            return known
        candidate = next(each for each in self.candidates if each.name == name)
        kin = [self._forecast.fit_seconds(each.name, rows) for each in self.candidates if each.kind == candidate.kind]
        if measured := [seconds for seconds in kin if seconds is not None]:
            return _KIN * max(measured)
        linear = self._forecast.fit_seconds(self.candidates[0].name, rows) or 0.0
        return linear + candidate.learning_seconds(rows, length=self._length)

    def _drop_behind(self, standing: Standing) -> None:
        """Leave out whoever is behind beyond noise, and by more than further rows may make up for."""
        rung, leader = standing.rung, standing.leader
        level = standing.level
        for name in [each.name for each in self.alive if each.name not in level]:
            behind = standing.behind_by(name)
            if behind > rung.margin:
                self.leave_out(name, f"behind {leader} by {behind:.4f} on rung {rung.number}, beyond noise")
        others = [name for name in level if name != leader]
        beside = f"; within noise of it: {', '.join(others)}" if others else ""
        score = standing.entries[leader].score or 0.0
        self._say(f"on rung {rung.number} ({rung.rows:,} rows to learn from) {leader} led with {score:.4f}{beside}")

    def _say(self, reason: str) -> None:
        self.reasons.append(reason)
