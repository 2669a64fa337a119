"""Resident memory over 100,000 calls of varied lengths, one text or several, through the finance bundle and ONNX Runtime."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.data import read_examples
from paddlenlp_embtune.inference import Predictor

CALLS, FIRST = 100_000, 1_000
SHOWN = (FIRST, 10_000, 25_000, 50_000, 75_000, CALLS)
_START = """
import resource, time
started = time.perf_counter()
from paddlenlp_embtune import Predictor
from paddlenlp_embtune.builtin import FINANCE
Predictor(FINANCE / "bundle").predict(["公司拟回购股份"])
print(f"{time.perf_counter() - started:.2f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
"""


def resident() -> float:
    """Megabytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Call, and look."""
    begun = subprocess.run([sys.executable, "-c", _START], check=True, capture_output=True, text=True)
    print(f"import, open, first answer: {begun.stdout.strip()}")
    generator = random.Random(0)
    texts = read_examples(FINANCE / "test.tsv", text_column="text", label_column="label").texts
    whole = "。".join(texts)
    predictor = Predictor(FINANCE / "bundle")
    seen = {}
    for call in range(1, CALLS + 1):
        rows = 1 if generator.random() < 0.9 else generator.randint(2, 40)
        batch = []
        for _ in range(rows):
            length = int(generator.lognormvariate(3.2, 0.9)) + 1
            start = generator.randrange(len(whole))
            batch.append(whole[start : start + length])
        predictor.predict(batch, scores=call % 2 == 0)
        if call in SHOWN:
            seen[call] = resident()
            print(f"after {call:>7,} calls: {seen[call]:.1f} MB", flush=True)
    print(f"growth after the first {FIRST:,}: {seen[CALLS] / seen[FIRST] - 1:+.1%}")


if __name__ == "__main__":
    main()
