"""Seconds and peak memory to read files of vectors, against gensim; invented numbers, each reading in a process of its own.

``python -m tests.benchmarks.vectors [rows ...]``
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from paddlenlp_embtune.embeddings.io import write_vectors

ROWS = tuple(map(int, sys.argv[1:])) or (50_000, 200_000)
WIDTH, KEPT, REPEATS = 128, 5_000, 2
_FILES = {"text": "word2vec", "text.gz": "word2vec", "binary": "word2vec-binary", "binary.gz": "word2vec-binary"}

# The peak is that over what importing takes. It is Linux's own of this process, not ru_maxrss, which a child inherits.
_CHILD = """
import json, sys, time
from pathlib import Path
name, path, kind, stride = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def peak():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
if name == "gensim":
    from gensim.models import KeyedVectors
    read = lambda: KeyedVectors.load_word2vec_format(path, binary=kind == "word2vec-binary").vectors
else:
    from paddlenlp_embtune.embeddings.io import ReadOptions, read_vectors
    wanted = {f"w{number}" for number in range(0, 10**7, stride)}
    keep = wanted.__contains__ if stride > 1 else None
    read = lambda: read_vectors(path, ReadOptions(keep=keep)).table
Path("/proc/self/clear_refs").write_text("5")
before, started = peak(), time.perf_counter()
table = read()
print(json.dumps([time.perf_counter() - started, peak() - before, len(table)]))
"""


def measure(name: str, path: Path, kind: str, stride: int) -> tuple[float, float, int]:
    """Return the shortest seconds, the megabytes of the peak, and the rows that were read."""
    answers = []
    for _ in range(REPEATS):
        command = [sys.executable, "-W", "ignore", "-c", _CHILD, name, str(path), kind, str(stride)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        answers.append(json.loads(done.stdout.splitlines()[-1]))
    seconds, memory, rows = min(answers)
    return seconds, memory, rows


def main() -> None:
    """Print a table for people and READMEs."""
    folder = Path(tempfile.mkdtemp())
    print(f"vectors of {WIDTH}, shortest of {REPEATS}; gensim reads whole files always; MB: peak above what importing takes")
    print("| file | rows | MB on disk | read | ours s | gensim s | times faster | ours MB | gensim MB |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    try:
        for rows in ROWS:
            table = np.random.default_rng(0).normal(0, 0.3, (rows, WIDTH)).astype(np.float32)
            tokens = [f"w{number}" for number in range(rows)]
            for label, kind in _FILES.items():
                path = folder / label
                write_vectors(path, tokens, table, format=kind)
                print_rows(label, path, kind, rows)
                path.unlink()
    finally:
        shutil.rmtree(folder)


def print_rows(label: str, path: Path, kind: str, rows: int) -> None:
    """Print whole, and with a vocabulary."""
    seconds, memory, _ = measure("gensim", path, kind, 1)
    for words, stride in (("whole", 1), (f"{KEPT:,} tokens", rows // KEPT)):
        own, used, found = measure("ours", path, kind, stride)
        assert found == (rows if stride == 1 else KEPT)
        figures = f"{own:.2f} | {seconds:.2f} | {seconds / own:.1f} | {used:.0f} | {memory:.0f}"
        print(f"| {label} | {rows:,} | {path.stat().st_size / 1e6:.0f} | {words} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
