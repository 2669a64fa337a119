"""What augmentation gains or costs with few rows: macro-F1 on development rows that nothing was chosen on, over seeds.

A fifth of the training rows is held out to stop on; ``dev.tsv`` is the test. Of the headlines, each seed draws 300 rows.
``longer`` adds no rows and takes as many steps as ``eda``, whose rows are five times as many. Synonyms are Cilin's.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from paddlenlp_embtune import Predictor, Recipe, prepare_cpu, train
from paddlenlp_embtune.data import read_examples
from paddlenlp_embtune.evaluation import monitored_metrics

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = {"fin_news_pn": 300, "asap_star5_sample": None, "eprstmt_fewshot": None}
SEEDS = (0, 1, 2)
EDA = {"synonyms": 0.1, "insertion": 0.1, "swap": 0.1, "deletion": 0.1}
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "longer": {"train": {"epochs": 200}},
    "eda": {"augmentation": EDA},
    "synonyms": {"augmentation": {"synonyms": 0.1, "copies": 4}},
    "swap": {"augmentation": {"swap": 0.1, "copies": 4}},
    "deletion": {"augmentation": {"deletion": 0.1, "copies": 4}},
    "characters": {"augmentation": {"homophones": 0.05, "lookalikes": 0.05, "copies": 2}},
    "mixup": {"regularization": {"mixup": {"alpha": 0.2}}},
}


def main() -> None:
    if not DATA.is_dir():
        print(f"augmentation: skipped, {DATA} is absent")
        return
    prepare_cpu()
    with tempfile.TemporaryDirectory() as folder:
        lexicon = write_lexicon(Path(folder))
        for name, rows in SETS.items():
            scores: dict[str, list[float]] = {arm: [] for arm in ARMS}
            for seed in SEEDS:
                data = write_rows(Path(folder), name, rows, seed)
                for arm, changes in ARMS.items():
                    scores[arm].append(score(data, DATA / name / "dev.tsv", Path(folder) / "run", seed, changes, lexicon))
                    print(f"  {name} {arm} seed {seed}: {scores[arm][-1]:.4f}", flush=True)
            for arm, found in scores.items():
                gains = [one - other for one, other in zip(found, scores["plain"], strict=True)]
                shown = f"{statistics.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})"
                print(f"{name:<20}{arm:<12}{shown:<28}{statistics.mean(gains):+.3f} {[f'{gain:+.3f}' for gain in gains]}")


def write_lexicon(folder: Path) -> str:
    """Write the synonyms of Cilin, a group a line."""
    lines = (DATA / "lexicons" / "cilin_extended.tsv").read_text(encoding="utf-8").splitlines()
    groups = [line.split("\t")[2] for line in lines if line.split("\t")[1] == "synonym"]
    (folder / "synonyms.txt").write_text("\n".join(groups) + "\n", encoding="utf-8")
    return str(folder / "synonyms.txt")


def write_rows(folder: Path, name: str, rows: int | None, seed: int) -> Path:
    """Write the training rows of a set, or as many of them as are wanted."""
    header, *lines = (DATA / name / "train.tsv").read_text(encoding="utf-8").splitlines()
    if rows is not None:
        lines = random.Random(seed).sample(lines, rows)
    path = folder / f"{name}.tsv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def score(data: Path, test: Path, out: Path, seed: int, changes: dict[str, Any], lexicon: str) -> float:
    """Train one arm and measure its bundle."""
    plain: dict[str, Any] = {
        "seed": seed,
        "data": {"train": str(data), "dev_ratio": 0.2},
        "health": None,
        "evaluation": {"baseline": None},
        "export": {"engines": ["onnxruntime"], "calibrate": False},
        **changes,
    }
    if "augmentation" in changes:
        plain["augmentation"] = {**changes["augmentation"], "lexicon": lexicon}
    result = train(Recipe.from_dict(plain), out, overwrite=True)
    truth = read_examples(test, text_column="text", label_column="label")
    with Predictor(result.bundle) as predictor:
        answers = predictor.scaled_probabilities(truth.texts)(1.0).argmax(axis=1).tolist()
        labels = list(predictor.labels)
    return float(monitored_metrics([labels.index(label) for label in truth.labels], answers, labels)["f1_macro"])


if __name__ == "__main__":
    main()
