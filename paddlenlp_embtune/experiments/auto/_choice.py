"""The last fit: the best arm on all rows, if its bundle keeps the limits; otherwise the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import StudyError
from paddlenlp_embtune.experiments.auto._final import FinalFits
from paddlenlp_embtune.experiments.auto._forecast import MORE
from paddlenlp_embtune.experiments.auto._halving import Halving
from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto.budget import Clock, in_words
from paddlenlp_embtune.experiments.auto.limits import ServingCost
from paddlenlp_embtune.experiments.auto.portfolio import LINEAR

__all__ = ["Choice"]

_GRACE = 0.1
"""How far the last fit may go beyond the budget, as a share of it, before it is given up for a bundle that is there."""

Recipes = Callable[[str], Recipe]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Fits arms on all rows until one keeps the limits.

    Args:
        search: what has been found out about the arms.
        finals: fits on all rows.
        recipes: the recipe of an arm on all rows.
        clock: of the budget.
        announce: called with a sentence about what is done.
    """

    search: Halving
    finals: FinalFits
    recipes: Recipes
    clock: Clock
    announce: Callable[[str], object]

    def secure(self) -> Measured | None:
        """Fit the linear arm, whatever the budget; None where it fails or breaks a limit."""
        self.announce(f"{LINEAR} is fitted on all rows, so that there is a bundle")
        found = self.finals.fit(LINEAR, self.recipes(LINEAR), allowed_seconds=None)
        if found.result.failed is None:
            self.search.plan.note_final(LINEAR, found)
        return found if self.search.keeps_limits(LINEAR, found) else None

    def make(self) -> tuple[str, Measured]:
        """Fit the best arm.

        Raises:
            StudyError: no arm keeps the limits, or none could be fitted.
        """
        for name in self._order():
            found = self._fit(name)
            if found is not None and self.search.keeps_limits(name, found):
                return name, found
            self.search.reasons.append(f"{name} was passed over: {self.search.entries[name].reason}")
        raise StudyError(self._no_arm())

    def _order(self) -> list[str]:
        """Return the arms that may be chosen, the best first; the linear one last where it was not measured."""
        board = [each for each in self.search.leaderboard() if each.state != "out"]
        names = [each.arm for each in board if each.score is not None]
        unmeasured = [each.arm for each in board if each.arm == LINEAR and each.score is None]
        return names + unmeasured

    def _fit(self, name: str) -> Measured | None:
        """Fit one arm; None where there is no time for it."""
        known = self.finals.known(name)
        if known is not None:
            self.clock.advance_to(known.ended)
            return known
        left = self.clock.left + _GRACE * self.clock.budget_seconds
        needed = self.search.plan.final_seconds(name) / MORE
        secured = self.finals.known(LINEAR) is not None
        if secured and needed > left:
            lack = f"its fit on all rows needs about {in_words(needed)}, and {in_words(self.clock.left)} were left"
            self.search.leave_out(name, lack, state="late")
            return None
        self.announce(f"{name} is fitted on all rows, which takes about {in_words(needed)}")
        return self.finals.fit(name, self.recipes(name), allowed_seconds=left if secured else None)

    def _no_arm(self) -> str:
        """Say why there is no bundle, and what came nearest to the limits."""
        limits, entries = self.search.limits, self.search.leaderboard()
        breaking = {each.arm: each.cost for each in entries if each.cost is not None and limits.violations(each.cost)}
        if not breaking:
            entry = next((each for each in entries if each.reason), None)
            told = f": {entry.arm}: {entry.reason}" if entry is not None else ""
            return f"no arm could be fitted{told}"
        name, cost = min(breaking.items(), key=lambda pair: limits.excess(pair[1]))
        left = [each for each in entries if each.arm not in breaking]
        beside = f"; {', '.join(each.arm for each in left)} could not be measured in the time" if left else ""
        return (
            f"no arm keeps the limits; {name} came nearest: {'; '.join(limits.violations(cost))} "
            f"({_figures(cost)}){beside}; raise the limit"
        )


def _figures(cost: ServingCost) -> str:
    return f"in all {cost.latency_ms:.3g} ms, {cost.size_mb:.3g} MB, {cost.memory_mb:.0f} MB of memory"
