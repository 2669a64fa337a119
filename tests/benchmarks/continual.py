"""What a model forgets that learns four tasks one after another, plainly and by each method, over seeds.

The sequence is chnsenticorp, waimai, nlpcc14_sc, weibo2018, all of them positive or negative. Each seed draws so many rows of
every train.tsv; early stopping, shares and temperatures see 400 rows of dev.tsv. ``--on dev``, the default, measures on the
other rows of dev.tsv, for choosing; ``--on test`` on test.tsv too, up to 1,000 rows of each, once everything is chosen.

For each arm: the accuracy of every task at the end, their average, forgetting (Chaudhry et al. 2018), backward transfer, the
accuracy of the last task, and the seconds of processor time of the three steps behind the first task.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune import compat, prepare_cpu

prepare_cpu(threads=1)

from paddlenlp_embtune.config import Recipe  # noqa: E402
from paddlenlp_embtune.data import Examples, read_examples  # noqa: E402
from paddlenlp_embtune.evaluation import TaskSequence, task_sequence  # noqa: E402
from paddlenlp_embtune.inference import Predictor  # noqa: E402
from paddlenlp_embtune.training import train  # noqa: E402
from tests.benchmarks.arms import e5_plugin  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TASKS = ("chnsenticorp", "waimai", "nlpcc14_sc", "weibo2018")
LABELS = ("negative", "positive")
KEPT = {"examples": 1000, "fisher": True}
"""What the bundle of the first task keeps; its weights are the same in all arms."""
ARMS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "l2sp": {"method": "l2sp"},
    "ewc": {"method": "ewc"},
    "lwf": {"method": "lwf"},
    "average": {"method": "average"},
    "replay 1,000": {"method": "replay", "examples": 1000},
    "replay 200": {"method": "replay", "examples": 200},
    "replay 1,000 + lwf": {"method": ["replay", "lwf"], "examples": 1000},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--arms", nargs="*", default=list(ARMS), help="only these; or NAME=JSON for one of your own")
    parser.add_argument("--seeds", type=int, nargs="*", default=(0, 1, 2))
    parser.add_argument("--rows", type=int, default=1000, help="training rows of a task")
    parser.add_argument("--on", choices=("dev", "test"), default="dev")
    parser.add_argument("--encoder", help="tune this encoder, for three epochs, in place of the text CNN")
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sets")
    parser.add_argument("--out", type=Path, help="file that gets the matrices, a line each")
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        print(f"continual: skipped, {chosen.data} is absent")
        return
    compat.quiet_logging()
    with tempfile.TemporaryDirectory() as folder:
        sys.path[:0] = e5_plugin(Path(folder)) if chosen.encoder else []
        found: dict[str, list[tuple[TaskSequence, float]]] = {}
        for seed in chosen.seeds:
            place = Path(folder) / str(seed)
            tasks = [Task(chosen.data / name, place, rows=chosen.rows, on=chosen.on, seed=seed) for name in chosen.tasks]
            for arm in chosen.arms:
                name, _, own = arm.partition("=")
                stated = json.loads(own) if own else ARMS[name]
                sequences, seconds = learn(tasks, stated, place, seed=seed, encoder=chosen.encoder)
                sequence = sequences[chosen.on]
                found.setdefault(arm, []).append((sequence, seconds))
                if chosen.out is not None:
                    line = {"arm": arm, "seed": seed, "rows": chosen.rows, "encoder": chosen.encoder, "seconds": seconds}
                    matrices = {on: each.accuracies for on, each in sequences.items()}
                    with chosen.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({**line, "accuracies": matrices}) + "\n")
                print(f"  seed {seed} {told(arm, [(sequence, seconds)])}", flush=True)
    print(
        f"\n{chosen.encoder or 'text CNN'}, {chosen.rows} rows a task, on {chosen.on}: mean (sd) of {len(chosen.seeds)} seeds"
    )
    for arm, runs in found.items():
        print(told(arm, runs))


class Task:
    """Rows of one set: files to train on and to stop by, and rows to measure on."""

    def __init__(self, folder: Path, place: Path, *, rows: int, on: str, seed: int) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.name = folder.name
        how = {"text_column": "text", "label_column": "label"}
        drawn = sample(read_examples(folder / "train.tsv", **how), rows, seed)
        dev = read_examples(folder / "dev.tsv", **how)
        order = np.random.default_rng(0).permutation(len(dev))
        self.train, self.dev = place / f"{self.name}.train.tsv", place / f"{self.name}.dev.tsv"
        write(self.train, drawn)
        write(self.dev, dev.take(order[:400].tolist(), "dev"))
        self.measured = {"dev": dev.take(order[400:].tolist(), "dev")}
        if on == "test":
            self.measured["test"] = sample(read_examples(folder / "test.tsv", **how), 1000, 0)


def sample(rows: Examples, count: int, seed: int) -> Examples:
    order = np.random.default_rng(seed).permutation(len(rows))[:count]
    return rows.take(order.tolist(), rows.source)


def write(path: Path, rows: Examples) -> None:
    lines = (f"{text}\t{label}" for text, label in zip(rows.texts, rows.labels, strict=True))
    path.write_text("\n".join(["text\tlabel", *lines]) + "\n", encoding="utf-8")


def learn(
    tasks: Sequence[Task], stated: dict[str, Any] | None, place: Path, *, seed: int, encoder: str | None
) -> tuple[dict[str, TaskSequence], float]:
    """Learn the tasks one after another; return the matrices by part of the data, and processor time behind the first task."""
    bundle, spent = place / "first" / "bundle", 0.0
    matrices: dict[str, list[list[float]]] = {on: [] for on in tasks[0].measured}
    for number, task in enumerate(tasks):
        begun = time.process_time()
        if number == 0:
            if not bundle.is_dir():
                train(recipe_of(task, {"continual": KEPT}, seed=seed, encoder=encoder, first=True), place / "first")
        else:
            parts: dict[str, Any] = {"model": {"start": str(bundle)}}
            parts |= {} if stated is None else {"continual": stated}
            out = place / f"step{number}-{time.monotonic_ns()}"
            bundle = train(recipe_of(task, parts, seed=seed, encoder=encoder, first=False), out).bundle
            spent += time.process_time() - begun
        for on, matrix in matrices.items():
            matrix.append(accuracies(bundle, [task.measured[on] for task in tasks]))
    return {on: task_sequence([task.name for task in tasks], matrix) for on, matrix in matrices.items()}, spent


def recipe_of(task: Task, parts: dict[str, Any], *, seed: int, encoder: str | None, first: bool) -> Recipe:
    plain: dict[str, Any] = {
        "data": {"train": str(task.train), "dev": str(task.dev), "labels": list(LABELS)},
        "text": {"max_length": 64 if encoder else 96},
        "train": {"epochs": 10, "checkpoint_seconds": None},
        "vectors": {"versions": False},
        "evaluation": {"baseline": None},
        "export": {"engines": []},
        "health": None,
        "seed": seed,
    }
    if encoder:
        plain["train"] = {"epochs": 3, "batch_size": 16, "precision": "auto", "checkpoint_seconds": None}
        plain |= {"layerwise": {"rate": 2e-4, "decay": 0.9, "head_rate": 2e-3}, "freeze": None}
        plain |= {"model": {"encoder": encoder}} if first else {}
    return Recipe.from_dict({**plain, **parts})


def accuracies(bundle: Path, sets: Sequence[Examples]) -> list[float]:
    predictor, found = Predictor(bundle, engine="paddle"), list[float]()
    for rows in sets:
        answers = predictor.probabilities(rows.texts).argmax(axis=1)
        truth = np.array([predictor.labels.index(label) for label in rows.labels])
        found.append(float((answers == truth).mean()))
    return found


def told(arm: str, runs: Sequence[tuple[TaskSequence, float]]) -> str:
    def spread(values: Sequence[float]) -> str:
        several = f" ({statistics.stdev(100 * value for value in values):.1f})" if len(values) > 1 else ""
        return f"{100 * statistics.mean(values):.1f}{several}"

    figures = {
        "average": [run.average_accuracy for run, _ in runs],
        "forgetting": [run.forgetting or 0.0 for run, _ in runs],
        "backward": [run.backward_transfer or 0.0 for run, _ in runs],
        "last": [run.accuracies[-1][-1] for run, _ in runs],
    }
    ends = " ".join(spread([run.accuracies[-1][place] for run, _ in runs]) for place in range(len(runs[0][0].tasks)))
    shown = "  ".join(f"{name} {spread(values)}" for name, values in figures.items())
    return f"{arm:<22}{shown}  tasks {ends}  {statistics.mean(seconds for _, seconds in runs):.0f} s"


if __name__ == "__main__":
    main()
