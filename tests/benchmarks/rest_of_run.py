"""A default run of ``embtune train`` from the command line to its last line: what is not training.

Each run is a process of its own. Wall time by stage comes from its record; what is left of the whole is the start: Python,
Paddle, the Trainer. The seconds of processors, of the run and of what it starts, mean something on a loaded machine too.
``--against FOLDER`` alternates with another tree of the package, for a comparison in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", default="finfe", help="a folder with train.tsv and dev.tsv, or its name among the shared data"
    )
    parser.add_argument("--epochs", type=int, help="by default those of a default run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another tree of the package")
    options = parser.parse_args()
    data = DATA / options.data
    if not (data / "train.tsv").is_file():
        print(f"skipped, {data} is absent")
        return
    trees = [ROOT] + ([options.against.resolve()] if options.against else [])
    found: dict[Path, list[Figures]] = {tree: [] for tree in trees}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for tree in trees:
                stated = ["--epochs", str(options.epochs)] if options.epochs else []
                environment = {**os.environ, "PYTHONPATH": str(tree)}
                found[tree].append(one_run(data, Path(folder) / f"{number}-{trees.index(tree)}", stated, environment))
    for tree, runs in found.items():
        print(f"{tree}, median of {len(runs)}")
        for name in runs[0]:
            values = [run[name] for run in runs]
            print(f"  {name:<16}{statistics.median(values):8.2f}  ({min(values):.2f} to {max(values):.2f})")


def one_run(data: Path, out: Path, options: Sequence[str], environment: Mapping[str, str]) -> Figures:
    """Train once; return seconds by stage, the whole, and the seconds of all processors."""
    command = [sys.executable, "-m", "paddlenlp_embtune", "train", "--out", str(out), *options]
    command += ["--data", str(data / "train.tsv"), "--dev", str(data / "dev.tsv")]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=out.parent, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    whole, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    events = [json.loads(line) for line in (out / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    stages: Figures = next((event["seconds"] for event in events if event["event"] == "stages"), {})
    if not stages:  # an older tree
        stages = {"train": next(event["seconds"] for event in events if event["event"] == "trained")}
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "start": whole - sum(stages.values()),
        **stages,
        "whole": whole,
        "all but train": whole - stages["train"],
        "processors": used,
    }


if __name__ == "__main__":
    main()
