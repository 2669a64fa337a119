"""A job: files in, partitions with answers out; a job that was interrupted continues with the partitions that are missing."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.data import ANSWER_FORMATS, data_files
from paddlenlp_embtune.errors import DataError, EmbtuneError, RecipeError, expected_names
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.scoring._executors import EXECUTORS, Executor
from paddlenlp_embtune.scoring._progress import JobFolder
from paddlenlp_embtune.scoring._worker import Task
from paddlenlp_embtune.scoring.packed_bundle import PackedBundle
from paddlenlp_embtune.scoring.partitions import Partition, UnreadableFile, partitions_of
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["SCORING_ENGINES", "ScoringSpec", "score_files"]

SCORING_ENGINES = tuple(EXECUTORS)
"""What runs the workers of a job."""

_TRIES = 3
_FORMATS_BY_ENDING = {"parquet": "parquet", "csv": "csv", "tsv": "tsv"}

Listener = Callable[[Mapping[str, Any]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringSpec:
    """What is scored, and how.

    Args:
        bundle: its folder.
        data: files, folders or patterns such as ``part-*.parquet``.
        text_column: column or key of the text.
        options: how the files are read.
        format: of the answers, one of ``ANSWER_FORMATS``; None follows the first file: Parquet, CSV and TSV stay such, others
            become JSON lines.
        rows_per_partition: rows that a worker scores at once and that are written together, 1 or more.
        scores: also write the probability of every label.
        precision: ``fp32``, or one that the bundle has.
        windows: read long texts in windows (True) or cut them (False); None follows the bundle.
        abstain_below: no label below this score; None takes the thresholds of the bundle.
    Raises:
        RecipeError: an option is not valid.
    """

    bundle: Path
    data: Sequence[Path]
    text_column: str = "text"
    options: ReadOptions = dataclasses.field(default_factory=ReadOptions)
    format: str | None = None
    rows_per_partition: int = 20_000
    scores: bool = False
    precision: str = "fp32"
    windows: bool | None = None
    abstain_below: float | None = None

    def __post_init__(self) -> None:
        if self.rows_per_partition < 1:
            raise RecipeError(f"--rows-per-partition must be 1 or more, got {self.rows_per_partition}")
        if self.format is not None and self.format not in ANSWER_FORMATS:
            raise RecipeError(f"--to is {self.format!r}; {expected_names(self.format, ANSWER_FORMATS)}")

    def files(self) -> list[Path]:
        """Return the files that ``data`` stands for, in order.

        Raises:
            DataError: a path stands for none, or a file is named twice.
        """
        files = list[Path]()
        for path in self.data:
            found = data_files(path)
            if not found:
                raise DataError(f"no file is called {path}; expected a path, a folder, or a pattern that files match")
            files += found
        twice = [path for path, count in Counter(path.resolve() for path in files).items() if count > 1]
        if twice:
            raise DataError(f"{twice[0]} is named twice, and its rows would be scored twice; name it once")
        return files


def score_files(
    spec: ScoringSpec,
    out: Path,
    *,
    engine: str = "processes",
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Score files partition by partition; each partition becomes one file in ``out``, in the order of the rows.

    Every worker opens the bundle once, checks its hash and uses one thread. A partition whose worker dies is given to another
    one, at most three times in all. One that fails, a broken row for example, is reported, and the others go on.

    Args:
        spec: what is scored.
        out: folder of the answers: ``part-00000.parquet`` and so on, and ``_job.json``, ``_partitions/`` and, at the end,
            ``_report.json``. Workers must see it under the same path.
        engine: one of ``SCORING_ENGINES``.
        workers: texts are scored by so many at once; None takes the processors that the engine has.
        overwrite: replace what another job has left in ``out``.
        listener: is called with the record of every partition that ended, with ``error`` where it failed.
    Returns:
        The report: ``rows``, ``blank``, ``cut``, ``partitions``, ``resumed`` (partitions of a former call), ``failed`` (their
        ``rows`` and ``error``), ``notes``, ``seconds``, ``texts_per_second`` of this call, ``workers``, ``engine``, ``out``.
    Raises:
        DataError: there is no such file, or a file has changed since the job was begun.
        BundleError: the bundle is damaged.
        RecipeError: there is no such engine, or ``out`` holds another job or other files.
        MissingDependencyError: the engine is not installed.
        HostError: the engine has too few processors.
    """
    if engine not in EXECUTORS:
        raise RecipeError(f"--engine is {engine!r}; {expected_names(engine, EXECUTORS)}")
    if workers is not None and workers < 1:
        raise RecipeError(f"--workers must be 1 or more, got {workers}")
    files, bundle = spec.files(), Bundle.open(spec.bundle)
    options: dict[str, Any] = {"precision": spec.precision, "windows": spec.windows, "abstain_below": spec.abstain_below}
    Predictor(bundle, num_threads=1, **options)  # refuses a wrong option before any worker starts
    format = spec.format or _FORMATS_BY_ENDING.get(files[0].suffix.lower().removeprefix("."), "jsonl")  # noqa: A001
    task = Task(
        bundle=PackedBundle.of(bundle, ship=engine != "processes"),
        predictor=tuple(options.items()),
        out=out.absolute(),
        format=format,
        text_column=spec.text_column,
        options=spec.options,
        scores=spec.scores,
    )
    with JobFolder.opened(out, _identity(spec, task, files), overwrite=overwrite) as folder:
        job = _Job(folder, task, listener)
        found = partitions_of(
            files, rows=spec.rows_per_partition, text_column=spec.text_column, options=spec.options, notes=job.notes
        )
        with EXECUTORS[engine](task, workers) as executor:
            started = time.monotonic()
            job.run(found, executor)
        seconds = time.monotonic() - started
        report = job.report(seconds) | {"engine": engine, "workers": executor.workers, "out": str(out)}
        folder.finish(report)
    return report


def _identity(spec: ScoringSpec, task: Task, files: Sequence[Path]) -> dict[str, Any]:
    """Return what two calls must have in common to be the same job."""
    stats = [path.stat() for path in files]
    return {
        "bundle": task.bundle.fingerprint,
        "data": [
            {"path": str(path.absolute()), "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
            for path, stat in zip(files, stats, strict=True)
        ],
        "text_column": task.text_column,
        "options": dataclasses.asdict(task.options),
        "format": task.format,
        "rows_per_partition": spec.rows_per_partition,
        "scores": task.scores,
        "predictor": dict(task.predictor),
    }


class _Job:
    """Feeds an executor with the partitions that are missing, and keeps count."""

    def __init__(self, folder: JobFolder, task: Task, listener: Listener | None) -> None:
        self.notes = list[str]()
        self._folder, self._task, self._listener = folder, task, listener
        self._counts: Counter[str] = Counter()
        self._failed = list[dict[str, Any]]()
        self._new_rows = 0

    def run(self, partitions: Iterator[Partition | UnreadableFile], executor: Executor) -> None:
        """Score all that is missing; no more partitions are in memory than workers, and two."""
        running: dict[Future[dict[str, Any]], Partition] = {}
        tries: Counter[int] = Counter()
        again = list[Partition]()
        while True:
            while len(running) < executor.workers + 2:
                partition = again.pop() if again else self._next_missing(partitions)
                if partition is None:
                    break
                tries[partition.number] += 1
                running[executor.submit(partition)] = partition
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                partition = running.pop(future)
                try:
                    self._keep(future.result())
                except BrokenExecutor as fault:
                    if tries[partition.number] < _TRIES:
                        again.append(partition)
                    else:
                        advice = f"{fault} {_TRIES} times; give it more memory, or take fewer --rows-per-partition"
                        self._fail(partition.name, partition.start, advice)
                except EmbtuneError as fault:
                    self._fail(partition.name, partition.start, str(fault))

    def report(self, seconds: float) -> dict[str, Any]:
        """Return the counts of this call and of former ones."""
        return {
            "rows": self._counts["rows"],
            "blank": self._counts["blank"],
            "cut": self._counts["cut"],
            "partitions": self._counts["partitions"],
            "resumed": self._counts["resumed"],
            "failed": self._failed,
            "notes": self.notes,
            "seconds": round(seconds, 2),
            "texts_per_second": round(self._new_rows / seconds) if seconds > 0 and self._new_rows else None,
        }

    def _next_missing(self, partitions: Iterator[Partition | UnreadableFile]) -> Partition | None:
        for each in partitions:
            if isinstance(each, UnreadableFile):
                self._fail(f"{each.file} from row {each.start + 1:,} on", each.start, str(each.error))
            elif (record := self._folder.record(each, self._task.target(each))) is not None:
                self._counts.update({"resumed": 1})
                self._count(record)
            else:
                return each
        return None

    def _keep(self, record: dict[str, Any]) -> None:
        self._folder.keep(record)
        self._new_rows += record["rows"]
        self._count(record)

    def _count(self, record: Mapping[str, Any]) -> None:
        self._counts.update({name: record[name] for name in ("rows", "blank", "cut")}, partitions=1)
        self._tell(record)

    def _fail(self, rows: str, start: int, error: str) -> None:
        self._failed.append({"rows": rows, "error": error})
        self._tell({"rows": 0, "start": start, "error": f"{rows}: {error}"})

    def _tell(self, record: Mapping[str, Any]) -> None:
        if self._listener is not None:
            self._listener(record)
