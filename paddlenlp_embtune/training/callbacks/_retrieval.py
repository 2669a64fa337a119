"""Search by meaning while vectors are tuned for it: hard negatives of each epoch, and figures before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.data import MinedRows
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import class_alignment, retrieval_metrics, uniformity
from paddlenlp_embtune.inference import unit_vectors
from paddlenlp_embtune.training.callbacks._head_regression import vectors_of
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

__all__ = ["HardNegativesCallback", "RetrievalFiguresCallback"]

_ROWS_AT_ONCE = 256
_MOST_QUERIES, _MOST_ROWS = 1000, 5000

Ids = Sequence[Sequence[int]]


class HardNegativesCallback(EmbtuneCallback):
    """Finds, when an epoch begins, the nearest rows of other groups for each row, by the model as it is then.

    What was found travels with a checkpoint, so that a run that is resumed within an epoch has the same rows.

    Args:
        queries: ids of N texts.
        query_groups: N groups.
        rows: ids of M texts that are searched.
        row_groups: M groups.
        count: rows for each query.
        mined: gets them.
    """

    def __init__(
        self, queries: Ids, query_groups: Sequence[int], rows: Ids, row_groups: Sequence[int], *, count: int, mined: MinedRows
    ) -> None:
        super().__init__()
        self._queries, self._rows = queries, rows
        self._own = np.asarray(query_groups, dtype=np.int64), np.asarray(row_groups, dtype=np.int64)
        self._count, self._mined = count, mined
        self._epoch = -1

    def settings(self) -> Mapping[str, Any]:
        """Return how many rows are mined."""
        return {"count": self._count}

    def state(self) -> Mapping[str, Any]:
        """Return the rows of this epoch."""
        return {"epoch": self._epoch} if self._mined.rows is None else {"epoch": self._epoch, "rows": self._mined.rows}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the rows of the epoch that was interrupted."""
        self._epoch = int(state["epoch"])
        self._mined.rows = np.asarray(state["rows"], dtype=np.int64) if "rows" in state else None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look for the rows, unless this epoch is one that was interrupted."""
        epoch = int((state.epoch or 0.0) + 1e-6)
        if epoch == self._epoch and self._mined.rows is not None:
            return
        network = getattr(kwargs["model"], "_layers", kwargs["model"])
        queries = unit_vectors(vectors_of(network, self._queries))
        rows = queries if self._rows is self._queries else unit_vectors(vectors_of(network, self._rows))
        self._mined.rows, self._epoch = self._nearest(queries, rows), epoch

    def _nearest(self, queries: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        count, found = min(self._count, len(rows)), []
        for start in range(0, len(queries), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            cosines = queries[part] @ rows.T
            cosines[self._own[0][part, None] == self._own[1][None]] = -np.inf
            found.append(np.argsort(-cosines, axis=1, kind="stable")[:, :count])
        rows_found: npt.NDArray[np.int64] = np.concatenate(found).astype(np.int64)
        return rows_found


class RetrievalFiguresCallback(EmbtuneCallback):
    """Writes into the record how well development rows find training rows of their label, before and after training.

    Args:
        queries: ids of the development rows; of more than 1,000, as many are drawn by the seed.
        query_labels: their class numbers.
        rows: ids of the training rows; of more than 5,000, as many are drawn.
        row_labels: their class numbers.
        seed: of the draws.
    """

    def __init__(self, queries: Ids, query_labels: Sequence[int], rows: Ids, row_labels: Sequence[int], *, seed: int) -> None:
        super().__init__()
        generator = np.random.default_rng(seed)
        self._queries, self._query_labels = _drawn(queries, query_labels, _MOST_QUERIES, generator)
        self._rows, self._row_labels = _drawn(rows, row_labels, _MOST_ROWS, generator)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the model as it comes."""
        super().on_train_begin(args, state, control, **kwargs)
        if not state.global_step:
            self._measure(kwargs["model"], "start")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the model as training leaves it."""
        self._measure(kwargs["model"], "end")

    def _measure(self, model: Any, when: str) -> None:
        network = getattr(model, "_layers", model)
        queries, rows = (unit_vectors(vectors_of(network, ids)) for ids in (self._queries, self._rows))
        groups = self._query_labels, self._row_labels
        try:
            figures = retrieval_metrics(queries, rows, *groups)
        except DataError:  # no label in common
            return
        apart = uniformity(rows) if len(rows) > 1 else None
        self.record.write(
            "retrieval", when=when, **figures, alignment=class_alignment(queries, rows, *groups), uniformity=apart
        )


def _drawn(ids: Ids, labels: Sequence[int], most: int, generator: np.random.Generator) -> tuple[list[Sequence[int]], list[int]]:
    chosen = sorted(generator.permutation(len(ids))[:most].tolist())
    return [ids[row] for row in chosen], [int(labels[row]) for row in chosen]
