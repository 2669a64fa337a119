"""A sequence of tasks that one model learns: the matrix of its accuracies, and what they say of forgetting and transfer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import DataError

__all__ = ["TaskSequence", "task_sequence"]

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSequence:
    """What a matrix of accuracies says.

    Args:
        tasks: names in the order in which they were learnt, T.
        accuracies: row i: of each task after the first i + 1 tasks have been learnt, 0 to 1.
        before: accuracy of each task before anything was learnt; None where it was not measured.
        average_accuracy: of all tasks at the end.
        backward_transfer: mean over all tasks but the last of the accuracy at the end less that when the task was learnt; below
            0 the model forgets. None with one task.
        forward_transfer: mean over all tasks but the first of the accuracy before the task was learnt, after those ahead of it,
            less that before anything was learnt. None with one task, or without ``before``.
        forgetting: mean over all tasks but the last of the best accuracy before the last task less that at the end. None with
            one task.
        forgotten: the same by task, of all but the last.
    """

    tasks: tuple[str, ...]
    accuracies: tuple[tuple[float, ...], ...]
    before: tuple[float, ...] | None
    average_accuracy: float
    backward_transfer: float | None
    forward_transfer: float | None
    forgetting: float | None
    forgotten: tuple[float, ...]

    def table(self) -> str:
        """Return the matrix and what it says as a Markdown table, in percent."""
        head = ["after", *self.tasks]
        rows = [[task, *(f"{100 * value:.1f}" for value in row)] for task, row in zip(self.tasks, self.accuracies, strict=True)]
        if self.before is not None:
            rows.insert(0, ["nothing", *(f"{100 * value:.1f}" for value in self.before)])
        lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
        named = {
            "average accuracy": self.average_accuracy,
            "backward transfer": self.backward_transfer,
            "forward transfer": self.forward_transfer,
            "forgetting": self.forgetting,
        }
        told = ", ".join(f"{name} {100 * value:.1f}" for name, value in named.items() if value is not None)
        return "\n".join([*lines, "", told])


def task_sequence(
    tasks: Sequence[str], accuracies: Sequence[Sequence[float]] | Floats, *, before: Sequence[float] | None = None
) -> TaskSequence:
    """Work out average accuracy, backward and forward transfer and forgetting from a matrix of accuracies.

    Args:
        tasks: T names, in the order in which they were learnt.
        accuracies: row i: of each task after the first i + 1 tasks have been learnt, 0 to 1; the model that has learnt a task
            is measured on tasks to come too.
        before: of each task before anything was learnt, or that of a guess.
    Shapes:
        accuracies: (T, T); before: (T,)
    Raises:
        DataError: the matrix is not square, is of other tasks, or holds something else than accuracies.
    Source:
        Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory for Continual Learning", equations 2 to 4, for average accuracy
        and transfer; Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning", equation 3, for forgetting
    """
    matrix, count = np.asarray(accuracies, dtype=np.float64), len(tasks)
    if count == 0 or matrix.shape != (count, count):
        raise DataError(f"accuracies must be one row of {count} for each of the {count} tasks, got {matrix.shape}")
    start = None if before is None else np.asarray(before, dtype=np.float64)
    if start is not None and start.shape != (count,):
        raise DataError(f"before must have one accuracy for each of the {count} tasks, got {start.shape}")
    known = matrix if start is None else np.vstack([matrix, start])
    if not ((known >= 0) & (known <= 1)).all():  # not so with NaN
        raise DataError("accuracies must be 0 to 1; expected shares of right answers, not percent")
    last, several = matrix[-1], count > 1
    lost = matrix[:-1, :-1].max(axis=0) - last[:-1] if several else np.zeros(0)
    ahead = np.array([matrix[task - 1, task] for task in range(1, count)])
    return TaskSequence(
        tasks=tuple(tasks),
        accuracies=tuple(map(tuple, matrix.tolist())),
        before=None if start is None else tuple(start.tolist()),
        average_accuracy=float(last.mean()),
        backward_transfer=float((last - matrix.diagonal())[:-1].mean()) if several else None,
        forward_transfer=float((ahead - start[1:]).mean()) if several and start is not None else None,
        forgetting=float(lost.mean()) if several else None,
        forgotten=tuple(lost.tolist()),
    )
