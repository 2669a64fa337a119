"""What fits an arm on all rows, in a process of its own: ``python -m paddlenlp_embtune.experiments.auto._fit_child JOB``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.experiments._processes import end_with_parent, peak_bytes
from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto._serving import measure_serving
from paddlenlp_embtune.experiments.auto.limits import ServingCost
from paddlenlp_embtune.experiments.cell import CellResult
from paddlenlp_embtune.utils.run_layout import BUNDLE

__all__ = ["main"]


def main(job: str) -> None:
    """Train the recipe that a file names, measure its bundle, and write both down.

    Args:
        job: path of a JSON file with ``recipe``, ``out`` (folder of the run), ``texts`` for measuring the bundle, ``path`` of
            what it leaves, and ``began`` and ``origin`` as those of :mod:`paddlenlp_embtune.experiments.auto._child`.
    """
    end_with_parent()
    compat.prepare_cpu()
    stated = json.loads(Path(job).read_text(encoding="utf-8"))
    compat.require_paddle()
    compat.quiet_logging()
    started = time.time()
    found = _train(Path(stated["recipe"]), Path(stated["out"]), Path(stated["texts"]))
    measured = Measured.now(found, started=started, start_seconds=started - stated["began"], origin=stated["origin"])
    measured.save(Path(stated["path"]))


def _train(recipe: Path, out: Path, texts: Path) -> tuple[CellResult, ServingCost | None, float]:
    from paddlenlp_embtune.training import train

    notes: tuple[str, ...] = ()
    seconds = 0.0
    try:
        if not (out / BUNDLE).is_dir():  # of a run that was complete when its process was killed
            run = train(Recipe.load(recipe), out, resume=True)
            notes, seconds = run.notes, run.seconds
        cost = measure_serving(out / BUNDLE, texts)
    except EmbtuneError as error:
        return CellResult(failed=f"{type(error).__name__}: {error}"), None, 0.0
    return CellResult(peak_bytes=peak_bytes(), notes=notes), cost, seconds


if __name__ == "__main__":
    main(*sys.argv[1:])
