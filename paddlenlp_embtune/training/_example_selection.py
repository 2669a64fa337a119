"""Which examples a bundle keeps: by reservoir, as many of each task and label, or by herding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import StoredExample

__all__ = ["choose_examples", "herded", "reservoir"]

Floats = npt.NDArray[np.float32]


def choose_examples(
    former: Sequence[StoredExample],
    rows: Sequence[StoredExample],
    *,
    count: int,
    selection: str,
    seen: int,
    seed: int,
    vectors: Callable[[Sequence[str]], Floats] | None = None,
) -> list[StoredExample]:
    """Return the examples to keep of former ones and of the rows of a new task, at most ``count``.

    Args:
        former: in the order in which they are kept.
        rows: of one task, in their order.
        count: 1 or more.
        selection: ``reservoir``, ``by_class`` or ``herding``.
        seen: rows of former tasks of which the former examples are a sample; for ``reservoir``.
        seed: of what is drawn.
        vectors: gives the (N, H) vectors of texts; for ``herding``.
    """
    generator = np.random.default_rng(seed)
    if selection == "reservoir":
        return reservoir(former[:count], rows, count=count, seen=max(seen, len(former)), generator=generator)
    groups: dict[tuple[str, str], list[StoredExample]] = {}
    for each in (*former, *_ordered(rows, selection, generator, vectors, count)):
        groups.setdefault((each.task, each.label), []).append(each)
    return _shared_out(groups, count)


def reservoir(
    former: Sequence[StoredExample],
    rows: Sequence[StoredExample],
    *,
    count: int,
    seen: int,
    generator: np.random.Generator,
) -> list[StoredExample]:
    """Take rows one by one into a sample, so that each row ever seen is in it with the same chance.

    Source:
        Vitter 1985, "Random Sampling with a Reservoir", algorithm R
    """
    kept = list(former)
    for number, row in enumerate(rows, seen):
        if len(kept) < count:
            kept.append(row)
        elif (place := int(generator.integers(0, number + 1))) < count:
            kept[place] = row
    return kept


def herded(vectors: Floats, count: int) -> list[int]:
    """Return rows in the order in which the mean of those taken comes nearest to the mean of all.

    Args:
        vectors: of the rows; they are scaled to length 1.
        count: rows to return, at most N.
    Shapes:
        vectors: (N, H) float32
    Source:
        Rebuffi et al. 2017, "iCaRL: Incremental Classifier and Representation Learning", algorithm 4
    """
    rows = vectors.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    mean, total, taken = rows.mean(axis=0), np.zeros(rows.shape[1]), list[int]()
    left = np.ones(len(rows), dtype=np.bool_)
    for size in range(1, min(count, len(rows)) + 1):
        distances = np.square(mean - (total + rows) / size).sum(axis=1)
        distances[~left] = np.inf
        nearest = int(distances.argmin())
        taken.append(nearest)
        total += rows[nearest]
        left[nearest] = False
    return taken


def _ordered(
    rows: Sequence[StoredExample],
    selection: str,
    generator: np.random.Generator,
    vectors: Callable[[Sequence[str]], Floats] | None,
    count: int,
) -> list[StoredExample]:
    """Put the rows of a task in the order in which they are worth keeping, label by label."""
    by_label: dict[str, list[StoredExample]] = {}
    for place in generator.permutation(len(rows)):
        by_label.setdefault(rows[place].label, []).append(rows[place])
    found: list[StoredExample] = []
    for label in sorted(by_label):
        group = by_label[label]
        if selection == "herding" and vectors is not None:
            group = [group[place] for place in herded(vectors([each.text for each in group]), count)]
        found += group
    return found


def _shared_out(groups: dict[tuple[str, str], list[StoredExample]], count: int) -> list[StoredExample]:
    """Give each task the same share, and each label of a task the same part of it; what one leaves over, others take."""
    tasks: dict[str, list[list[StoredExample]]] = {}
    for (task, _), group in groups.items():
        tasks.setdefault(task, []).append(group)
    sizes = _even([sum(map(len, of_task)) for of_task in tasks.values()], count)
    kept: list[StoredExample] = []
    for size, of_task in zip(sizes, tasks.values(), strict=True):
        for part, group in zip(_even([len(group) for group in of_task], size), of_task, strict=True):
            kept += group[:part]
    return kept


def _even(most: Sequence[int], count: int) -> list[int]:
    """Share a number out as evenly as there is room for it, the first ones first."""
    shares = [0] * len(most)
    left = min(count, sum(most))
    while left:
        open_places = [place for place, limit in enumerate(most) if shares[place] < limit]
        each = max(1, left // len(open_places))
        for place in open_places:
            step = min(each, most[place] - shares[place], left)
            shares[place] += step
            left -= step
    return shares
