"""Weights of rows, classes and losses in a run: what they do, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import hookimpl
from paddlenlp_embtune.config import DistillSpec
from paddlenlp_embtune.config.recipe import Recipe
from paddlenlp_embtune.data import EncodedDataset, collate, dataset_from_tokenized
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.models import CrossEntropy
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import CharTokenizer, Vocabulary, WindowSpec, tokenize_texts
from paddlenlp_embtune.training import train
from paddlenlp_embtune.training._criterion import class_weights
from paddlenlp_embtune.training._distillation_loss import student_loss
from paddlenlp_embtune.training.regularization._label_smoothing import smoothed
from paddlenlp_embtune.training.regularization._mixup import Mixing
from paddlenlp_embtune.training.regularization._r_drop import symmetric_divergence

TEXTS = [
    ("公司业绩大幅下滑亏损", "利空"),
    ("今日召开股东大会", "中性"),
    ("净利润增长超预期", "利好"),
    ("控股股东减持", "利空"),
    ("董事会公告", "中性"),
    ("拟回购股份", "利好"),
    ("被立案调查", "利空"),
]
LABELS = ("利空", "中性", "利好")
HEAVY = (1, 5)


def write(path: Path, rows: list[tuple[str, str, float]]) -> str:
    lines = ["text\tlabel\tw", *(f"{text}\t{label}\t{weight}" for text, label, weight in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def recipe(folder: Path, rows: list[tuple[str, str, float]], **parts: Any) -> Recipe:
    data = {
        "train": write(folder / "train.tsv", rows),
        "dev": write(folder / "dev.tsv", [(text, label, 1.0) for text, label in TEXTS]),
        "labels": list(LABELS),
        "weight_column": "w",
    }
    return Recipe.from_dict(
        {
            "data": {**data, **parts.pop("data", {})},
            "text": {"extra_rows": 0, **parts.pop("text", {})},
            "model": {"options": {"filters": 8, "ngram_buckets": 0, "dropout": 0.0, "token_dropout": 0.0}},
            "train": {"epochs": 4, "class_balance": 1.0, "checkpoint_seconds": None, **parts.pop("train", {})},
            "freeze": None,
            "health": None,
            "early_stopping": None,
            "export": {"engines": []},
            **parts,
        }
    )


def weights_after(chosen: Recipe, out: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(train(chosen, out).bundle / "weights.safetensors")


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"regularization": {"label_smoothing": 0.1}},
        {"train": {"loss": "focal", "loss_options": {"gamma": 1.5}, "batch_size": 4, "accumulation_steps": 8}},
    ],
    ids=["plain", "label smoothing", "focal, in parts"],
)
def test_a_row_of_weight_two_trains_as_that_row_twice(parts: dict[str, Any], tmp_path: Path) -> None:
    weighted = [(text, label, 2.0 if at in HEAVY else 1.0) for at, (text, label) in enumerate(TEXTS)]
    twice = [(text, label, 1.0) for at, (text, label) in enumerate(TEXTS) for _ in range(2 if at in HEAVY else 1)]
    found = {}
    for name, rows in (("weighted", weighted), ("twice", twice)):
        (tmp_path / name).mkdir()
        found[name] = weights_after(recipe(tmp_path / name, rows, **parts), tmp_path / name / "run")
    for name in ("convolution.weight", "head.weight", "head.bias"):
        np.testing.assert_allclose(found["weighted"][name], found["twice"][name], atol=2e-5, rtol=1e-3, err_msg=name)


def test_the_windows_of_a_text_have_its_weight_and_all_of_them_a_mean_of_one() -> None:
    characters = sorted(set("".join(text for text, _ in TEXTS)))
    tokenizer = CharTokenizer(Vocabulary(("[PAD]", "[UNK]", *characters)))
    truth = [0, 1, 2]
    texts = [TEXTS[0][0] * 3, TEXTS[1][0], TEXTS[2][0]]
    tokenized = tokenize_texts(texts, tokenizer, max_length=8, windows=WindowSpec())
    weighted = dataset_from_tokenized(tokenized, truth, windows=WindowSpec(), weights=[4.0, 1.0, 1.0])
    assert len(weighted) > len(texts)
    batch = collate([weighted[row] for row in range(len(weighted))])
    assert batch["row_weights"].mean() == pytest.approx(1.0)
    assert batch["row_weights"][0] == pytest.approx(4 * batch["row_weights"][-1])
    assert len(set(batch["row_weights"].tolist())) == 2
    turned = weighted.by_length()
    np.testing.assert_allclose(np.sort(turned.weights), np.sort(weighted.weights))
    place = turned.truth.index(0)
    np.testing.assert_allclose(turned.text_weights, batch["row_weights"][-1] * (1 + 3 * (np.arange(3) == place)), rtol=1e-6)


def test_the_loss_of_an_evaluation_is_the_weighted_mean_over_all_rows(tmp_path: Path) -> None:
    from paddlenlp_embtune.training._build import build
    from paddlenlp_embtune.training._prepare import prepare

    rows = [(text, label, 1.0 + at) for at, (text, label) in enumerate(TEXTS)]
    chosen = recipe(
        tmp_path, rows, train={"eval_batch_size": 2, "class_balance": 0.0}, data={"dev": str(tmp_path / "train.tsv")}
    )
    trainer = build(prepare(chosen), out=tmp_path / "checkpoints")
    found = trainer.evaluate()["eval_loss"]
    dev = trainer.eval_dataset
    trainer.model.eval()
    batch = collate([dev[row] for row in range(len(dev))])
    with paddle.no_grad():
        logits = trainer.model(paddle.to_tensor(batch["input_ids"]))
    losses = paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(batch["labels"]), reduction="none").numpy().reshape(-1)
    assert found == pytest.approx((losses * batch["row_weights"]).sum() / batch["row_weights"].sum(), rel=1e-5)
    assert found != pytest.approx(losses.mean(), rel=1e-5)


def test_a_student_and_its_regularizers_take_a_row_of_weight_two_as_that_row_twice() -> None:
    generator = np.random.default_rng(0)
    logits, told = (generator.normal(size=(5, 3)).astype(np.float32) for _ in range(2))
    labels = np.array([0, 2, -100, 1, -100])
    weights, twice = np.array([1, 2, 2, 1, 1], np.float32), np.array([0, 1, 1, 2, 2, 3, 4])
    criterion = CrossEntropy(class_weights=np.ones(3, np.float32))
    spec = DistillSpec(teacher="t", alpha=0.6)

    def loss(rows: np.ndarray, chosen: Any, **more: Any) -> float:
        batch = {"labels": labels[rows], "teacher_logits": told[rows], "input_ids": logits[rows], **more}
        given = {name: paddle.to_tensor(value) for name, value in batch.items()}
        found, _ = student_loss(lambda input_ids: input_ids, None, given, spec, chosen)
        return float(found)

    for chosen in (criterion, smoothed(criterion, share=0.1)):
        weighted = loss(np.arange(5), chosen, row_weights=weights)
        assert weighted == pytest.approx(loss(twice, chosen), rel=1e-6)
        assert weighted != pytest.approx(loss(np.arange(5), chosen), rel=1e-3)
    mixing = Mixing(1.0)
    mixing._share, mixing._order = 0.3, paddle.to_tensor([1, 0, 2, 4, 3])
    both = [loss_of(mixing, criterion, logits, np.abs(labels), each) for each in (np.ones(5, np.float32), weights)]
    assert both[0] != pytest.approx(both[1], rel=1e-3)
    pair = [paddle.to_tensor(values) for values in (logits, told)]
    divergence = symmetric_divergence(*pair, weights=paddle.to_tensor(weights))
    assert float(divergence) == pytest.approx(float(symmetric_divergence(*(each[twice] for each in pair))), rel=1e-6)


def loss_of(mixing: Mixing, criterion: Any, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The loss of mixtures, checked against the weighted means of both rows."""
    known = labels % 3
    given = [paddle.to_tensor(values) for values in (logits, known, weights)]
    found = float(mixing.criterion(criterion)(*given))
    order = np.array([1, 0, 2, 4, 3])
    plain = [
        float(criterion(given[0], *(paddle.to_tensor(values[rows]) for values in (known, weights))))
        for rows in (slice(None), order)
    ]
    assert found == pytest.approx(0.3 * plain[0] + 0.7 * plain[1], rel=1e-6)
    return found


def test_classes_weigh_by_effective_numbers_by_statement_and_by_the_weights_of_their_rows() -> None:
    labels = [0] * 60 + [1] * 30 + [2] * 10
    found = class_weights(labels, 3, balance=0.5, effective_numbers=0.99)
    effective = np.array([(1 - 0.99**n) / (1 - 0.99) for n in (60, 30, 10)])  # Cui et al. 2019, equation 2
    np.testing.assert_allclose(found / found[0], effective[0] / effective, rtol=1e-6)
    assert found[labels].mean() == pytest.approx(1.0)
    np.testing.assert_allclose(class_weights(labels, 3, balance=1.0, effective_numbers=0.0), 1.0)
    stated = class_weights(labels, 3, balance=0.5, stated=[1.0, 2.0, 8.0])
    np.testing.assert_allclose(stated / stated[0], [1.0, 2.0, 8.0], rtol=1e-6)
    rows = np.array([1.0] * 90 + [3.0] * 10, dtype=np.float32)
    np.testing.assert_array_equal(
        class_weights(labels, 3, balance=1.0, row_weights=rows), class_weights([*labels, *[2] * 20], 3, balance=1.0)
    )


class Plain:
    """A loss of a plugin that knows nothing of weights."""

    def __init__(self, *, class_weights: Any) -> None:
        pass

    def __call__(self, logits: Any, labels: Any) -> Any:
        return paddle.nn.functional.cross_entropy(logits, labels)


class Plugin:
    @hookimpl
    def embtune_register_losses(self) -> dict[str, Any]:
        return {"plain": Plain}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"train": {"loss": "squared_emd"}}, "train.loss is 'squared_emd', which is for ordered labels, and nothing says"),
    ({"model": {"options": {"head": "cumulative_link"}}}, "model.options.head is 'cumulative_link', which is for ordered"),
    ({"train": {"loss": "focal", "loss_options": {"gama": 1}}}, "loss_options of focal has no 'gama'; did you mean 'gamma'"),
    ({"train": {"loss": "focal", "loss_options": {"gamma": "x"}}}, "train.loss_options.gamma must be a number"),
    ({"train": {"loss_options": {"gamma": 1}}}, "train.loss_options of cross_entropy has no 'gamma'"),
    ({"train": {"class_weights": {"利好": 2, "利多": 1}}}, "train.class_weights has '利多'; did you mean '利"),
    ({"train": {"class_weights": {"利好": 2}}}, "train.class_weights must have a weight for each of the 3 labels"),
    ({"train": {"loss": "focal"}, "regularization": {"label_smoothing": 0.1}}, "criterion is Focal"),
    ({"train": {"loss": "plain"}}, "the loss 'plain' takes no weights of rows"),
]


@pytest.mark.parametrize(("parts", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_does_not_fit_is_refused(parts: dict[str, Any], message: str, tmp_path: Path) -> None:
    rows = [(text, label, 1.0) for text, label in TEXTS]
    former = registry.use(registry.load(plugins=[Plugin()]))
    try:
        with pytest.raises(RecipeError, match=message):
            train(recipe(tmp_path, rows, **parts), tmp_path / "run")
    finally:
        registry.use(former)


def test_a_development_file_needs_the_weights_too(tmp_path: Path) -> None:
    chosen = recipe(tmp_path, [(text, label, 1.0) for text, label in TEXTS])
    other = tmp_path / "plain.tsv"
    other.write_text("text\tlabel\n公司\t利好\n", encoding="utf-8")
    chosen = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, dev=str(other)))
    with pytest.raises(DataError, match=r"plain.tsv has no column 'w'.*--weight-column"):
        train(chosen, tmp_path / "run")


def test_data_sets_without_weights_have_no_column_for_them() -> None:
    data = EncodedDataset([[2, 3], [4]], [0, 1])
    assert set(collate([data[0], data[1]])) == {"input_ids", "labels"}
