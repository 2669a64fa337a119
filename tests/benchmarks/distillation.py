"""A text CNN alone, taught by a teacher on its training rows, and on unlabelled texts too, over seeds; speed of both.

``python -m tests.benchmarks.distillation TEACHER FOLDER [--unlabelled FILE ...]``: a bundle, and a folder with ``train.tsv``,
``dev.tsv`` and ``test.tsv``, which the teacher was trained and watched on. Without arguments, ``EMBTUNE_TEACHER`` names the
bundle, ``EMBTUNE_TEACHER_DATA`` the folder and ``EMBTUNE_TEACHER_TEXTS`` the unlabelled texts, with commas. The teacher is
asked once: its answers are kept for all students. Figures are those of ``test.tsv``, which nobody is trained or watched on.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.data import read_examples
from paddlenlp_embtune.evaluation import classification_report
from paddlenlp_embtune.inference import Predictor

SEEDS = (0, 1, 2)
ROUNDS = 5
SPEED_TEXTS = 1000
THREADS = 2


def main() -> None:
    chosen = _arguments()
    if chosen.teacher is None or chosen.folder is None:
        print("distillation: skipped, no teacher; give TEACHER FOLDER, or set EMBTUNE_TEACHER and EMBTUNE_TEACHER_DATA")
        return
    teacher, data = Path(chosen.teacher), Path(chosen.folder)
    theirs = score(teacher, data)
    print(f"teacher {teacher}: macro F1 {theirs['f1_macro']:.4f}, accuracy {theirs['accuracy']:.4f} on {data.name}/test.tsv")
    print(f"{'student textcnn':<34}{'macro F1, mean (min to max)':>32}{'accuracy':>10}{'kept':>8}{'seconds':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        students = {"alone": ["train"], "taught": ["distill", str(teacher), "--answers", str(folder / "rows.safetensors")]}
        if chosen.unlabelled:
            texts = [word for file in chosen.unlabelled for word in ("--unlabelled", file)]
            kept = str(folder / "texts.safetensors")
            students["taught, with unlabelled texts"] = ["distill", str(teacher), "--answers", kept, *texts]
        for name, command in students.items():
            runs = [train(command, data, folder / "run", seed) for seed in SEEDS]
            scores = [run["f1_macro"] for run in runs]
            shown = f"{statistics.mean(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})"
            accuracy = statistics.mean(run["accuracy"] for run in runs)
            share = statistics.mean(scores) / theirs["f1_macro"]
            seconds = max(run["seconds"] for run in runs)
            print(f"{name:<34}{shown:>32}{accuracy:>10.4f}{share:>8.1%}{seconds:>9.0f}", flush=True)
        speeds(teacher, folder / "run" / "bundle", data)


def train(command: list[str], data: Path, out: Path, seed: int) -> dict[str, float]:
    """Run the command line as a user does; seconds are those of the whole command, the first with the teacher's answers."""
    rows = ("--data", str(data / "train.tsv"), "--dev", str(data / "dev.tsv"), "--seed", str(seed), "--out", str(out))
    started = time.perf_counter()
    full = [sys.executable, "-m", "paddlenlp_embtune", *command, *rows, "--overwrite", "--json"]
    subprocess.run(full, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return {**score(out / "bundle", data), "seconds": seconds}


def score(bundle: Path, data: Path) -> dict[str, float]:
    """Measure a bundle on ``test.tsv``."""
    rows = read_examples(data / "test.tsv", text_column="text", label_column="label")
    with Predictor(bundle, engine=_engine(bundle), num_threads=THREADS) as predictor:
        labels = list(predictor.labels)
        predicted = predictor.probabilities(rows.texts).argmax(axis=1).tolist()
    report = classification_report([labels.index(label) for label in rows.labels], predicted, labels)
    return {"f1_macro": report["f1_macro"], "accuracy": report["accuracy"]}


def speeds(teacher: Path, student: Path, data: Path) -> None:
    """Label the same texts with both, in alternating rounds; the ratio is taken within a round."""
    texts = read_examples(data / "test.tsv", text_column="text", label_column="label").texts[:SPEED_TEXTS]
    found: dict[str, list[float]] = {"teacher": [], "student": []}
    with (
        Predictor(teacher, engine=_engine(teacher), num_threads=THREADS) as slow,
        Predictor(student, engine=_engine(student), num_threads=THREADS) as quick,
    ):
        for warm_up in (True, *[False] * ROUNDS):
            for name, predictor in (("teacher", slow), ("student", quick)):
                started = time.perf_counter()
                predictor.predict(texts)
                if not warm_up:
                    found[name].append(time.perf_counter() - started)
    for name, seconds in found.items():
        print(f"{name}: {len(texts) / min(seconds):,.0f} texts/s, {THREADS} threads")
    ratios = [slow / quick for slow, quick in zip(*found.values(), strict=True)]
    print(
        f"the student is {statistics.median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f} over the rounds)"
    )


def _engine(bundle: Path) -> str:
    engines = Bundle.open(bundle).manifest.engines
    return "onnxruntime" if "onnxruntime" in engines else next(iter(engines))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", nargs="?", default=os.environ.get("EMBTUNE_TEACHER"))
    parser.add_argument("folder", nargs="?", default=os.environ.get("EMBTUNE_TEACHER_DATA"))
    texts = os.environ.get("EMBTUNE_TEACHER_TEXTS")
    parser.add_argument("--unlabelled", action="extend", nargs="+", default=texts.split(",") if texts else [])
    return parser.parse_args()


if __name__ == "__main__":
    main()
