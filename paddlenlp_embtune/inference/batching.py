"""Running texts of any length through an engine: similar lengths together, several batches at once, answers in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.inference.engines import Engine
from paddlenlp_embtune.inference.inputs import whole_number
from paddlenlp_embtune.text import pad

__all__ = ["TOKENS_PER_BATCH", "BatchRunner", "form_batches"]

# What attention needs grows with rows times length squared: 1,024 tokens are 2 texts of 512 or 32 of 32, and larger batches are
# not faster on a CPU. A part for another thread pays from 256 tokens up.
TOKENS_PER_BATCH = 1024
_TOKENS_PER_PART = 256
# A larger one could overflow when divided by a low temperature; logits of a working model stay below 1,000.
_LARGEST_LOGIT = 1e30

Logits = npt.NDArray[np.float32]


def form_batches(lengths: Sequence[int], *, batch_size: int, parts: int = 1) -> list[list[int]]:
    """Put rows of similar length together, the longest batch first, so that no long one runs alone at the end.

    Args:
        lengths: of each row.
        batch_size: the most rows of a batch; long ones are fewer, 1,024 tokens with their padding, or one.
        parts: how many batches run at once; a few rows are shared out between them.
    Returns:
        The numbers of the rows of each batch; every row once.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    if sum(lengths) >= parts * _TOKENS_PER_PART:
        batch_size = min(batch_size, -(-len(order) // parts))
    batches, start = list[list[int]](), 0
    while start < len(order):
        rows = min(batch_size, max(1, TOKENS_PER_BATCH // max(1, lengths[order[start]])))
        batches.append(order[start : start + rows])
        start += rows
    return batches


class _FairSemaphore:
    """A first-in, first-out semaphore; with the standard one, some callers wait ten times the median.

    Args:
        count: how many may hold it.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class BatchRunner:
    """Runs id lists through one engine; from any thread.

    Args:
        engine: the engine; one with a true ``concurrent`` runs several batches at once.
        num_labels: C.
        batch_size: the most texts of a batch, 1 or more.
        num_threads: the most batches at once, over all callers.
        source: what the engine runs, for messages.
        vectors: whether the engine's vectors of texts are returned, of which H is then ``num_labels``, in place of logits.
    Raises:
        TypeError, DataError: ``batch_size`` is not a whole number of 1 or more.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        num_labels: int,
        batch_size: int,
        num_threads: int,
        source: str = "the model",
        vectors: bool = False,
    ) -> None:
        self.engine = engine
        self.batch_size = whole_number(batch_size, "batch_size")
        self.num_threads = num_threads if getattr(engine, "concurrent", False) else 1
        self._num_labels, self._source, self._vectors = num_labels, source, vectors
        self._pool: ThreadPoolExecutor | None = None
        self._begin()

    def run(self, input_ids: npt.NDArray[np.int64]) -> Logits:
        """Run one batch at once, (B, L) int64 ids to (B, C) logits.

        Raises:
            BundleError: the logits have another shape, or values that are not finite.
        """
        engine: Any = self.engine
        logits: Logits = engine.run_with_vectors(input_ids)[1] if self._vectors else engine.run(input_ids)
        what, each = ("vectors", "value") if self._vectors else ("logits", "label")
        expected = (len(input_ids), self._num_labels)
        if np.shape(logits) != expected:
            raise BundleError(
                f"{self._source} gives {what} of shape {np.shape(logits)}; expected {expected}, one for each {each}; export "
                "the bundle again"
            )
        if not np.abs(logits).max() <= _LARGEST_LOGIT:  # NaN is no smaller either
            raise BundleError(
                f"{self._source} gives {float(np.abs(logits).max())} in its {what}; expected finite numbers; the weights or "
                "the program are damaged, or overflow on this text; export the bundle again, or train again"
            )
        return logits

    def submit(self, encoded: Sequence[Sequence[int]]) -> Callable[[], Logits]:
        """Start running id lists and return a function that waits for their (N, C) float32 logits, in order."""
        if self._process != os.getpid():
            self._begin()
        result = np.zeros((len(encoded), self._num_labels), dtype=np.float32)

        def run(rows: list[int]) -> None:
            batch = pad([encoded[row] for row in rows])
            with self._slots:
                result[rows] = self.run(batch)

        batches = form_batches([len(ids) for ids in encoded], batch_size=self.batch_size, parts=self.num_threads)
        if len(batches) < 2 or self.num_threads < 2:
            for rows in batches:
                run(rows)
            return lambda: result
        with self._lock:  # so that nobody closes the pool between lookup and use
            self._pool = self._pool or ThreadPoolExecutor(self.num_threads, thread_name_prefix="embtune")
            waiting: list[Future[None]] = [self._pool.submit(run, rows) for rows in batches]

        def wait() -> Logits:
            for future in waiting:
                future.result()
            return result

        return wait

    def close(self) -> None:
        """Stop the threads; the next run of several batches starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _begin(self) -> None:
        """Set up for this process: a forked one has the pool without its threads, and slots that nobody releases."""
        self._slots = _FairSemaphore(self.num_threads)
        self._lock = threading.Lock()
        self._pool = None
        self._process = os.getpid()
