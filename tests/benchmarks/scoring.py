"""``embtune score`` by one worker and by one for each processor: texts a second, the share of what so many processors could do,
and the memory of the command and of a worker while partitions go by. Start-up is left out: the clock starts when every worker
has answered its first partition.

    python -m tests.benchmarks scoring -- --rows 400000 --rounds 3
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.data import read_examples
from paddlenlp_embtune.scoring import ScoringSpec, score_files

PARTITION = 10_000


class Watch:
    """Counts rows and time once all workers have begun, and looks at the memory of all processes."""

    def __init__(self, workers: int) -> None:
        self.workers, self.records = workers, 0
        self.rows, self.started, self.ended = 0, 0.0, 0.0
        self.megabytes: list[tuple[float, float]] = []

    def __call__(self, record: Mapping[str, Any]) -> None:
        self.records += 1
        self.ended = time.perf_counter()
        if self.records <= 2 * self.workers:
            self.started = self.ended
            return
        self.rows += record["rows"]
        children = [resident(child.pid or 0) for child in multiprocessing.active_children()]
        self.megabytes.append((resident(os.getpid()), max(children)))

    @property
    def texts_per_second(self) -> float:
        return self.rows / (self.ended - self.started)


def resident(process: int) -> float:
    """Megabytes of a process in memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def write_rows(path: Path, rows: int) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    texts = read_examples(FINANCE / "test.tsv", text_column="text", label_column="label").texts
    with parquet.ParquetWriter(path, arrow.schema([("id", arrow.int64()), ("text", arrow.string())])) as writer:
        for start in range(0, rows, PARTITION):
            ids = range(start, min(start + PARTITION, rows))
            batch = [{"id": at, "text": texts[at % len(texts)]} for at in ids]
            writer.write_table(arrow.Table.from_pylist(batch, schema=writer.schema))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks scoring --")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    stated = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="embtune-") as place:
        write_rows(Path(place) / "rows.parquet", stated.rows)
        spec = ScoringSpec(bundle=FINANCE / "bundle", data=[Path(place) / "rows.parquet"], rows_per_partition=PARTITION)
        speeds: dict[int, list[float]] = {1: [], cores: []}
        for turn in range(stated.rounds):
            for workers, found in speeds.items():
                watch = Watch(workers)
                score_files(spec, Path(place) / f"{workers}-{turn}", workers=workers, listener=watch)
                found.append(watch.texts_per_second)
                first, last = watch.megabytes[0], watch.megabytes[-1]
                print(
                    f"{workers} workers: {watch.texts_per_second:,.0f} texts a second; memory of the command "
                    f"{first[0]:.0f} to {last[0]:.0f} MB, of the largest worker {first[1]:.0f} to {last[1]:.0f} MB",
                    flush=True,
                )
    share = statistics.median(many / (cores * one) for one, many in zip(speeds[1], speeds[cores], strict=True))
    print(f"{cores} workers do {share:.0%} of {cores} times one worker (median of {stated.rounds} rounds)")


if __name__ == "__main__":
    main()
