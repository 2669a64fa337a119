"""Successive halving within a budget: which arms climb the next rung, and which are left out and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto._plan import TimePlan
from paddlenlp_embtune.experiments.auto._steps import Steps
from paddlenlp_embtune.experiments.auto.leaderboard import Entry, Standing, stand
from paddlenlp_embtune.experiments.auto.limits import Limits
from paddlenlp_embtune.experiments.auto.portfolio import Candidate
from paddlenlp_embtune.experiments.auto.rungs import FOLDS, Rung
from paddlenlp_embtune.experiments.cell import Cell, DataSet

__all__ = ["Halving"]

_PROBE_SHARE = 0.5
"""How much of the time that is left a fit on a few rows may take: more, and there is none for the arm."""

Say = Callable[[str], object]
Listener = Callable[[Sequence[Entry]], object]


class Halving:
    """Climbs the rungs with those arms that are worth their time.

    Args:
        candidates: from cheap to dear.
        probe: a few rows, on which arms on encoders are fitted first.
        seed: of the first fits.
        metric: ``f1_macro`` or ``accuracy``.
        limits: that bundles must keep.
        steps: runs fits.
        plan: says for what there is time.
        announce: called with a sentence about what is done.
        listener: called with the leaderboard whenever it has changed.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        probe: DataSet,
        *,
        seed: int,
        metric: str,
        limits: Limits,
        steps: Steps,
        plan: TimePlan,
        announce: Say,
        listener: Listener,
    ) -> None:
        self.candidates, self.plan, self.limits = tuple(candidates), plan, limits
        self.entries = {each.name: Entry(arm=each.name) for each in candidates}
        self.standing: Standing | None = None
        self.climbed: list[Rung] = []
        self.reasons: list[str] = []
        self._ahead: str | None = None
        self._probe, self._seed, self._metric, self._steps = probe, seed, metric, steps
        self._announce, self._listener = announce, listener

    @property
    def alive(self) -> list[Candidate]:
        """The arms that are still tried, from cheap to dear."""
        return [each for each in self.candidates if self.entries[each.name].state == "in"]

    @property
    def leader(self) -> str | None:
        """The arm with the best score so far on the rung that is climbed, or on the last one."""
        if self._ahead is not None:
            return self._ahead
        return None if self.standing is None else self.standing.leader

    def leaderboard(self) -> list[Entry]:
        """Return all arms: those that were tried longest and scored best first."""
        return sorted(self.entries.values(), key=lambda each: (-each.rung, -(each.score if each.score is not None else -1.0)))

    def leave_out(self, name: str, reason: str, *, state: str = "out") -> None:
        """Try an arm no further; ``state`` says whether it may be chosen nevertheless, see :class:`Entry`."""
        self.entries[name] = dataclasses.replace(self.entries[name], state=state, reason=reason)
        self._announce(f"{name} is left out: {reason}")
        self._listener(self.leaderboard())

    def keeps_limits(self, name: str, found: Measured) -> bool:
        """Note what the bundle of an arm costs; leave the arm out where that breaks a limit, or the fit failed."""
        if found.result.failed is not None or found.cost is None:
            self.leave_out(name, found.result.failed or "it leaves no bundle")
            return False
        self.entries[name] = dataclasses.replace(self.entries[name], cost=found.cost)
        if broken := self.limits.violations(found.cost):
            self.leave_out(name, f"its bundle breaks a limit: {'; '.join(broken)}")
            return False
        return True

    def climb(self, rungs: Sequence[Rung]) -> None:
        """Climb as far as the budget and the differences between arms allow; the last standing with several arms stays."""
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
                self.reasons.append(f"{standing.leader} was the only arm left after rung {rung.number}")
                return

    def _may_climb(self, rung: Rung) -> bool:
        """Whether there are arms, and time on this rung for the leader and another that may be better."""
        leader = self.leader
        if leader is None or not self.alive:
            return bool(self.alive)
        rivals = [each.name for each in self.alive if each.name != leader]
        lacking = {name: self.plan.lack(name, rung, leader=leader, beside=(leader,)) for name in rivals}
        if all(lacking.values()):
            name, lack = next(iter(lacking.items()))
            self.reasons.append(f"the search ended before rung {rung.number}: for {leader}, which led, and {name} {lack}")
            return False
        return True

    def _climb(self, rung: Rung) -> Standing | None:
        """Measure the arms of a rung, the leader first and then the cheap ones; None where none has figures."""
        cells: list[Cell] = []
        measured: dict[str, Measured] = {}
        first = self.leader
        for candidate in sorted(self.alive, key=lambda each: each.name != first):
            found = self._measure(candidate, rung)
            if found is not None:
                own = self.plan.cells(candidate.name, rung)
                self._note(stand(rung, own, found, metric=self._metric, entries=self.entries))
                cells += own
                measured |= found
                self._ahead = max({cell.arm.name for cell in cells}, key=lambda name: (self.entries[name].score or 0.0, name))
        self._ahead = None
        if not cells:
            return None
        standing = stand(rung, cells, measured, metric=self._metric, entries=self.entries)
        self._note(standing)
        return standing

    def _note(self, standing: Standing) -> None:
        self.entries |= standing.entries
        self._listener(self.leaderboard())

    def _measure(self, candidate: Candidate, rung: Rung) -> dict[str, Measured] | None:
        """Run the fits of an arm on a rung; None where it is left out, because of its time, its limits, or a failure."""
        name = candidate.name
        if not self._is_probed(candidate):
            return None
        if (lack := self.plan.lack(name, rung, leader=self.leader)) is not None:
            self.leave_out(name, lack, state="late")
            return None
        cells = self.plan.cells(name, rung)
        found = self._steps.run(cells, allowed_seconds=self._allowed())
        failed = next((each for each in found.values() if each.result.failed), found[cells[0].place])
        if not self.keeps_limits(name, failed):
            return None
        self.plan.note_rung(name, rung, list(found.values()))
        return found

    def _is_probed(self, candidate: Candidate) -> bool:
        """Find out what an arm on an encoder costs and takes by a fit on a few rows; False where it is then left out.

        One fit speaks for all arms that are like it.
        """
        if candidate.kind != "encoder" or candidate.stated:
            return True
        for other in (each for each in self.candidates if each.is_like(candidate)):
            cost = self.entries[other.name].cost
            if cost is not None and self.limits.violations(cost):
                self.leave_out(candidate.name, f"its encoder is that of {other.name}, whose bundle breaks a limit")
                return False
            if cost is not None:
                return True
        self._announce(f"{candidate.name} is fitted on a few rows, to see what it costs")
        cell = Cell(arm=candidate.probe(), data=self._probe, seed=self._seed, fold=(0, FOLDS))
        found = self._steps.run([cell], allowed_seconds=_PROBE_SHARE * self._allowed())[cell.place]
        if not self.keeps_limits(candidate.name, found):
            return False
        self.plan.note(candidate.name, found, passes=float(found.result.rows))
        return True

    def _allowed(self) -> float:
        """Seconds for the next fits: what is left, without the last fit of the arm that leads."""
        return self.plan.left - (0.0 if self.leader is None else self.plan.final_seconds(self.leader))

    def _drop_behind(self, standing: Standing) -> None:
        """Leave out whoever is behind beyond noise, and by more than further rows may make up for."""
        rung, leader = standing.rung, standing.leader
        others = [name for name in standing.level if name != leader]
        beside = f"; within noise of it: {', '.join(others)}" if others else ""
        score = standing.entries[leader].score or 0.0
        self.reasons.append(f"on rung {rung.number} ({rung.rows:,} rows to learn from) {leader} led with {score:.4f}{beside}")
        for name in [each.name for each in self.alive if each.name not in standing.level]:
            behind = standing.behind_by(name)
            if behind > rung.margin:
                self.leave_out(name, f"behind {leader} by {behind:.4f} on rung {rung.number}, beyond noise", state="behind")
