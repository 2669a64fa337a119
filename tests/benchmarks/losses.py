"""What losses, heads and weights of classes gain or cost on imbalanced and on ordered data, over seeds.

Everything is measured on rows that neither training nor early stopping has seen, and no test.tsv is read:

- ``fin_news_pn`` (two classes): 1,000 rows of train.tsv of which a tenth is negative, the rest of them as they fall; early
  stopping on a tenth that is held out; measured on dev.tsv, 22% negative.
- ``kuake_qic`` (eleven classes, the rarest with 5% of the commonest's rows): 1,500 rows of train.tsv, measured on dev.tsv.
- ``asap_star5_sample`` (five stars): train.tsv and dev.tsv together are 200 rows; each seed trains on another half of them,
  and is measured on the rest.
- ``finance`` (five levels): the invented sentences in the package, trained on train.tsv, measured on dev.tsv.

``--encoder e5-small-zh`` tunes an encoder instead, on 200 rows and 300 that are measured: a minute for each run.

Per seed: macro-F1 and accuracy; for ordered labels also the mean absolute error in stars and the quadratic weighted kappa.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, recall_score
from sklearn.model_selection import StratifiedShuffleSplit

from paddlenlp_embtune import compat, prepare_cpu

prepare_cpu(threads=1)

from paddlenlp_embtune.builtin import FINANCE  # noqa: E402
from paddlenlp_embtune.config import Recipe  # noqa: E402
from paddlenlp_embtune.data import Examples, ReadOptions, read_examples  # noqa: E402
from paddlenlp_embtune.inference import Predictor  # noqa: E402
from paddlenlp_embtune.training import train  # noqa: E402
from tests.benchmarks.arms import e5_plugin  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SEEDS = (0, 1, 2)
ARMS: dict[str, dict[str, Any]] = {
    "default": {},
    "class_balance 0": {"train": {"class_balance": 0.0}},
    "class_balance 1": {"train": {"class_balance": 1.0}},
    "effective_numbers 0.99": {"train": {"effective_numbers": 0.99}},
    "effective_numbers 0.999": {"train": {"effective_numbers": 0.999}},
    "focal, gamma 1": {"train": {"loss": "focal", "loss_options": {"gamma": 1.0}}},
    "focal, gamma 2": {"train": {"loss": "focal"}},
    "label_smoothing 0.1": {"regularization": {"label_smoothing": 0.1}},
}
ORDERED: dict[str, dict[str, Any]] = {
    "squared_emd": {"train": {"loss": "squared_emd"}},
    "squared_emd, cross_entropy 0.3": {"train": {"loss": "squared_emd", "loss_options": {"cross_entropy": 0.3}}},
    "cumulative_link": {"model": {"options": {"head": "cumulative_link"}}},
    "cumulative_link and squared_emd": {
        "model": {"options": {"head": "cumulative_link"}},
        "train": {"loss": "squared_emd", "loss_options": {"cross_entropy": 0.3}},
    },
}


@dataclasses.dataclass(frozen=True)
class Task:
    """Rows to train on and rows to measure on."""

    train: Examples
    measured: Examples
    labels: tuple[str, ...]
    ordered: bool = False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=list(TASKS))
    parser.add_argument("--network-alone", action="store_true", help="leave the n-gram regression out of the text CNN")
    parser.add_argument("--encoder", help="tune this encoder on 200 rows for four epochs, in place of the text CNN")
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--arms", nargs="*", help="only these")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    chosen = parser.parse_args()
    if not (chosen.data or DATA).is_dir():
        print(f"losses: skipped, {chosen.data or DATA} is absent")
        return
    compat.quiet_logging()
    with tempfile.TemporaryDirectory() as folder:
        sys.path[:0] = e5_plugin(Path(folder)) if chosen.encoder else []
        compare(chosen)


def compare(chosen: argparse.Namespace) -> None:
    for name in chosen.sets:
        tasks = {seed: TASKS[name](seed, chosen.data or DATA) for seed in chosen.seeds}
        if chosen.encoder:
            tasks = {seed: few(task, seed) for seed, task in tasks.items()}
        ordered = next(iter(tasks.values())).ordered
        print(f"\n{name}{', without n-grams' if chosen.network_alone else ''}: mean (lowest to highest) of {len(tasks)} seeds")
        for arm, stated in {**ARMS, **(ORDERED if ordered else {})}.items():
            if chosen.arms and arm not in chosen.arms:
                continue
            parts = without_ngrams(stated) if chosen.network_alone else stated
            parts = on_encoder(parts, chosen.encoder) if chosen.encoder else parts
            found = [measure(tasks[seed], parts, seed) for seed in tasks]
            shown = "  ".join(f"{key} {spread([each[key] for each in found])}" for key in found[0])
            print(f"{arm:<34}{shown}", flush=True)


def without_ngrams(parts: dict[str, Any]) -> dict[str, Any]:
    return {**parts, "model": {"options": {**parts.get("model", {}).get("options", {}), "ngram_buckets": 0}}}


def on_encoder(parts: dict[str, Any], encoder: str) -> dict[str, Any]:
    """An arm on an encoder, at the rates by group of the benchmark of arms on few rows."""
    recipe = {"text": {"max_length": 64}, "early_stopping": None, "layerwise": {"rate": 2e-4, "decay": 0.9, "head_rate": 2e-3}}
    train_parts = {"epochs": 4, "batch_size": 16, "precision": "auto", **parts.get("train", {})}
    return {**recipe, **parts, "train": train_parts, "model": {"encoder": encoder, **parts.get("model", {})}}


def few(task: Task, seed: int) -> Task:
    """A task with 200 of its training rows and 300 of those that are measured, where it has as many."""
    kept, measured = (
        np.sort(np.random.default_rng(seed).permutation(len(rows))[:count]).tolist()
        for rows, count in ((task.train, 200), (task.measured, 300))
    )
    return dataclasses.replace(task, train=task.train.take(kept, "train"), measured=task.measured.take(measured, "measured"))


def spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def measure(task: Task, parts: dict[str, Any], seed: int) -> dict[str, float]:
    number = {label: index for index, label in enumerate(task.labels)}
    truth = [number[label] for label in task.measured.labels]
    predicted = [number[label] for label in answers(task, parts, seed)]
    found = {"F1": f1_score(truth, predicted, average="macro"), "accuracy": accuracy_score(truth, predicted)}
    if task.ordered:
        error = float(np.abs(np.subtract(truth, predicted)).mean())
        return {**found, "MAE": error, "kappa": cohen_kappa_score(truth, predicted, weights="quadratic")}
    rarest = int(np.bincount(truth).argmin())
    return {**found, "rarest recalled": recall_score(truth, predicted, labels=[rarest], average="macro", zero_division=0.0)}


def answers(task: Task, parts: dict[str, Any], seed: int) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = {"train": write(task.train, folder / "train.tsv"), "labels": list(task.labels), "ordered": task.ordered}
        plain = {"data": data, "seed": seed, "health": None, "vectors": {"versions": False}, "export": {"engines": []}, **parts}
        bundle = train(Recipe.from_dict(plain), folder / "run").bundle
        with Predictor(bundle, engine="paddle") as predictor:
            return [answer["label"] for answer in predictor.predict(task.measured.texts)]


def one_line(text: str) -> str:
    return " ".join(text.split())


def write(rows: Examples, path: Path) -> str:
    lines = ["text\tlabel", *(f"{one_line(text)}\t{label}" for text, label in zip(rows.texts, rows.labels, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def rows_of(data: Path, name: str, file: str) -> Examples:
    return read_examples(data / name / file, text_column="text", label_column="label", options=ReadOptions(quoting="none"))


def fin_news(seed: int, data: Path) -> Task:
    rows, generator = rows_of(data, "fin_news_pn", "train.tsv"), np.random.default_rng(seed)
    labels = np.array(rows.labels)
    parts = [
        generator.choice(np.flatnonzero(labels == label), count, replace=False)
        for label, count in (("negative", 100), ("positive", 900))
    ]
    taken = np.sort(np.concatenate(parts)).tolist()
    return Task(rows.take(taken, "train"), rows_of(data, "fin_news_pn", "dev.tsv"), ("negative", "positive"))


def kuake(seed: int, data: Path) -> Task:
    rows = rows_of(data, "kuake_qic", "train.tsv")
    taken = np.sort(np.random.default_rng(seed).permutation(len(rows))[:1500]).tolist()
    return Task(rows.take(taken, "train"), rows_of(data, "kuake_qic", "dev.tsv"), tuple(sorted(set(rows.labels))))


def asap(seed: int, data: Path) -> Task:
    parts = [rows_of(data, "asap_star5_sample", file) for file in ("train.tsv", "dev.tsv")]
    rows = Examples(parts[0].texts + parts[1].texts, parts[0].labels + parts[1].labels, "asap")
    halves = StratifiedShuffleSplit(1, test_size=0.5, random_state=seed)
    kept, measured = next(halves.split(rows.texts, rows.labels))
    return Task(rows.take(kept, "train"), rows.take(measured, "measured"), tuple("12345"), ordered=True)


def finance(_: int, __: Path) -> Task:
    parts = [read_examples(FINANCE / file, text_column="text", label_column="label") for file in ("train.tsv", "dev.tsv")]
    levels = ("强烈利空", "轻微利空", "中性", "轻微利好", "强烈利好")
    return Task(parts[0], parts[1], levels, ordered=True)


TASKS = {"finance": finance, "fin_news_pn": fin_news, "kuake_qic": kuake, "asap_star5_sample": asap}

if __name__ == "__main__":
    main()
