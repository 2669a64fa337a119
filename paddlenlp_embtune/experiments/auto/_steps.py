"""Running fits in processes of their own, each kept at once, with a time by which they must have ended."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from paddlenlp_embtune.experiments.auto._measured import Measured, path_of
from paddlenlp_embtune.experiments.auto.budget import Clock, in_words
from paddlenlp_embtune.experiments.cell import Cell, CellResult
from paddlenlp_embtune.experiments.runner import Children
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json

__all__ = ["Steps", "run_process"]

_CHILD = "paddlenlp_embtune.experiments.auto._child"
_SHOWN = 400
_MORE_TIME = 1.2
"""How much more time than before a fit that had too little must get to be tried again."""


class Steps:
    """Runs the fits of one arm on one rung; fits that stand in the folder are taken from there.

    Args:
        folder: of the choice.
        clock: of its budget; moved on to where kept fits ended.
        jobs: processes at once, with one thread each.
        texts: file of texts for measuring bundles.
    """

    def __init__(self, folder: Path, clock: Clock, *, jobs: int, texts: Path) -> None:
        self.folder, self.clock, self.jobs = folder, clock, jobs
        self._texts = texts

    def run(self, cells: Sequence[Cell], *, allowed_seconds: float) -> dict[str, Measured]:
        """Run what is not there yet.

        A fit that is ended because its time is up has failed, and so has one whose process crashed.

        Args:
            cells: of one arm; the bundle of the first is measured.
            allowed_seconds: from now on, for all of them.
        Returns:
            All of them, by :attr:`Cell.place`.
        Raises:
            DataError: a file in the folder is damaged.
            KeyboardInterrupt: what was finished is kept.
        """
        known = {cell.place: Measured.load(path_of(self.folder, cell)) for cell in cells}
        waiting = [cell for cell in cells if _again(known[cell.place], allowed_seconds)]
        for found in known.values():
            self.clock.advance_to(found.ended if found is not None else 0.0)
        if waiting:
            self._run(waiting, cells[0], allowed_seconds)
        return {cell.place: self._left_by(cell, allowed_seconds) for cell in cells}

    def stands(self, cell: Cell) -> bool:
        """Whether the figures of a fit stand in the folder."""
        found = Measured.load(path_of(self.folder, cell))
        return found is not None and found.result.failed is None

    def _run(self, waiting: Sequence[Cell], first: Cell, allowed_seconds: float) -> None:
        for cell in waiting:
            path_of(self.folder, cell).unlink(missing_ok=True)
        parts = [waiting[number :: self.jobs] for number in range(min(self.jobs, len(waiting)))]
        children = Children()
        out_of_time = threading.Event()

        def end() -> None:
            out_of_time.set()
            children.close()

        timer = threading.Timer(max(0.0, allowed_seconds), end)
        timer.daemon = True
        with ThreadPoolExecutor(len(parts)) as threads:
            timer.start()
            futures = [threads.submit(self._run_part, part, first, children) for part in parts]
            try:
                for future in futures:
                    future.result()
            finally:
                timer.cancel()
                children.close()
        for cell in waiting:
            if out_of_time.is_set() and not path_of(self.folder, cell).is_file():
                told = f"it was ended after {in_words(allowed_seconds)}, when its time was up"
                failed = Measured(result=CellResult(failed=told), ended=self.clock.elapsed, allowed=allowed_seconds)
                failed.save(path_of(self.folder, cell))

    def _run_part(self, part: Sequence[Cell], first: Cell, children: Children) -> None:
        with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
            job = Path(scratch) / "job.json"
            now = time.time()
            stated = {
                "began": now,
                "origin": now - self.clock.elapsed,
                "texts": str(self._texts),
                "fits": [
                    {"cell": cell.to_dict(), "path": str(path_of(self.folder, cell).absolute()), "serves": cell == first}
                    for cell in part
                ],
            }
            write_text(job, dump_json(stated))
            told = run_process([_CHILD, str(job)], children, Path(scratch))
        if told is None:
            return
        for cell in part:
            if not path_of(self.folder, cell).is_file():
                Measured(result=CellResult(failed=told), ended=self.clock.elapsed).save(path_of(self.folder, cell))

    def _left_by(self, cell: Cell, allowed_seconds: float) -> Measured:
        found = Measured.load(path_of(self.folder, cell))
        return found if found is not None else Measured(result=CellResult(failed="it was not run"), allowed=allowed_seconds)


def run_process(module: Sequence[str], children: Children, scratch: Path) -> str | None:
    """Run a module in a process that ends with this one; return how it ended, and what it said last.

    None where it was ended with all others, which says nothing about what it ran.

    Args:
        module: its name and its arguments.
        children: where it is listed, so that others can end it.
        scratch: a folder for what it says.
    """
    said = scratch / "said.txt"
    try:
        with (
            said.open("wb") as output,
            children.started([sys.executable, "-W", "ignore", "-m", *module], output) as process,
        ):
            code = process.wait()
    except KeyboardInterrupt:
        if not children.closed:
            raise
    if children.closed:
        return None
    last = " ".join(said.read_text(encoding="utf-8", errors="replace").split())[-_SHOWN:]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"its process {how}{f': {last}' if last else ''}"


def _again(known: Measured | None, allowed_seconds: float) -> bool:
    """Whether a fit is run: it is not there, or failed, and not only for lack of time that it lacks now too."""
    if known is None:
        return True
    if known.result.failed is None:
        return False
    return known.allowed is None or allowed_seconds > _MORE_TIME * known.allowed
