"""What a choice leaves, as Python has it and as JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from paddlenlp_embtune.experiments.auto.leaderboard import Entry
from paddlenlp_embtune.experiments.auto.limits import Limits, ServingCost
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["AutoResult"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoResult:
    """What a choice leaves.

    Args:
        bundle: folder of the chosen bundle.
        folder: of the choice, with ``auto.json``, ``report.html``, ``recipe.yaml`` and the fits.
        recipe: path of the recipe of the bundle, ready to train.
        arm: the arm that was chosen.
        cost: what the bundle itself costs where it serves.
        metric: that arms were compared by.
        leaderboard: all arms, the chosen one first, then those that were tried longest and scored best.
        within_noise: arms whose score is within noise of the chosen one's, itself left out.
        limits: that the bundle keeps.
        rungs: the rungs that were climbed, in words.
        reasons: why this arm was chosen, a sentence each.
        budget_seconds, seconds: what was allowed, and what was used.
        rows: labelled rows of the training file.
        report: path of the HTML page; None where a package that it needs is missing.
        notes: what must be known, a sentence each.
    """

    bundle: Path
    folder: Path
    recipe: Path
    arm: str
    cost: ServingCost
    metric: str
    leaderboard: tuple[Entry, ...]
    within_noise: tuple[str, ...]
    limits: Limits
    rungs: tuple[str, ...]
    reasons: tuple[str, ...]
    budget_seconds: float
    seconds: float
    rows: int
    report: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> Entry:
        """The entry of the arm that was chosen."""
        return next(entry for entry in self.leaderboard if entry.arm == self.arm)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``--json`` prints and ``auto.json`` keeps them."""
        plain: dict[str, Any] = to_plain(self)
        paths = ("bundle", "folder", "recipe", "report")
        return {**plain, **{name: None if plain[name] is None else str(plain[name]) for name in paths}}
