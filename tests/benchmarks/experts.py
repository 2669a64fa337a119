"""Regressions on a frozen encoder and on characters, alone and averaged, against the baselines, on test rows.

What ``model: {encoder: e5-small-zh, experts: [vectors, ngrams]}`` fits, without its bundle. Seeds change the folds alone, so
the vectors of a set are computed once, and kept in ``--cache``. Nothing is chosen on test rows; intervals are those of the
difference in accuracy to TF-IDF with a logistic regression, over test rows drawn again.

    python -m tests.benchmarks experts -- --sets eprstmt_fewshot,fin_news_pn --seeds 3 --cache runs/vectors
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SETS = ("eprstmt_fewshot", "fin_news_pn", "kuake_qic", "waimai", "legal_charge4", "nlpcc14_sc", "thucnews_titles10")
DRAWS = 2000
sys.path.insert(0, str(ROOT / "plugins" / "embtune_e5"))

Rows = tuple[list[str], list[str]]
Floats = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks experts --")
    parser.add_argument("--data", default=str(DATA), help="folder of the sets")
    parser.add_argument("--sets", default=",".join(SETS), help="sets, separated by commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", default="runs/vectors", help="folder of vectors")
    stated = parser.parse_args()
    if not Path(stated.data).is_dir():
        print(f"experts: skipped, {stated.data} is absent")
        return
    encoder = Encoder(Path(stated.cache))
    print("| data | rows | | accuracy | macro-F1 | difference in points |\n| --- | --- | --- | --- | --- | --- |")
    for name in stated.sets.split(","):
        train, test = (read(Path(stated.data) / name / f"{split}.tsv") for split in ("train", "test"))
        answers = {arm: [fit(train, test[0])] for arm, fit in BASELINES.items()}
        for seed in range(stated.seeds):
            for arm, found in encoder.experts(name, train, test[0], seed).items():
                answers.setdefault(arm, []).append(found)
        print_set(name, train, test, answers)


def read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def baseline(name: str) -> Callable[[Rows, Sequence[str]], list[str]]:
    def fit(train: Rows, texts: Sequence[str]) -> list[str]:
        from paddlenlp_embtune.evaluation.baselines import build_baseline, predict_labels

        return predict_labels(build_baseline(name, *train, seed=0).fit(*train), texts)

    return fit


BASELINES = {name: baseline(name) for name in ("tfidf", "tfidf-svm")}


class Encoder:
    """e5-small-zh with its three highest layers, and the vectors that it gave."""

    def __init__(self, cache: Path) -> None:
        from embtune_e5.encoders import small_zh

        from paddlenlp_embtune.models import piece_characters, prefix_ids

        self._cache, self._pretrained = cache, small_zh()
        self._tokenizer = self._pretrained.tokenizer
        self._prefix = prefix_ids(self._pretrained, self._tokenizer)
        self._table = piece_characters(self._tokenizer.vocabulary.tokens)
        highest = int(self._pretrained.settings["num_hidden_layers"])
        self._layers = (highest - 2, highest - 1, highest)

    def experts(self, name: str, train: Rows, texts: Sequence[str], seed: int) -> dict[str, list[str]]:
        """Fit both regressions and their shares, and answer texts by each and by both."""
        from paddlenlp_embtune.models import characters_of, ngram_logits
        from paddlenlp_embtune.training._criterion import class_weights
        from paddlenlp_embtune.training._linear_experts import Rows as Labelled, fit_linear_experts

        labels = sorted(set(train[1]))
        numbers = np.array([labels.index(label) for label in train[1]])
        rows = Labelled(
            labels=numbers,
            texts=np.arange(len(numbers)),
            weights=np.ones(len(numbers), np.float32),
            class_weights=class_weights(numbers.tolist(), len(labels), balance=0.5),
        )
        ids, asked = self._ids(train[0]), self._ids(texts)
        known, vectors = self._vectors(f"{name}-train", ids), self._vectors(f"{name}-test", asked)
        characters = characters_of(ids, self._table)
        fitted = fit_linear_experts(rows, vectors=known, layers=self._layers, characters=characters, seed=seed)
        assert fitted.vectors is not None
        assert fitted.ngrams is not None
        read = vectors[:, [self._layers.index(layer) for layer in fitted.layers]].mean(axis=1)
        logits: dict[str, npt.NDArray[Any]] = {
            "vectors": read @ fitted.vectors[0] + fitted.vectors[1],
            "ngrams": ngram_logits(characters_of(asked, self._table), *fitted.ngrams),
        }
        logits["frozen-ngrams"] = logits["vectors"] * fitted.weights["vectors"] + logits["ngrams"] * fitted.weights["ngrams"]
        return {arm: [labels[index] for index in found.argmax(axis=1)] for arm, found in logits.items()}

    def _ids(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        from paddlenlp_embtune.text import tokenize_texts

        return tokenize_texts(texts, self._tokenizer, max_length=256, windows=None).ids

    def _vectors(self, name: str, ids: Sequence[Sequence[int]]) -> Floats:
        from paddlenlp_embtune.models import sentence_vectors_of
        from paddlenlp_embtune.training._vector_engine import layer_vectors

        file = self._cache / f"{name}.npy"
        if not file.is_file():
            source = sentence_vectors_of(self._pretrained, self._pretrained.table, layers=self._layers, prefix=self._prefix)
            self._cache.mkdir(parents=True, exist_ok=True)
            np.save(file, layer_vectors(source, ids)[0])
        found: Floats = np.load(file).astype(np.float32)
        return found


def print_set(name: str, train: Rows, test: Rows, answers: dict[str, list[list[str]]]) -> None:
    from sklearn.metrics import f1_score

    truth = np.array(test[1])
    hits = {arm: np.mean([np.array(found) == truth for found in each], axis=0) for arm, each in answers.items()}
    draws = np.random.default_rng(0).integers(0, len(truth), (DRAWS, len(truth)))
    for number, (arm, each) in enumerate(answers.items()):
        f1 = np.mean([f1_score(truth, found, average="macro") for found in each])
        gains = 100 * (hits[arm] - hits["tfidf"])
        low, high = np.quantile(gains[draws].mean(axis=1), [0.025, 0.975])
        difference = "" if arm == "tfidf" else f"{gains.mean():+.1f} ({low:+.1f} to {high:+.1f})"
        head = f"{name} | {len(train[0]):,}" if number == 0 else " | "
        print(f"| {head} | {arm} | {hits[arm].mean():.3f} | {f1:.3f} | {difference} |", flush=True)


if __name__ == "__main__":
    main()
