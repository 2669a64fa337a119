"""Engines that run the partitions of a job: worker processes of this machine, Ray, and Spark."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import EmbtuneError, HostError, MissingDependencyError
from paddlenlp_embtune.scoring._worker import Task, score_partition
from paddlenlp_embtune.scoring.partitions import Partition

__all__ = ["EXECUTORS", "Executor"]


_RETRIES = 2


class Executor(Protocol):
    """Runs partitions, several at once."""

    workers: int

    def submit(self, partition: Partition) -> Future[dict[str, Any]]:
        """Start a partition; the future ends with its record or the worker's error, ``BrokenExecutor`` if that died."""


@contextlib.contextmanager
def _processes(task: Task, workers: int | None) -> Iterator[Executor]:
    executor = _Processes(task, workers or compat.usable_processors())
    try:
        yield executor
    finally:
        executor.close()


class _Processes:
    """Worker processes of this machine; they are replaced when one dies."""

    def __init__(self, task: Task, workers: int) -> None:
        self.workers = workers
        self._task = task
        self._pool = self._open()

    def submit(self, partition: Partition) -> Future[dict[str, Any]]:
        try:
            started = self._pool.submit(score_partition, self._task, partition)
        except BrokenProcessPool:
            self._pool.shutdown(wait=False)
            self._pool = self._open()
            started = self._pool.submit(score_partition, self._task, partition)
        return _translated(started, (BrokenProcessPool,))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _open(self) -> ProcessPoolExecutor:
        # spawn: a forked child of a process with threads may hang.
        return ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("spawn"))


@contextlib.contextmanager
def _ray(task: Task, workers: int | None) -> Iterator[Executor]:
    ray = _package("ray", "ray")
    own = not ray.is_initialized()
    if own:
        # Connects to the cluster that RAY_ADDRESS names, or starts one on this machine.
        local = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False, "num_cpus": workers}
        ray.init(logging_level="warning", log_to_driver=False, **local)
    try:
        available = int(ray.cluster_resources().get("CPU", 0))
        if workers is not None and workers > available:
            raise HostError(f"--workers is {workers}, and Ray has {available} processors; take no more than these")
        yield _RayActors(ray, task, workers or max(1, available))
    finally:
        if own:
            ray.shutdown()


class _RayActors:
    """Actors of Ray, one processor each; Ray starts one again when it dies."""

    def __init__(self, ray: Any, task: Task, workers: int) -> None:
        self.workers = workers
        self._lost = (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError)
        self._shared = ray.put(task)  # kept: an actor that starts again needs it
        # Ray itself runs a partition again once its actor is back; until then the actor refuses what is submitted.
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=_RETRIES)(_Actor)
        self._actors = [actor.remote(self._shared) for _ in range(workers)]
        self._running = [0] * workers

    def submit(self, partition: Partition) -> Future[dict[str, Any]]:
        at = min(range(self.workers), key=self._running.__getitem__)
        self._running[at] += 1
        started = self._actors[at].score.remote(partition).future()

        def ended(_: Future[dict[str, Any]]) -> None:
            self._running[at] -= 1

        started.add_done_callback(ended)
        return _translated(started, self._lost)


class _Actor:
    """A worker of Ray."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def score(self, partition: Partition) -> dict[str, Any]:
        return score_partition(self._task, partition)


@contextlib.contextmanager
def _spark(task: Task, workers: int | None) -> Iterator[Executor]:
    _package("pyspark", "spark")
    session_class = importlib.import_module("pyspark.sql").SparkSession
    active = session_class.getActiveSession()
    builder = session_class.builder.appName("embtune score")
    if active is None and "SPARK_REMOTE" not in os.environ and "MASTER" not in os.environ:
        builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
        if "PYSPARK_SUBMIT_ARGS" not in os.environ:
            builder = builder.master(f"local[{workers or '*'}]")
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # or else the first python3 of PATH
    session = active or builder.getOrCreate()
    context = session.sparkContext
    try:
        available = int(context.defaultParallelism)
        if workers is not None and workers > available:
            raise HostError(f"--workers is {workers}, and Spark has {available} processors; take no more than these")
        yield (executor := _SparkTasks(context, task, workers or available))
        executor.close()
    finally:
        if active is None:
            session.stop()


class _SparkTasks:
    """Spark jobs of one task each, as many at once as there are workers."""

    def __init__(self, context: Any, task: Task, workers: int) -> None:
        self.workers = workers
        self._context = context
        self._task = context.broadcast(task)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="embtune-spark")
        self._lost = (importlib.import_module("py4j.protocol").Py4JJavaError,)

    def submit(self, partition: Partition) -> Future[dict[str, Any]]:
        return _translated(self._threads.submit(self._run, partition), self._lost)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, partition: Partition) -> dict[str, Any]:
        shared = self._task

        def work(given: Partition) -> tuple[dict[str, Any] | None, EmbtuneError | None]:
            # An error of ours is an answer: Spark would run the task again, and wrap its message in a Java trace.
            try:
                return score_partition(shared.value, given), None
            except EmbtuneError as fault:
                return None, fault

        ((record, fault),) = self._context.parallelize([partition], 1).map(work).collect()
        if fault is not None:
            raise fault
        return dict(record)


def _translated(started: Future[dict[str, Any]], lost: tuple[type[BaseException], ...]) -> Future[dict[str, Any]]:
    """Return a future whose exception is ours where a worker was lost, and the worker's own where an engine wrapped it."""
    told: Future[dict[str, Any]] = Future()

    def tell(ended: Future[dict[str, Any]]) -> None:
        if ended.cancelled():
            told.cancel()
            return
        fault = ended.exception()
        cause = getattr(fault, "cause", None)
        if isinstance(cause, EmbtuneError):
            fault = cause
        if fault is None:
            told.set_result(ended.result())
        elif isinstance(fault, lost):
            told.set_exception(BrokenExecutor(f"a worker died ({type(fault).__name__})"))
        else:
            told.set_exception(fault)

    started.add_done_callback(tell)
    return told


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f'the engine {extra} needs {name}; install it with: pip install "paddlenlp-embtune[{extra}]"'
        ) from None


EXECUTORS: dict[str, Callable[[Task, int | None], contextlib.AbstractContextManager[Executor]]] = {
    "processes": _processes,
    "ray": _ray,
    "spark": _spark,
}
