"""``embtune search`` on finfe: 20 trials of the text CNN, and whether the best recipe is better than the default.

Trials learn from train.tsv and are compared on a tenth of it that is held out; dev.tsv, the only other labelled rows there are,
decides at the end, with three seeds of each recipe. About 20 minutes on two quiet cores.
"""

from __future__ import annotations

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
TRIALS, SEEDS = "20", "3"


def main() -> None:
    if not DATA.is_dir():
        print(f"search: skipped, {DATA} is absent")
        return
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.yaml"
        space.write_text(json.dumps(SPACE), encoding="utf-8")
        rows = ["--data", str(DATA / "train.tsv"), "--dev", str(DATA / "dev.tsv")]
        budget = ["--trials", TRIALS, "--seeds", SEEDS, "--processes", "2"]
        command = [sys.executable, "-W", "ignore", "-m", "paddlenlp_embtune", "search", "--space", str(space), *rows, *budget]
        subprocess.run([*command, "--out", f"{folder}/search"], check=True)


if __name__ == "__main__":
    main()
