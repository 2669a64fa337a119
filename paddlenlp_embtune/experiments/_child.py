"""What one cell runs in its own process: ``python -m paddlenlp_embtune.experiments._child JOB RESULT``."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.experiments._fits import Fitted, fit, load_packages
from paddlenlp_embtune.experiments._processes import end_with_parent, peak_bytes
from paddlenlp_embtune.experiments._split import rows_of
from paddlenlp_embtune.experiments.cell import Cell, CellResult
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["main", "run_cell"]


def run_cell(cell: Cell, *, inspect: Callable[[Fitted], object] | None = None) -> CellResult:
    """Fit an arm and measure it, in this process.

    Args:
        cell: what is fitted.
        inspect: called with the classifier while its files are there.
    Raises:
        EmbtuneError: the rows cannot be read, or the arm cannot be fitted.
    """
    train, dev, test = rows_of(cell)
    load_packages(cell)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        fitted = fit(cell, train, dev, Path(scratch))
        seconds = time.perf_counter() - started
        answers, rate = _timed(fitted.predict, test.texts)
        if inspect is not None:
            inspect(fitted)
    labels = sorted({*train.labels, *test.labels})
    number = {label: index for index, label in enumerate(labels)}
    return CellResult(
        labels=tuple(labels),
        truth=tuple(number[label] for label in test.labels),
        predicted=tuple(number[label] for label in answers),
        rows=len(train),
        seconds=round(seconds, 3),
        peak_bytes=peak_bytes(),
        size_bytes=fitted.size_bytes,
        texts_per_second=round(rate, 1),
        notes=fitted.notes,
    )


def _timed(predict: Callable[[Sequence[str]], list[str]], texts: Sequence[str]) -> tuple[list[str], float]:
    predict(texts[:8])
    started = time.perf_counter()
    answers = predict(texts)
    return answers, len(texts) / max(time.perf_counter() - started, 1e-9)


def main(job: str, result: str) -> None:
    """Run the cell that a file describes, and write what it leaves, also where that is an error."""
    end_with_parent()
    compat.prepare_cpu(threads=1)
    cell = Cell.from_dict(json.loads(Path(job).read_text(encoding="utf-8")))
    found: Any
    try:
        found = run_cell(cell)
    except EmbtuneError as error:
        found = CellResult(failed=f"{type(error).__name__}: {error}")
    except MemoryError:
        found = CellResult(failed="MemoryError: there is not enough memory")
    write_text(Path(result), dump_json(to_plain(found)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
