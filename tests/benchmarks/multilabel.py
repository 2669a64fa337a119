"""Several labels a text: the text CNN with both losses against TF-IDF and one logistic regression a label, over seeds.

- ``legal``: legal_charge4's rows with one charge, in their splits, and its multilabel_rows.tsv, of which each seed learns
  from another 60%, chooses on 15% and is measured on the rest; texts that occur twice are left out.
- ``titles``: two titles of thucnews_titles10 joined to one text with the labels of both: 3,000 of train.tsv, as many of
  dev.tsv as it gives, and 2,000 of test.tsv, another draw for each seed.

Weights, shares and thresholds are chosen on development rows, that of the baseline out of fold on training rows. The test rows
are measured once for each seed. ``--sets titles --seeds 0`` runs a part.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune import prepare_cpu

prepare_cpu(threads=1)

from paddlenlp_embtune.config import Recipe  # noqa: E402
from paddlenlp_embtune.data import text_key  # noqa: E402
from paddlenlp_embtune.evaluation import several_labels_report  # noqa: E402
from paddlenlp_embtune.evaluation.baselines._several import OneVsRestBaseline, fit_several  # noqa: E402
from paddlenlp_embtune.inference import MULTI, Predictor  # noqa: E402
from paddlenlp_embtune.training import train  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SEPARATOR = "|"
LOSSES = ("binary_cross_entropy", "asymmetric")
METRICS = ("f1_micro", "f1_macro", "f1_samples", "accuracy", "ranking")
LENGTHS = {"legal": 512, "titles": 64}

Rows = list[tuple[str, tuple[str, ...]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="*", default=["legal", "titles"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    chosen = parser.parse_args()
    for name in chosen.sets:
        build = {"legal": legal, "titles": titles}[name]
        found: dict[str, list[dict[str, float]]] = {}
        for seed in chosen.seeds:
            for arm, figures in measure(build(chosen.data, seed), name, seed).items():
                found.setdefault(arm, []).append(figures)
                print(name, seed, arm, " ".join(f"{key} {figures[key]:.4f}" for key in (*METRICS, "seconds")), flush=True)
        print(f"\n{name}: mean (lowest to highest) over seeds {chosen.seeds}\n| arm | {' | '.join(METRICS)} |")
        for arm, runs in found.items():
            print(f"| {arm} | {' | '.join(spread([run[key] for run in runs]) for key in METRICS)} |", flush=True)


def measure(splits: dict[str, Rows], name: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of every arm on the test rows."""
    labels = sorted({label for own in splits.values() for _, each in own for label in each})
    texts = {split: [text for text, _ in rows] for split, rows in splits.items()}
    truth = {split: MULTI.encode([own for _, own in rows], labels) for split, rows in splits.items()}
    found: dict[str, dict[str, float]] = {}

    def add(arm: str, scores: np.ndarray[Any, Any], given: np.ndarray[Any, Any], began: float) -> None:
        report = several_labels_report(truth["test"], given, labels, scores)
        found[arm] = {**{key: report[key] for key in METRICS}, "seconds": time.perf_counter() - began}

    began = time.perf_counter()
    _, limit, _ = fit_several(texts["train"], truth["train"], texts["dev"], seed=seed)
    scores = OneVsRestBaseline().fit(texts["train"], truth["train"]).scores(texts["test"])
    add("tfidf, threshold 0.5", scores, (scores >= 0.5).astype(np.int64), began)
    add("tfidf, threshold out of fold", scores, (scores >= limit).astype(np.int64), began)
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        folder = Path(scratch)
        for split in ("train", "dev"):
            lines = ["text\tlabel", *(f"{text}\t{SEPARATOR.join(own)}" for text, own in splits[split])]
            (folder / f"{split}.tsv").write_text("\n".join(lines), encoding="utf-8")
        for loss in LOSSES:
            began = time.perf_counter()
            recipe = Recipe.from_dict(
                {
                    "seed": seed,
                    "data": {
                        "train": str(folder / "train.tsv"),
                        "dev": str(folder / "dev.tsv"),
                        "label_separator": SEPARATOR,
                    },
                    "text": {"max_length": LENGTHS[name]},
                    "train": {"loss": loss, "checkpoint_seconds": None},
                    "early_stopping": {"metric": "f1_micro"},
                    "evaluation": {"baseline": None},
                    "export": {"engines": ["onnxruntime"]},
                    "health": None,
                }
            )
            result = train(recipe, folder / loss)
            predictor = Predictor(result.bundle, num_threads=1)
            scores = predictor.probabilities(texts["test"])
            add(f"textcnn, {loss}", scores, predictor.kind.decide(scores, predictor.thresholds), began)
    return found


def legal(data: Path, seed: int) -> dict[str, Rows]:
    """Return the rows of legal_charge4 in three splits."""
    folder = data / "legal_charge4"
    splits = {split: read(folder / f"{split}.tsv") for split in ("train", "dev", "test")}
    known = {text_key(text) for rows in splits.values() for text, _ in rows}
    several = {text_key(text): (text, own) for text, own in read(folder / "multilabel_rows.tsv")}
    rows = [row for key, row in sorted(several.items()) if key not in known]
    random.Random(seed).shuffle(rows)
    first, last = round(0.6 * len(rows)), round(0.75 * len(rows))
    parts = {"train": rows[:first], "dev": rows[first:last], "test": rows[last:]}
    return {split: [*own, *parts[split]] for split, own in splits.items()}


def titles(data: Path, seed: int) -> dict[str, Rows]:
    """Return joined titles in three splits."""
    found = {}
    for split, count in (("train", 3000), ("dev", 500), ("test", 2000)):
        rows = read(data / "thucnews_titles10" / f"{split}.tsv")
        drawn = random.Random(seed).sample(rows, min(2 * count, len(rows) - len(rows) % 2))
        pairs = zip(drawn[::2], drawn[1::2], strict=True)
        found[split] = [(f"{one}，{two}", tuple(dict.fromkeys((*a, *b)))) for (one, a), (two, b) in pairs]
    return found


def read(path: Path) -> Rows:
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
    cells = [line.split("\t") for line in lines]
    return [(text, tuple(label.split(SEPARATOR))) for text, label in cells]


def spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
