"""Micro-batching: texts of requests that come at the same time go through the model together."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

__all__ = ["MicroBatcher"]

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


@dataclasses.dataclass(eq=False, slots=True)
class _Job(Generic[K, R]):
    """Texts of one request, and the future of their answers."""

    key: K
    texts: Sequence[str]
    answers: asyncio.Future[list[R]]
    begun: float
    alone: bool = False
    waiting: bool = False


class MicroBatcher(Generic[K, R]):
    """Collects texts that wait at the same time, and runs them in threads.

    A free thread takes the texts that wait. While it works, texts collect for the next batch; a batch that is not full waits
    only if another thread is free, and at most ``max_wait_seconds``. Requests are never split, so one that is larger than a
    batch is a batch of its own. Call it from one event loop.

    Args:
        run: labels texts, one result for each; called from threads with the key that the texts were queued under.
        max_texts: texts of a batch.
        max_wait_seconds: how long the oldest text may wait for more while another batch runs.
        max_queued: texts that may wait.
        threads: batches that run at the same time.
        on_batch: called in the event loop with the key and the number of texts when a batch starts.
    """

    def __init__(
        self,
        run: Callable[[K, list[str]], Sequence[R]],
        *,
        max_texts: int,
        max_wait_seconds: float,
        max_queued: int,
        threads: int,
        on_batch: Callable[[K, int], None] | None = None,
    ) -> None:
        self._run = run
        self._max_texts = max_texts
        self._max_wait = max_wait_seconds
        self._max_queued = max_queued
        self._threads = threads
        self._on_batch = on_batch
        self._jobs: deque[_Job[K, R]] = deque()
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pool: ThreadPoolExecutor | None = None
        self.queued = 0
        self.closed = False

    def submit(self, key: K, texts: Sequence[str]) -> asyncio.Future[list[R]]:
        """Queue texts and return the future of their answers, in order; cancelling it removes texts that still wait.

        The future fails with a RuntimeError, whose cause is what ``run`` raised, if these texts fail by themselves.

        Raises:
            asyncio.QueueFull: too many texts are waiting, or it is ``closed``.
        """
        if self.closed:
            raise asyncio.QueueFull
        loop = asyncio.get_running_loop()
        job: _Job[K, R] = _Job(key, texts, loop.create_future(), loop.time())
        if not texts:
            job.answers.set_result([])
        elif self.queued and self.queued + len(texts) > self._max_queued:
            raise asyncio.QueueFull
        else:
            job.answers.add_done_callback(partial(self._forget, job))
            self._jobs.append(job)
            self._note_waiting(job, True)
            self._pump()
        return job.answers

    def open(self) -> None:
        """Accept texts again after :meth:`close`."""
        self.closed = False

    async def close(self) -> None:
        """Accept nothing more, cancel what waits, and wait for what runs."""
        self.closed = True
        self._stop_timer()
        while self._jobs:
            job = self._jobs.popleft()
            self._note_waiting(job, False)
            job.answers.cancel()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(pool.shutdown)

    def _pump(self) -> None:
        """Start as many batches as there are free threads, unless waiting makes them fuller."""
        self._stop_timer()
        while self._running < self._threads and self._drop_cancelled():
            loop = asyncio.get_running_loop()
            wait = self._jobs[0].begun + self._max_wait - loop.time()
            if self._running and wait > 0 and self.queued < self._max_texts and not self._jobs[0].alone:
                self._timer = loop.call_later(wait, self._pump)
                return
            self._start(self._gather())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note_waiting(self, job: _Job[K, R], waiting: bool) -> None:
        """Count the texts of a job that enters the queue or leaves it."""
        job.waiting = waiting
        self.queued += len(job.texts) if waiting else -len(job.texts)

    def _forget(self, job: _Job[K, R], _: asyncio.Future[list[R]]) -> None:
        """Remove a cancelled job from the queue, so that it makes room for others at once."""
        if job.waiting:
            self._jobs.remove(job)
            self._note_waiting(job, False)

    def _drop_cancelled(self) -> bool:
        """Remove cancelled jobs at the head of the queue; return whether any job is left."""
        while self._jobs and self._jobs[0].answers.done():
            self._note_waiting(self._jobs.popleft(), False)
        return bool(self._jobs)

    def _gather(self) -> list[_Job[K, R]]:
        """Take the oldest job and those that fit beside it; the others keep their place."""
        first = self._jobs.popleft()
        self._note_waiting(first, False)
        taken, left, texts = [first], [], len(first.texts)
        while self._jobs and texts < self._max_texts and not first.alone:
            job = self._jobs.popleft()
            if job.answers.done():
                self._note_waiting(job, False)
            elif job.key == first.key and not job.alone and texts + len(job.texts) <= self._max_texts:
                self._note_waiting(job, False)
                taken.append(job)
                texts += len(job.texts)
            else:
                left.append(job)
        self._jobs.extendleft(reversed(left))
        return taken

    def _start(self, jobs: list[_Job[K, R]]) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="embtune-batch")
        key, texts = jobs[0].key, [text for job in jobs for text in job.texts]
        done = asyncio.get_running_loop().run_in_executor(self._pool, self._attempt, key, texts)
        done.add_done_callback(partial(self._finish, jobs))
        self._running += 1
        if self._on_batch is not None:
            self._on_batch(key, len(texts))

    def _attempt(self, key: K, texts: list[str]) -> Sequence[R] | RuntimeError:
        """Label texts, or return the failure: some exceptions, such as StopIteration, cannot be set on a future."""
        try:
            answers = self._run(key, texts)
            if len(answers) != len(texts):
                raise ValueError(f"{len(texts)} texts got {len(answers)} answers")
        except BaseException as error:
            failure = RuntimeError(f"answering {len(texts)} texts failed with {type(error).__name__}")
            failure.__cause__ = error
            return failure
        return answers

    def _finish(self, jobs: list[_Job[K, R]], done: asyncio.Future[Any]) -> None:
        """Distribute the answers; of a failed batch, run the requests one by one, so that only the faulty one fails.

        After :meth:`close` there is no time for that: all of them fail.
        """
        self._running -= 1
        outcome = done.result()
        if not isinstance(outcome, RuntimeError):
            start = 0
            for job in jobs:
                stop = start + len(job.texts)
                if not job.answers.done():
                    job.answers.set_result(list(outcome[start:stop]))
                start = stop
        else:
            for job in reversed([job for job in jobs if not job.answers.done()]):
                if len(jobs) == 1 or self.closed:
                    job.answers.set_exception(outcome)
                else:
                    job.alone = True
                    self._jobs.appendleft(job)
                    self._note_waiting(job, True)
        self._pump()
