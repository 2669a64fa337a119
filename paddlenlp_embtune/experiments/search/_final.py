"""The comparison at the end of a search: the best trial's recipe and the one that it began with, trained again and measured."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import StudyError
from paddlenlp_embtune.experiments._bootstrap import Ids, interval_of, measure, resampled
from paddlenlp_embtune.experiments.arms import Arm
from paddlenlp_embtune.experiments.cell import Cell, CellResult, DataSet
from paddlenlp_embtune.experiments.runner import run_cells

__all__ = ["Final", "compare_recipes", "paired_interval"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Final:
    """The best recipe against the one that the search began with, on rows that no trial has seen.

    Args:
        metric: ``f1_macro`` or ``accuracy``.
        default, best: the metric of each seed, S.
        difference: mean of best less default.
        interval: of the difference, 95%, over rows and seeds.
        seeds: S.
        rows: that both were measured on.
    """

    metric: str
    default: tuple[float, ...]
    best: tuple[float, ...]
    difference: float
    interval: tuple[float, float]
    seeds: int
    rows: int

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``no difference shown`` where the interval holds 0."""
        low, high = self.interval
        return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def compare_recipes(
    default: Recipe,
    best: Recipe,
    data: DataSet,
    folder: Path,
    *,
    names: tuple[str, str],
    metric: str,
    seeds: Sequence[int],
    processes: int,
    ends_at: float | None,
    run_seconds: float | None,
) -> Final | None:
    """Train both with several seeds and compare their answers to the same rows; pairs that stand in the folder are kept.

    Args:
        default: the recipe as it stands.
        best: the other.
        data: the rows.
        folder: where results go.
        names: of the two, for files.
        metric: ``f1_macro`` or ``accuracy``.
        seeds: one pair of runs for each.
        processes: at once.
        ends_at: when time is up, as ``time.time`` counts it; pairs that would not end by then are left out. None for never.
        run_seconds: what one run takes, as far as that is known.
    Returns:
        The comparison; None where there was no time for a single pair.
    Raises:
        StudyError: a run failed.
    """
    arms = [_arm(recipe, name) for recipe, name in zip((default, best), names, strict=True)]
    answers: list[tuple[CellResult, CellResult]] = []
    pair_seconds = (run_seconds or 0.0) * (2 if processes == 1 else 1)
    for seed in seeds:
        if ends_at is not None and time.time() + pair_seconds > ends_at:
            break
        cells = [Cell(arm=arm, data=data, seed=seed) for arm in arms]
        started = time.perf_counter()
        found = run_cells(cells, folder, jobs=min(2, processes))
        pair_seconds = max(pair_seconds, time.perf_counter() - started)
        one, other = (found[cell.place] for cell in cells)
        for result in (one, other):
            if result.failed is not None:
                raise StudyError(f"the comparison with seed {seed} failed: {result.failed}; go on with --resume")
        answers.append((one, other))
    return _final(answers, metric) if answers else None


def _final(answers: Sequence[tuple[CellResult, CellResult]], metric: str) -> Final:
    first = answers[0][0]
    truth, labels = np.asarray(first.truth), len(first.labels)
    a, b = (np.stack([np.asarray(pair[side].predicted) for pair in answers]) for side in (0, 1))
    scores = [measure(truth, each, labels, metric) for each in (a, b)]
    return Final(
        metric=metric,
        default=tuple(map(float, scores[0])),
        best=tuple(map(float, scores[1])),
        difference=float((scores[1] - scores[0]).mean()),
        interval=paired_interval(truth, a, b, labels, metric=metric),
        seeds=len(answers),
        rows=len(truth),
    )


def paired_interval(truth: Ids, a: Ids, b: Ids, num_labels: int, *, metric: str) -> tuple[float, float]:
    """Return the 95% interval of the mean difference of B and A over rows and seeds, by the draws of a comparison of arms.

    Where there is one seed, the interval tells nothing of others.

    Args:
        truth: (N,) class numbers.
        a: (S, N) answers of the one, by seed.
        b: (S, N) answers of the other.
        num_labels: C.
        metric: ``f1_macro`` or ``accuracy``.
    """
    one, other = resampled(truth, (a, b), num_labels, metric)
    low, high = interval_of(other - one)
    return low, high


def _arm(recipe: Recipe, name: str) -> Arm:
    plain: dict[str, Any] = recipe.relative_to(Path.cwd()).to_dict()
    plain["data"] = {key: plain["data"][key] for key in ("labels", "ordered", "weight_column")}
    return Arm(name, "recipe", ("search",), (plain,))
