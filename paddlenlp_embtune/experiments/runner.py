"""Running cells: each in a process of its own, several at once, every result written as soon as it is there."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.experiments.cell import Cell, CellResult
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json, parse_json
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["finished", "load_result", "run_cells", "run_in_child"]

_CHILD = "paddlenlp_embtune.experiments._child"
_SHOWN = 400
"""Characters of what a process wrote last that are shown where it crashed."""


def run_cells(
    cells: Sequence[Cell], folder: Path, *, jobs: int = 1, listener: Callable[[Cell, CellResult], None] | None = None
) -> dict[str, CellResult]:
    """Run those cells that have no figures in a folder yet; cells that failed are tried again.

    An interrupt, and whatever the listener raises, ends all processes; what was finished stays in the folder.

    Args:
        cells: what to run, in this order.
        folder: where results go, each at once: ``FOLDER/cells/SET/ARM/….json``.
        jobs: processes at once, with one thread each, 1 or more.
        listener: called with every cell that has ended and its result, one at a time.
    Returns:
        The results of all cells by :attr:`Cell.place`, those that were there before included.
    Raises:
        DataError: a result in the folder is damaged.
        RecipeError: ``jobs`` is below 1.
    """
    if jobs < 1:
        raise RecipeError(f"jobs is {jobs}; expected 1 or more processes")
    found: dict[str, CellResult] = {}
    waiting: list[Cell] = []
    for cell in cells:
        known = load_result(folder, cell)
        if known is None or known.failed is not None:
            waiting.append(cell)
        else:
            found[cell.place] = known
    telling = threading.Lock()
    with _children() as children, ThreadPoolExecutor(jobs) as threads:

        def run(cell: Cell) -> None:
            result = run_in_child(cell, children=children)
            write_text(_path(folder, cell), dump_json(to_plain(result)) + "\n")
            with telling:
                found[cell.place] = result
                if listener is not None:
                    listener(cell, result)

        futures = [threads.submit(run, cell) for cell in waiting]
        try:
            for future in futures:
                future.result()
        except BaseException:
            children.close()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def run_in_child(cell: Cell, *, children: Children | None = None) -> CellResult:
    """Run one cell in a process of its own, with one thread; a process that crashes or is killed gives a failed result.

    Args:
        cell: what to run.
        children: where the process is listed, so that others can end it; None for none.
    """
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        job, result, said = (Path(scratch) / name for name in ("job.json", "result.json", "said.txt"))
        write_text(job, dump_json(cell.to_dict()))
        command = [sys.executable, "-W", "ignore", "-m", _CHILD, str(job), str(result)]
        with said.open("wb") as output, (children or Children()).started(command, output) as process:
            code = process.wait()
        if children is not None and children.closed:
            raise KeyboardInterrupt  # it was ended with all others, which says nothing about the cell
        if result.is_file():
            return CellResult.from_dict(parse_json(result.read_bytes(), str(result), error=DataError))
        last = " ".join(said.read_text(encoding="utf-8", errors="replace").split())[-_SHOWN:]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return CellResult(failed=f"its process {how}{f': {last}' if last else ''}")


def load_result(folder: Path, cell: Cell) -> CellResult | None:
    """Return the result of a cell that stands in a folder; None where there is none.

    Raises:
        DataError: the file is damaged.
    """
    path = _path(folder, cell)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return CellResult.from_dict(parse_json(content, str(path), error=DataError))
    except DataError as error:
        raise DataError(f"{path} is damaged: {error}; remove it, and the cell is run again") from None


def finished(folder: Path, cell: Cell) -> bool:
    """Whether a cell has figures in a folder."""
    result = load_result(folder, cell)
    return result is not None and result.failed is None


class Children:
    """Processes that run, so that all of them can be ended at once."""

    def __init__(self) -> None:
        self.closed = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def started(self, command: Sequence[str], output: object) -> Iterator[subprocess.Popen[bytes]]:
        """Start a process that ends when this one does: its standard input is a pipe that we hold open."""
        with self._lock:
            if self.closed:
                raise KeyboardInterrupt
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True)  # type: ignore[call-overload]
            self._running.add(process)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process)
            process.kill()
            process.wait()
            process.stdin.close()

    def close(self) -> None:
        """End all processes, and start no more."""
        with self._lock:
            self.closed = True
            for process in self._running:
                process.kill()


@contextlib.contextmanager
def _children() -> Iterator[Children]:
    children = Children()
    try:
        yield children
    finally:
        children.close()


def _path(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / cell.place
