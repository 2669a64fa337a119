"""Running the trials of a study: in this process, or in several that share its storage, within a budget."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import EmbtuneError, StudyError
from paddlenlp_embtune.experiments.search._trial import run_trial
from paddlenlp_embtune.experiments.search.space import Space
from paddlenlp_embtune.experiments.search.study import Study, TrialRecord

__all__ = ["Budget", "Job", "run_trials"]

_POLL_SECONDS, _GRACE_SECONDS = 0.5, 10.0
_MORE, _START_SECONDS = 1.3, 15.0

Listener = Callable[[TrialRecord], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a search may go on.

    Args:
        trials: how many, those of other processes and of earlier commands included; None for no limit.
        begins_at, ends_at: the command's time, as ``time.time`` counts it; ``ends_at`` is None for no limit.
        retrainings: how many runs the comparison at the end takes, one after the other; time is kept for them, at most half.
    """

    trials: int | None
    begins_at: float
    ends_at: float | None
    retrainings: int

    def trials_end(self, run_seconds: float | None) -> float | None:
        """Return when the last trial must have ended, if a run takes so long."""
        if self.ends_at is None:
            return None
        # Each retraining also starts a process, exports and is measured.
        kept = 0.0 if run_seconds is None else (_MORE * run_seconds + _START_SECONDS) * self.retrainings
        return self.ends_at - min(kept, (self.ends_at - self.begins_at) / 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What a process needs to run trials.

    Args:
        recipe: what the space changes.
        space: what varies.
        storage, name, mode, sampler, pruner, seed: as :class:`Study` takes them.
        budget: of all processes together.
        folder: for files of trials.
    """

    recipe: Recipe
    space: Space
    storage: str
    name: str
    mode: str
    sampler: str
    pruner: str
    seed: int
    budget: Budget
    folder: Path

    def open(self, *, worker: int = 0) -> Study:
        """Open the study; workers draw other numbers than each other."""
        names = ("space", "mode", "sampler", "pruner")
        options = {name: getattr(self, name) for name in names}
        return Study(self.storage, self.name, seed=self.seed + worker, trials=self.budget.trials, **options)


def run_trials(job: Job, study: Study, *, processes: int, listener: Listener | None = None) -> None:
    """Run trials until the budget is used up.

    Args:
        job: what they are of.
        study: opened in this process.
        processes: how many at once; with one, trials run in this process.
        listener: called with every trial that has ended.
    Raises:
        EmbtuneError: the recipe as it stands cannot be trained; or the storage cannot be used.
    """
    seen = {trial.number for trial in study.trials() if trial.state != "running"}

    def tell() -> None:
        for trial in study.trials():
            if trial.state != "running" and trial.number not in seen:
                seen.add(trial.number)
                if listener is not None:
                    listener(trial)

    if processes == 1:
        _loop(job, study, after=tell)
    else:
        _in_processes(job, processes, tell)
    tell()


def _loop(job: Job, study: Study, *, after: Callable[[], object] = lambda: None) -> None:
    while True:
        seconds = study.seconds(study.trials())
        end = job.budget.trials_end(seconds)
        if end is not None and time.time() + (seconds or 0.0) > end:
            return
        trial = study.ask(limit=job.budget.trials)
        if trial is None:
            return
        run_trial(study, trial, job.recipe, job.folder, ends_at=end)
        after()


def _in_processes(job: Job, processes: int, tell: Callable[[], object]) -> None:
    context = multiprocessing.get_context("spawn")
    failures: Any = context.SimpleQueue()
    threads = max(1, (os.cpu_count() or 1) // processes)
    workers = [
        context.Process(target=_work, args=(job, number, threads, failures), daemon=True, name=f"search-{number}")
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    try:
        while failures.empty() and any(worker.is_alive() for worker in workers):
            time.sleep(_POLL_SECONDS)
            tell()
        if not failures.empty():
            raise failures.get()
    except BaseException as error:
        for worker in workers:
            if isinstance(error, KeyboardInterrupt):  # that of a terminal has reached them too; each gives its trial back
                worker.join(_GRACE_SECONDS)
            worker.terminate()
        raise
    if crashed := [worker for worker in workers if worker.exitcode]:
        raise StudyError(
            f"{len(crashed)} of {processes} processes ended with exit code {crashed[0].exitcode}; the trials that had ended "
            "are kept; go on with --resume, with fewer --processes if the memory was not enough"
        )


def _work(job: Job, number: int, threads: int, failures: Any) -> None:
    """Run trials in a process of its own."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    compat.prepare_cpu(threads=threads)
    compat.require_paddle()
    compat.quiet_logging()
    try:
        _loop(job, job.open(worker=number))
    except KeyboardInterrupt:
        return
    except EmbtuneError as error:
        failures.put(error)
