"""What the cells of a comparison show together: means, spread, paired differences, costs, and which order they support."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.experiments._bootstrap import METRICS, holm, interval_of, measure, two_sided_p
from paddlenlp_embtune.experiments._curves import reach
from paddlenlp_embtune.experiments._groups import Group, answers_of, collect_groups, with_draws
from paddlenlp_embtune.experiments.cell import Cell, CellResult

__all__ = ["analyze"]

_LEVEL = 0.05
_COSTS = ("seconds", "peak_bytes", "size_bytes", "texts_per_second")
_FEW_SEEDS = 3

Floats = npt.NDArray[np.float64]
Results = Mapping[str, CellResult]


def analyze(
    cells: Sequence[Cell], results: Results, *, against: str, metric: str = "f1_macro", resamples: int = 2000
) -> dict[str, Any]:
    """Put the results of cells together, as plain values.

    Args:
        cells: all cells of the comparison.
        results: those that are there, by :attr:`Cell.place`.
        against: name of the arm that the others are compared with.
        metric: ``accuracy`` or ``f1_macro``, which differences, order and curves are about.
        resamples: of the bootstrap.
    Raises:
        DataError: two cells of one data set were measured on different rows.
    """
    groups = [with_draws(group, metric, resamples) for group in collect_groups(cells, results)]
    tables = [_table(group, against, metric) for group in groups]
    for size in dict.fromkeys(group.size for group in groups):
        _correct([table for table in tables if table["size"] == size])
    return {
        "metric": metric,
        "against": against,
        "level": _LEVEL,
        "resamples": resamples,
        "seeds": sorted({cell.seed for cell in cells}),
        "folds": next((cell.fold[1] for cell in cells if cell.fold is not None), None),
        "tables": tables,
        "averages": _averages(groups, tables, against, metric),
        "curves": _curves(groups, metric),
        "failed": [
            {"data": group.data, "size": group.size, "arm": arm, "message": message}
            for group in groups
            for arm, message in group.failed.items()
        ],
        "notes": _notes(cells, results),
    }


def _table(group: Group, against: str, metric: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    test_rows = 0
    if group.arms:
        truth, predicted, num_labels = answers_of(group)
        test_rows = len(truth)
        for arm, answers in predicted.items():
            figures: dict[str, Any] = {name: _spread(measure(truth, answers, num_labels, name)) for name in METRICS}
            figures[metric]["interval"] = interval_of(group.drawn[arm])
            rows.append({"arm": arm, **figures, "difference": None, "cost": _cost(group.arms[arm])})
    means = {row["arm"]: row[metric]["mean"] for row in rows}
    for row in rows:
        row["difference"] = _difference(group, row["arm"], against, means)
    rows.sort(key=lambda row: -row[metric]["mean"])
    return {
        "data": group.data,
        "size": group.size,
        "train_rows": group.rows(),
        "test_rows": test_rows,
        "arms": rows,
        "order": _order(group, [row["arm"] for row in rows]),
    }


def _spread(values: Floats) -> dict[str, Any]:
    """Mean, and standard deviation over seeds, which one seed does not have."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "sd": spread, "values": values.tolist()}


def _difference(group: Group, arm: str, against: str, means: Mapping[str, float]) -> dict[str, Any] | None:
    if arm == against or against not in group.drawn:
        return None
    drawn = group.drawn[arm] - group.drawn[against]
    return {"value": means[arm] - means[against], "interval": interval_of(drawn), "p": two_sided_p(drawn)}


def _cost(seeds: Mapping[int, Sequence[CellResult]]) -> dict[str, float]:
    """Return what a fit costs on average, and of the memory the most."""
    every = [result for results in seeds.values() for result in results]
    means = {name: statistics.fmean(getattr(result, name) for result in every) for name in _COSTS}
    return {**means, "peak_bytes": max(result.peak_bytes for result in every)}


def _order(group: Group, arms: Sequence[str]) -> dict[str, Any]:
    """Say which arms are behind the first beyond chance, and which are not; no order among either."""
    if len(arms) < 2:
        return {"best": list(arms), "behind": [], "text": ""}
    first, others = arms[0], arms[1:]
    drawn = [group.drawn[first] - group.drawn[arm] for arm in others]
    corrected = holm([two_sided_p(values) for values in drawn])
    behind = [arm for arm, p, values in zip(others, corrected, drawn, strict=True) if p < _LEVEL and interval_of(values)[0] > 0]
    best = [arm for arm in arms if arm not in behind]
    if not behind:
        text = f"no order: {', '.join(best)} are within noise of each other"
    elif len(best) == 1:
        text = f"{first} is ahead of {', '.join(behind)}"
    else:
        text = f"no order among {', '.join(best)}, which are within noise of {first}; behind: {', '.join(behind)}"
    return {"best": best, "behind": behind, "text": text}


def _correct(tables: Sequence[Mapping[str, Any]]) -> None:
    """Correct the differences of all tables of one size for their number."""
    found = [row["difference"] for table in tables for row in table["arms"] if row["difference"] is not None]
    for difference, p in zip(found, holm([each["p"] for each in found]), strict=True):
        difference["p_holm"] = p
        difference["ahead"] = None if p >= _LEVEL else bool(difference["value"] > 0)


def _averages(groups: Sequence[Group], tables: Sequence[Mapping[str, Any]], against: str, metric: str) -> list[dict[str, Any]]:
    """Average each arm over the data sets of one size, where it has figures on all and there are several."""
    found = []
    for size in dict.fromkeys(group.size for group in groups):
        of_size = [group for group in groups if group.size == size]
        rows = [{row["arm"]: row for row in table["arms"]} for table in tables if table["size"] == size]
        complete = [arm for arm in of_size[0].drawn if all(arm in group.drawn for group in of_size)]
        if len(of_size) < 2 or not complete:
            continue
        drawn = {arm: np.mean([group.drawn[arm] for group in of_size], axis=0) for arm in complete}
        arms: list[dict[str, Any]] = [
            {
                "arm": arm,
                **{name: statistics.fmean(each[arm][name]["mean"] for each in rows) for name in METRICS},
                "difference": _mean_difference(arm, against, rows, drawn, metric),
                "seconds": statistics.fmean(each[arm]["cost"]["seconds"] for each in rows),
                "best_on": sum(arm in table["order"]["best"] for table in tables if table["size"] == size),
            }
            for arm in complete
        ]
        arms.sort(key=lambda row: -row[metric])
        found.append({"size": size, "sets": [group.data for group in of_size], "arms": arms})
    return found


def _mean_difference(
    arm: str, against: str, rows: Sequence[Mapping[str, Any]], drawn: Mapping[str, Floats], metric: str
) -> dict[str, Any] | None:
    if arm == against or against not in drawn:
        return None
    values = drawn[arm] - drawn[against]
    mean = statistics.fmean(each[arm][metric]["mean"] - each[against][metric]["mean"] for each in rows)
    return {"value": mean, "interval": interval_of(values), "p": two_sided_p(values)}


def _curves(groups: Sequence[Group], metric: str) -> list[dict[str, Any]]:
    """Return the curves of data sets that were measured at several sizes."""
    found = []
    for data in dict.fromkeys(group.data for group in groups):
        of_data = sorted((group for group in groups if group.data == data and group.arms), key=Group.rows)
        if len(of_data) < 2:
            continue
        curves: dict[str, list[tuple[int, float]]] = {}
        for group in of_data:
            truth, predicted, num_labels = answers_of(group)
            for arm, answers in predicted.items():
                value = float(measure(truth, answers, num_labels, metric).mean())
                curves.setdefault(arm, []).append((group.rows(), value))
        found.append({"data": data, "curves": curves, "reach": reach(curves)})
    return found


def _notes(cells: Sequence[Cell], results: Results) -> list[str]:
    notes = []
    seeds = len({cell.seed for cell in cells})
    if seeds < _FEW_SEEDS:
        notes.append(
            f"{seeds} seed{'s' if seeds > 1 else ''}: how far figures vary from run to run is not known; use --seeds 3"
        )
    for cell in cells:
        for note in results[cell.place].notes if cell.place in results else ():
            notes.append(f"{cell.data.name}, {cell.arm.name}, seed {cell.seed}: {note}")
    return notes
