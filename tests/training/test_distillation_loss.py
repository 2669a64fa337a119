"""The loss of a student against formulas written out in numpy, and what a step makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest

from paddlenlp_embtune.config.inputs import TextSpec
from paddlenlp_embtune.config.recipe import DistillSpec, Recipe
from paddlenlp_embtune.data.dataset import EncodedDataset, collate
from paddlenlp_embtune.data.soft_targets import SoftTargets
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models._ngram_regression import _targets, fit_ngrams
from paddlenlp_embtune.models.features import FeatureEngine, captured_features, feature_width
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.text import CharTokenizer, Vocabulary
from paddlenlp_embtune.training._distillation_loss import add_map, drop_map, softened_divergence, student_loss
from paddlenlp_embtune.training._trainer import LengthBatchedTrainer, _fit_before_training, with_soft_targets
from paddlenlp_embtune.training.parameter_groups import group_specs, resolve_groups
from tests.toy import make_trainer

Floats = npt.NDArray[np.float64]
GENERATOR = np.random.default_rng(5)
IDS = GENERATOR.integers(2, 20, (6, 5))
TEACHER = GENERATOR.normal(size=(6, 3)) * 3
LABELS = np.array([0, 2, -100, 1, -100, 2])
WEIGHTS = np.array([0.5, 1.0, 2.0])


def log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def divergence(student: Floats, teacher: Floats, temperature: float) -> Floats:
    ours, theirs = log_softmax(student / temperature), log_softmax(teacher / temperature)
    result: Floats = temperature**2 * (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    return result


def expected_loss(logits: Floats, *, alpha: float, temperature: float) -> float:
    """Rows weigh the same; within the labelled ones, classes weigh as the criterion has it."""
    soft = divergence(logits, TEACHER, temperature).mean()
    rows = np.flatnonzero(LABELS >= 0)
    own = -log_softmax(logits)[rows, LABELS[rows]]
    weights = WEIGHTS[LABELS[rows]]
    hard = (own * weights).sum() / weights.sum()
    return float(alpha * soft + (1 - alpha) * hard * len(rows) / len(LABELS))


def small_student(**options: Any) -> TextCNN:
    paddle.seed(3)
    return TextCNN(
        vocabulary_size=20, dimension=4, num_labels=3, **{"filters": 6, "ngram_buckets": 0, "dropout": 0.0, **options}
    )


def tensors(labels: npt.NDArray[np.int64] = LABELS, **more: npt.NDArray[Any]) -> dict[str, Any]:
    arrays = {"input_ids": IDS, "labels": labels, "teacher_logits": TEACHER.astype(np.float32), **more}
    return {name: paddle.to_tensor(value) for name, value in arrays.items()}


def criterion() -> Any:
    return paddle.nn.CrossEntropyLoss(weight=paddle.to_tensor(WEIGHTS.astype(np.float32)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 8.0])
def test_the_divergence_is_that_of_softened_answers_times_the_temperature_squared(temperature: float) -> None:
    logits = GENERATOR.normal(size=(6, 3))
    tensor = (paddle.to_tensor(value.astype(np.float32)) for value in (logits, TEACHER))
    found = float(softened_divergence(*tensor, temperature=temperature))
    assert found == pytest.approx(divergence(logits, TEACHER, temperature).mean(), rel=1e-5)


def test_logarithms_of_probabilities_do_as_well_as_logits_and_equal_answers_are_no_loss() -> None:
    first, second = (paddle.to_tensor(value.astype(np.float32)) for value in (TEACHER, log_softmax(TEACHER)))
    assert float(softened_divergence(first, second, temperature=3.0)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("alpha", "temperature"), [(0.7, 2.0), (1.0, 1.0), (0.1, 4.0)])
def test_the_loss_is_that_of_the_formula(alpha: float, temperature: float) -> None:
    model, spec = small_student(token_dropout=0.0), DistillSpec(teacher="t", alpha=alpha, temperature=temperature)
    loss, logits = student_loss(model, model, tensors(), spec, criterion())
    assert float(loss) == pytest.approx(expected_loss(logits.numpy().astype(np.float64), alpha=alpha, temperature=temperature))


def test_rows_without_a_label_never_reach_the_loss_by_labels() -> None:
    seen: list[npt.NDArray[np.int64]] = []

    def watch(logits: Any, labels: Any) -> Any:
        assert len(logits) == len(labels)
        seen.append(labels.numpy())
        return logits.sum() * 0.0

    model, spec = small_student(), DistillSpec(teacher="t")
    student_loss(model, model, tensors(), spec, watch)
    student_loss(model, model, tensors(np.full(6, -100)), spec, watch)
    assert [labels.tolist() for labels in seen] == [[0, 2, 1, 2]]


def test_one_step_moves_the_weights_by_the_derivative_of_the_formula() -> None:
    """The head is linear: its gradient is features times the softened differences, which is written out here."""
    model, spec = small_student(token_dropout=0.0), DistillSpec(teacher="t", alpha=0.6, temperature=2.5)
    before = {name: value.numpy().astype(np.float64) for name, value in model.named_parameters()}
    with captured_features(model) as seen:
        loss, logits = student_loss(model, model, tensors(), spec, criterion())
    optimizer = paddle.optimizer.SGD(learning_rate=0.1, parameters=model.parameters())
    loss.backward()
    optimizer.step()
    features, found = seen[0].numpy().astype(np.float64), logits.numpy().astype(np.float64)
    soft = np.exp(log_softmax(found / 2.5)) - np.exp(log_softmax(TEACHER / 2.5))
    slope = 0.6 * 2.5 * soft / 6  # T squared from the loss, 1 / T from the logits
    rows = np.flatnonzero(LABELS >= 0)
    weights = WEIGHTS[LABELS[rows]]
    hard = np.exp(log_softmax(found[rows])) - np.eye(3)[LABELS[rows]]
    slope[rows] += 0.4 * hard * weights[:, None] / weights.sum() * len(rows) / 6
    moved = model.head.weight.numpy() - before["head.weight"]
    np.testing.assert_allclose(moved, -0.1 * features.T @ slope, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(model.head.bias.numpy() - before["head.bias"], -0.1 * slope.sum(axis=0), rtol=1e-3, atol=1e-7)
    assert np.abs(model.convolution.weight.numpy() - before["convolution.weight"]).max() > 0


def test_the_vectors_of_the_teacher_add_the_mean_squared_distance_to_a_learned_map() -> None:
    model, spec = small_student(token_dropout=0.0), DistillSpec(teacher="t", hidden=0.3)
    vectors = GENERATOR.normal(size=(6, 7)).astype(np.float32)
    without, _ = student_loss(model, model, tensors(teacher_vectors=vectors), spec, criterion())
    proposed = group_specs(Recipe(), model)
    groups = resolve_groups(model, (*proposed, add_map(model, width=7)))
    names = {group.spec.name: list(group.parameters) for group in groups}
    assert names["teacher_map"] == ["teacher_map.weight", "teacher_map.bias"]
    with captured_features(model) as seen:
        loss, _ = student_loss(model, model, tensors(teacher_vectors=vectors), spec, criterion())
    mapped = seen[-1].numpy() @ model.teacher_map.weight.numpy() + model.teacher_map.bias.numpy()
    assert float(loss) - float(without) == pytest.approx(0.3 * np.square(mapped - vectors).mean(), rel=1e-4)
    loss.backward()
    assert np.abs(model.teacher_map.weight.grad.numpy()).max() > 0
    drop_map(model)
    assert not [name for name in model.state_dict() if "teacher_map" in name]
    assert "features" not in model.__dict__


def test_a_student_without_vectors_gets_no_map() -> None:
    with pytest.raises(RecipeError, match=r"Linear has no features\(input_ids\); expected textcnn"):
        add_map(paddle.nn.Linear(2, 2), width=7)


def test_logits_and_vectors_come_from_one_pass() -> None:
    model = small_student()
    model.eval()
    assert feature_width(model) == 6
    both = FeatureEngine(model).run(IDS)
    np.testing.assert_array_equal(both[:, :3], model(paddle.to_tensor(IDS)).numpy())
    np.testing.assert_array_equal(both[:, 3:], model.features(paddle.to_tensor(IDS)).numpy())


def test_unlabelled_texts_stand_behind_the_rows_and_batches_carry_what_the_teacher_said() -> None:
    tokenizer = CharTokenizer(Vocabulary(["[PAD]", "[UNK]", *"abcd"]))
    vectors = np.arange(12, dtype=np.float16).reshape(4, 3)
    soft_targets = SoftTargets(np.arange(8, dtype=np.float32).reshape(4, 2), vectors, ("dcba",), (2, 1))
    rows = with_soft_targets(EncodedDataset([[2], [3, 4]], [1, 0]), soft_targets, tokenizer, text=TextSpec(max_length=3))
    assert [list(ids) for ids in rows.ids] == [[2], [3, 4], [5, 4, 3]]
    assert list(rows.labels) == [1, 0, -100]
    batch = collate([rows[2], rows[0]])
    assert batch["labels"].tolist() == [-100, 1]
    assert batch["input_ids"].tolist() == [[5, 4, 3], [2, 0, 0]]
    assert batch["teacher_logits"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert batch["teacher_vectors"].tolist() == [[6.0, 7.0, 8.0], [0.0, 1.0, 2.0]]
    assert batch["teacher_vectors"].dtype == np.float32
    assert soft_targets.dev.tolist() == [[6.0, 7.0]]


def test_batches_without_answers_have_the_plain_loss(tmp_path: Any) -> None:
    plain = make_trainer(tmp_path)
    trainer = LengthBatchedTrainer(
        model=small_student(), criterion=criterion(), args=plain.args, distill=DistillSpec(teacher="t", alpha=1.0)
    )
    trainer.model.eval()
    labels = np.array([0, 1, 2, 0, 1, 2])
    batch = {"input_ids": paddle.to_tensor(IDS), "labels": paddle.to_tensor(labels)}
    loss, (_, logits) = trainer.compute_loss(trainer.model, dict(batch), return_outputs=True)
    weights = WEIGHTS[labels]
    own = -log_softmax(logits.numpy().astype(np.float64))[np.arange(6), labels]
    assert float(loss) == pytest.approx((own * weights).sum() / weights.sum(), rel=1e-5)
    taught = trainer.compute_loss(trainer.model, tensors(labels))
    assert float(taught) == pytest.approx(divergence(logits.numpy().astype(np.float64), TEACHER, 2.0).mean(), rel=1e-4)


class Fitted:
    """A model that notes what it is given to fit."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []

    def fit_before_training(self, ids: Any, labels: Any, *, class_weights: Any, answers: Any = None) -> None:
        self.given.append((len(ids), list(labels), answers))


class FittedToLabels(Fitted):
    def fit_before_training(self, ids: Any, labels: Any, *, class_weights: Any) -> None:  # type: ignore[override]
        super().fit_before_training(ids, labels, class_weights=class_weights)


def test_what_is_fitted_before_training_hears_of_unlabelled_texts_if_it_can_use_answers() -> None:
    labelled = EncodedDataset([[2], [3]], [1, 0])
    told = np.log(np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]], dtype=np.float32))
    taught = EncodedDataset([[2], [3], [4]], [1, 0, -100], teacher_outputs={"teacher_logits": told})
    weights = np.ones(2, dtype=np.float32)
    able, unable, alone = Fitted(), FittedToLabels(), Fitted()
    _fit_before_training(able, labelled, taught, weights, continued=False)
    _fit_before_training(unable, labelled, taught, weights, continued=False)
    _fit_before_training(
        alone,
        labelled,
        EncodedDataset([[2], [3]], [1, 0], teacher_outputs={"teacher_logits": told[:2]}),
        weights,
        continued=False,
    )
    ((count, labels, answers),) = able.given
    assert (count, labels) == (3, [1, 0, -100])
    np.testing.assert_allclose(answers, np.exp(told), rtol=1e-6)
    assert unable.given == alone.given == [(2, [1, 0], None)]


def test_certain_answers_count_as_labels_of_weight_one_and_uncertain_ones_as_shares() -> None:
    generator = np.random.default_rng(0)
    ids = [generator.integers(1, 30, 6).tolist() for _ in range(120)]
    labels = np.array([text[0] % 3 for text in ids])
    some = np.where(np.arange(120) % 3 == 0, -100, labels)
    options: dict[str, Any] = {"class_weights": np.ones(3, dtype=np.float32), "buckets": 512}
    whole, bias = fit_ngrams(ids, labels.tolist(), **options)
    table, second = fit_ngrams(ids, some.tolist(), answers=np.eye(3, dtype=np.float32)[labels], **options)
    np.testing.assert_allclose(table, whole, atol=2e-3)
    np.testing.assert_allclose(second, bias, atol=2e-3)
    undecided = np.full((120, 3), 1 / 3, dtype=np.float32)
    flat, _ = fit_ngrams(ids, [-100] * 120, answers=undecided, **options)
    assert np.abs(flat[:, :3]).max() < 1e-3
    rows, classes, shares = _targets(
        np.array([2, -100]), np.array([1.0, 1.0, 0.5], np.float32), np.array([[1, 0, 0], [0.3, 0.695, 0.005]], np.float32)
    )
    assert (rows.tolist(), classes.tolist()) == ([0, 1, 1], [2, 0, 1])
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.695], rtol=1e-6)
