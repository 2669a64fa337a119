"""What a process of a choice runs, one fit after the other: ``python -m paddlenlp_embtune.experiments.auto._child JOB``.

Several fits share one process, because importing Paddle takes as long as a fit on few rows.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.experiments._child import run_cell
from paddlenlp_embtune.experiments._fits import Fitted, load_packages
from paddlenlp_embtune.experiments._processes import end_with_parent
from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto._serving import measure_serving
from paddlenlp_embtune.experiments.auto.limits import ServingCost
from paddlenlp_embtune.experiments.cell import Cell, CellResult

__all__ = ["main"]


def main(job: str) -> None:
    """Run the fits that a file lists, and write each at once.

    Args:
        job: path of a JSON file with ``began``, when this process was started, and ``origin``, when the clock of the choice
            stood at 0, as ``time.time`` counts; ``texts`` for measuring bundles; and ``fits``: ``cell``, ``path`` of what it
            leaves, and whether its bundle is measured (``serves``).
    """
    end_with_parent()
    compat.prepare_cpu(threads=1)
    stated = json.loads(Path(job).read_text(encoding="utf-8"))
    start_seconds: float | None = None
    for each in stated["fits"]:
        cell = Cell.from_dict(each["cell"])
        load_packages(cell)
        started = time.time()
        start_seconds = started - stated["began"] if start_seconds is None else 0.0
        found = _fit(cell, serves=each["serves"], texts=Path(stated["texts"]))
        measured = Measured.now(found, started=started, start_seconds=start_seconds, origin=stated["origin"])
        measured.save(Path(each["path"]))


def _fit(cell: Cell, *, serves: bool, texts: Path) -> tuple[CellResult, ServingCost | None, float]:
    costs: list[ServingCost] = []
    seconds = [0.0]

    def measure(fitted: Fitted) -> None:
        seconds.append(fitted.learning_seconds)
        if serves and fitted.bundle is not None:
            costs.append(measure_serving(fitted.bundle, texts))

    try:
        result = run_cell(cell, inspect=measure)
    except EmbtuneError as error:
        result = CellResult(failed=f"{type(error).__name__}: {error}")
    except MemoryError:
        result = CellResult(failed="MemoryError: there is not enough memory")
    return result, costs[0] if costs else None, seconds[-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
