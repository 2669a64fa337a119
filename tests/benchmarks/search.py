"""``embtune search`` on finfe: 20 trials of the text CNN, and whether the best recipe is better than the default.

Trials learn from train.tsv and are compared on a tenth of it that is held out; dev.tsv, the only other labelled rows there are,
decides at the end, with three seeds of each recipe. About 20 minutes on two quiet cores.

    python -m tests.benchmarks search -- --trials 2 --seeds 1 --processes 1
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "finfe"
SPACE = {
    "train.batch_size": [32, 64, 128],
    "train.class_balance": {"low": 0.0, "high": 1.0},
    "train.loss": ["cross_entropy", "focal"],
    "model.options.filters": {"low": 128, "high": 768, "log": True},
    "model.options.window": [2, 3, 4, 5],
    "model.options.dropout": {"low": 0.2, "high": 0.7},
    "model.options.token_dropout": {"low": 0.0, "high": 0.3},
    "schedule.kind": ["linear", "cosine"],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks search --")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the set")
    parser.add_argument("--trials", default="20")
    parser.add_argument("--seeds", default="3")
    parser.add_argument("--processes", default="2")
    stated = parser.parse_args()
    if not stated.data.is_dir():
        print(f"search: skipped, {stated.data} is absent")
        return
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.yaml"
        space.write_text(json.dumps(SPACE), encoding="utf-8")
        rows = ["--data", str(stated.data / "train.tsv"), "--dev", str(stated.data / "dev.tsv")]
        budget = ["--trials", stated.trials, "--seeds", stated.seeds, "--processes", stated.processes]
        command = [sys.executable, "-W", "ignore", "-m", "paddlenlp_embtune", "search", "--space", str(space), *rows, *budget]
        subprocess.run([*command, "--out", f"{folder}/search"], check=True)


if __name__ == "__main__":
    main()
