"""Measuring what a bundle costs where it serves: ``python -m paddlenlp_embtune.experiments.auto._serving BUNDLE TEXTS RESULT``.

It runs in a process of its own, which imports what a serving process does and nothing of training.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import DataError, HostError
from paddlenlp_embtune.experiments._processes import peak_bytes
from paddlenlp_embtune.experiments.auto.limits import ServingCost
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json, parse_json
from paddlenlp_embtune.utils.schema import build, to_plain

__all__ = ["choose_texts", "main", "measure_serving"]

_WARM_UP, _SECONDS, _CALLS = 5, 0.5, (20, 400)
_TIMED, _BATCH = 16, 64
_WAIT_SECONDS = 300.0


def choose_texts(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return texts of about the median length, which are timed, and some of all lengths, which fill the memory."""
    by_length = sorted(dict.fromkeys(texts), key=lambda text: (len(text), text))
    middle = len(by_length) // 2
    first = max(0, middle - _TIMED // 2)
    step = max(1, len(by_length) // _BATCH)
    return {"timed": by_length[first : first + _TIMED], "batch": by_length[::-1][::step][:_BATCH]}


def measure_serving(bundle: Path, texts: Path) -> ServingCost:
    """Open a bundle in a process of its own and measure it there, with one thread.

    Args:
        bundle: its folder.
        texts: file with what :func:`choose_texts` returns.
    Raises:
        HostError: the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        result = Path(scratch) / "serving.json"
        command = [sys.executable, "-W", "ignore", "-m", __name__, str(bundle), str(texts), str(result)]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=_WAIT_SECONDS, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise HostError(f"opening {bundle} and answering {_BATCH} texts took longer than {_WAIT_SECONDS:.0f} s") from None
        if not result.is_file():
            said = " ".join(ended.stderr.decode(errors="replace").split())[-300:]
            raise HostError(f"the process that measured {bundle} ended with exit code {ended.returncode}: {said}")
        found = parse_json(result.read_bytes(), str(result), error=DataError)
        return build(ServingCost, found, where="serving", error=DataError)


def main(bundle: str, texts: str, result: str) -> None:
    """Measure a bundle, and write its :class:`ServingCost`."""
    from paddlenlp_embtune.inference import Predictor

    chosen: Any = parse_json(Path(texts).read_bytes(), texts, error=DataError)
    predictor = Predictor(bundle, num_threads=1)
    latency = _latency_ms(predictor, chosen["timed"])
    predictor.predict(chosen["batch"])
    size = sum(file.stat().st_size for file in Path(bundle).rglob("*") if file.is_file())
    cost = ServingCost(latency_ms=round(latency, 4), size_mb=round(size / 1e6, 3), memory_mb=round(peak_bytes() / 1e6, 1))
    write_text(Path(result), dump_json(to_plain(cost)) + "\n")


def _latency_ms(predictor: Any, texts: Sequence[str]) -> float:
    """Return the median of the processor times of calls with one text, which other work on the machine hardly changes."""
    for text in texts[:_WARM_UP]:
        predictor.predict([text])
    taken: list[float] = []
    least, most = _CALLS
    until = time.perf_counter() + _SECONDS
    while len(taken) < least or (len(taken) < most and time.perf_counter() < until):
        started = time.process_time()
        predictor.predict([texts[len(taken) % len(texts)]])
        taken.append(time.process_time() - started)
    return 1000 * statistics.median(taken)


if __name__ == "__main__":
    main(*sys.argv[1:])
