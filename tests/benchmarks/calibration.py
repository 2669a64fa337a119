"""Calibration before and after, on test rows of real data sets: temperature and thresholds are fitted on dev rows alone.

The text CNN is trained as ``embtune train`` does it; the encoder as a PaddleNLP user might, too long, and then adopted.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from paddlenlp_embtune import Predictor, Recipe, train
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.data import Examples, read_examples
from paddlenlp_embtune.evaluation.calibration import calibration_error, negative_log_likelihood
from paddlenlp_embtune.export import calibrate
from paddlenlp_embtune.export.from_checkpoint import bundle_checkpoint
from tests.benchmarks.encoders import train_checkpoint

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = ("fin_news_pn", "chnsenticorp")
WANTED = 0.95
STEPS = 1200


def main() -> None:
    """Train both models on each set, and show what calibration does on its test rows."""
    if not DATA.is_dir():
        print(f"calibration: skipped, {DATA} is absent")
        return
    print(
        f"{'set':<14}{'model':<10}{'accuracy':>9}{'temperature':>13}{'ECE before':>12}{'after':>8}{'NLL before':>12}"
        f"{'after':>8}{'answered at 95%':>17}{'right':>8}"
    )
    for name in SETS:
        rows = {part: _rows(name, part) for part in ("train", "dev", "test")}
        with tempfile.TemporaryDirectory() as scratch:
            bundles = {"textcnn": _textcnn(name, Path(scratch)), "encoder": _encoder(rows["train"], Path(scratch))}
            for model, bundle in bundles.items():
                fitted = calibrate(bundle, rows["dev"].texts, rows["dev"].labels, target_precision=WANTED)
                report(name, model, fitted, rows["test"])


def report(name: str, model: str, bundle: Bundle, test: Examples) -> None:
    """Print one row of the table."""
    truth = np.array([bundle.manifest.labels.index(label) for label in test.labels])
    predictor = Predictor(bundle)
    at = predictor.scaled_probabilities(test.texts)
    before, after = at(1.0), at(bundle.manifest.temperature)
    right = after.argmax(axis=1) == truth
    answered = np.array([not answer["abstained"] for answer in predictor.predict(test.texts)])
    errors = "".join(f"{calibration_error(table, truth):>{width}.4f}" for table, width in ((before, 12), (after, 8)))
    losses = "".join(f"{negative_log_likelihood(table, truth):>{width}.4f}" for table, width in ((before, 12), (after, 8)))
    print(
        f"{name:<14}{model:<10}{right.mean():>9.4f}{bundle.manifest.temperature:>13.3f}{errors}{losses}"
        f"{answered.mean():>17.1%}{right[answered].mean() if answered.any() else 0:>8.1%}",
        flush=True,
    )


def _rows(name: str, part: str) -> Examples:
    return read_examples(DATA / name / f"{part}.tsv", text_column="text", label_column="label")


def _textcnn(name: str, scratch: Path) -> Bundle:
    paths = {part: str(DATA / name / f"{part}.tsv") for part in ("train", "dev")}
    recipe = Recipe.from_dict({"data": paths, "health": None, "export": {"engines": ["onnxruntime"], "calibrate": False}})
    return Bundle.open(train(recipe, scratch / "run").bundle)


def _encoder(rows: Examples, scratch: Path) -> Bundle:
    train_checkpoint(scratch / "checkpoint", rows.texts, rows.labels, layers=2, width=128, steps=STEPS)
    return bundle_checkpoint(scratch / "checkpoint", scratch / "bundle", max_length=128)


if __name__ == "__main__":
    main()
