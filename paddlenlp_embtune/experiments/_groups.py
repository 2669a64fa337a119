"""Cells by data set and size, with the answers of every arm side by side."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.experiments._bootstrap import resampled
from paddlenlp_embtune.experiments.cell import Cell, CellResult

__all__ = ["Group", "answers_of", "collect_groups", "with_draws"]

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Results = Mapping[str, CellResult]


@dataclasses.dataclass(frozen=True)
class Group:
    """The cells of one data set and one size.

    Args:
        data: name of the set.
        size: labelled rows; None for all.
        arms: the cells of each arm that have figures, by seed, in order of their folds.
        failed: the first reason for which an arm lacks figures.
        drawn: (R,) resampled metrics of each arm.
    """

    data: str
    size: int | None
    arms: dict[str, dict[int, list[CellResult]]]
    failed: dict[str, str]
    drawn: dict[str, Floats] = dataclasses.field(default_factory=dict)

    def rows(self) -> int:
        """Labelled rows that the arms learned from, on average over folds."""
        each = [result.rows for seeds in self.arms.values() for results in seeds.values() for result in results]
        return round(statistics.fmean(each)) if each else 0


def collect_groups(cells: Sequence[Cell], results: Results) -> list[Group]:
    """Sort cells by data set and size; a seed of which one fold has no figures is left out."""
    found: dict[tuple[str, int | None], Group] = {}
    incomplete: set[tuple[str, int | None, str, int]] = set()
    for cell in cells:
        group = found.setdefault((cell.data.name, cell.size), Group(cell.data.name, cell.size, {}, {}))
        result = results.get(cell.place)
        if result is None or result.failed is not None:
            group.failed.setdefault(cell.arm.name, "it was not run" if result is None else str(result.failed))
            incomplete.add((cell.data.name, cell.size, cell.arm.name, cell.seed))
            continue
        group.arms.setdefault(cell.arm.name, {}).setdefault(cell.seed, []).append(result)
    for data, size, arm, seed in incomplete:  # a seed without one of its folds has no figure
        group = found[data, size]
        group.arms.get(arm, {}).pop(seed, None)
        if not group.arms.get(arm, True):
            del group.arms[arm]
    return list(found.values())


def answers_of(group: Group) -> tuple[Ids, dict[str, Ids], int]:
    """Return truth (N,), the answers of each arm (S, N), and the number of labels; folds are put behind each other.

    Raises:
        DataError: cells were measured on different rows.
    """
    runs = [results for seeds in group.arms.values() for results in seeds.values()]
    labels = sorted({label for results in runs for result in results for label in result.labels})
    number = {label: index for index, label in enumerate(labels)}

    def joined(results: Sequence[CellResult], name: str) -> Ids:
        return np.concatenate(
            [np.asarray([number[label] for label in each.labels])[np.asarray(getattr(each, name))] for each in results]
        )

    truth = joined(runs[0], "truth")
    if not all(np.array_equal(truth, joined(results, "truth")) for results in runs):
        raise DataError(
            f"the arms were measured on different rows of {group.data}, so its files changed meanwhile; start again with "
            "--overwrite, or another --out"
        )
    predicted = {
        arm: np.stack([joined(results, "predicted") for _, results in sorted(seeds.items())])
        for arm, seeds in group.arms.items()
    }
    return truth, predicted, len(labels)


def with_draws(group: Group, metric: str, resamples: int) -> Group:
    """Resample the rows and seeds of a group; a group without figures stays as it is."""
    if not group.arms:
        return group
    truth, predicted, num_labels = answers_of(group)
    drawn = resampled(truth, list(predicted.values()), num_labels, metric, resamples=resamples)
    return dataclasses.replace(group, drawn=dict(zip(predicted, drawn, strict=True)))
