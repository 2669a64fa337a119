"""Tuning vectors for search, as ``embtune train`` does it, on labels and on pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.models import load_layer
from paddlenlp_embtune.training import run as run_module
from paddlenlp_embtune.training._build import build
from tests.helpers import ROWS, tsv
from tests.toy import Interrupt

PAIRS = [(ROWS[row][0], ROWS[row + 1][0], ROWS[-1 - row][0]) for row in range(0, 12, 2)]
CNN = {"options": {"filters": 16, "ngram_buckets": 64}}


def recipe(retrieval: dict[str, Any] | None = None, **parts: Any) -> embtune.Recipe:
    plain = {
        "data": {"train": "train.tsv"},
        "text": {"max_length": 32, "extra_rows": 0},
        "model": CNN,
        "train": {"epochs": 2, "batch_size": 16},
        "retrieval": retrieval or {},
        "evaluation": {"baseline": None},
        "export": {"engines": []},
    }
    return embtune.Recipe.from_dict({**plain, **parts})


def figures(run: Path) -> dict[str, dict[str, Any]]:
    lines = map(json.loads, (run / "record.jsonl").read_text(encoding="utf-8").splitlines())
    return {event["when"]: event for event in lines if event["event"] == "retrieval"}


def write_pairs(folder: Path, *, scored: bool = False) -> None:
    head = "sentence1\tsentence2\tscore" if scored else "anchor\tpositive\tnegative"
    rows = [(first, second, "1") for first, second, _ in PAIRS] + [(first, other, "0") for first, _, other in PAIRS]
    lines = ["\t".join(row) for row in (rows if scored else PAIRS)]
    (folder / "pairs.tsv").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "part", [{}, {"loss": "ranking", "hard_negatives": 1, "dimensions": [4]}, {"loss": "triplet"}, {"loss": "simcse"}]
)
def test_a_text_cnn_is_tuned_on_labels(work: Path, part: dict[str, Any]) -> None:
    result = run_module.train(recipe(part, train={"epochs": 6, "batch_size": 16}), work / "run")
    found = figures(work / "run")
    assert found["end"]["mrr"] >= found["start"]["mrr"]
    assert result.metrics["n"] > 0
    texts, labels = zip(*ROWS, strict=True)
    answers = embtune.Predictor(result.bundle, engine="paddle").predict(texts)
    assert np.mean([answer["label"] == label for answer, label in zip(answers, labels, strict=True)]) > 0.8
    assert embtune.Recipe.load(work / "run" / "recipe.yaml").retrieval == recipe(part).retrieval


@pytest.mark.parametrize("part", [{"loss": "ranking", "hard_negatives": 2}, {"loss": "triplet"}, {"loss": "cosine"}])
def test_triples_move_the_vectors(work: Path, part: dict[str, Any]) -> None:
    write_pairs(work)
    stated = recipe({**part, "pairs": "pairs.tsv"}, freeze=None)
    result = run_module.train(stated, work / "run")
    assert figures(work / "run")["start"]["alignment"] != figures(work / "run")["end"]["alignment"]
    assert load_layer(result.bundle).features is not None


def test_scored_pairs_take_losses_for_scores_alone(work: Path) -> None:
    write_pairs(work, scored=True)
    run_module.train(recipe({"loss": "cosent", "pairs": "pairs.tsv"}), work / "run")
    with pytest.raises(RecipeError, match=r"retrieval.loss is 'triplet', and .* has pairs with scores"):
        run_module.train(recipe({"loss": "triplet", "pairs": "pairs.tsv"}), work / "other")
    (work / "pairs.tsv").write_text("anchor\tpositive\na\tb\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"'cosent', and all pairs of .* belong together"):
        run_module.train(recipe({"loss": "cosent", "pairs": "pairs.tsv"}), work / "third")


def test_the_embedding_alone(work: Path) -> None:
    result = run_module.train(recipe({"embedding_only": True}), work / "run")
    trained = load_layer(result.bundle).state_dict()
    start = build(run_module.prepare(recipe({"embedding_only": True})), out=work / "other").model.state_dict()
    assert np.array_equal(trained["convolution.weight"].numpy(), start["convolution.weight"].numpy())
    assert not np.array_equal(trained["embedding.weight"].numpy(), start["embedding.weight"].numpy())


def test_the_highest_layers_of_an_encoder(rows: Path) -> None:
    stated = recipe({"layers": 1, "rate": 1e-3}, model={"encoder": "tiny"}, text={"max_length": 32}, train={})
    result = run_module.train(stated, rows / "run")
    assert figures(rows / "run")["end"]["mrr"] >= figures(rows / "run")["start"]["mrr"] - 0.1
    saved = embtune.Recipe.load(result.run_dir / "recipe.yaml")
    assert (saved.train.epochs, saved.train.batch_size) == (2, 32)


@pytest.mark.slow
def test_a_run_that_was_cut_goes_on_with_its_hard_negatives(work: Path) -> None:
    stated = recipe({"loss": "ranking", "hard_negatives": 1}, train={"epochs": 3, "batch_size": 16, "checkpoint_seconds": 0})
    whole = run_module.train(stated, work / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_module.train(stated, work / "cut", callbacks=[Interrupt(6)])
    cut = run_module.train(stated, work / "cut", resume=True)
    assert (cut.bundle / "weights.safetensors").read_bytes() == (whole.bundle / "weights.safetensors").read_bytes()


def test_what_does_not_go_together_is_refused(work: Path) -> None:
    for parts, message in (
        ({"contrastive": {}, "model": {"encoder": "tiny"}}, "retrieval and contrastive"),
        ({"text": {"windows": {}}}, "text.windows"),
        ({"model": {"options": {"head": "cumulative_link"}}}, "linear beside retrieval"),
        ({"regularization": {}}, "retrieval and regularization"),
    ):
        with pytest.raises(RecipeError, match=message):
            recipe(**parts)
    for part, message in (
        ({"loss": "infonce"}, "retrieval.loss"),
        ({"margin": -0.1}, "retrieval.margin must be 0 to 2"),
        ({"dimensions": [64, 32]}, "ascending"),
        ({"loss": "cosent", "hard_negatives": 1}, "takes no negatives"),
        ({"embedding_only": True, "layers": 2}, "retrieval.layers"),
    ):
        with pytest.raises(RecipeError, match=message):
            recipe(part)
    with pytest.raises(RecipeError, match=r"retrieval.dimensions has 16, and the vectors of this model have 16 values"):
        run_module.train(recipe({"dimensions": [4, 16]}), work / "run")
    (work / "train.tsv").write_text(tsv([*ROWS, ("独一无二", "孤")]), encoding="utf-8")
    with pytest.raises(DataError, match="one training row, '孤' first"):
        run_module.train(recipe(data={"train": "train.tsv", "dev": "train.tsv"}), work / "run")
