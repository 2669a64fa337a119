"""Mixup: the gradients of the paper, the same draws after a resume, and what it cannot be put beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import HostError, Recipe, RecipeError
from paddlenlp_embtune.config.regularization import MixupSpec, RegularizationSpec
from paddlenlp_embtune.models import TextCNN
from paddlenlp_embtune.training.regularization._mixup import Mixing
from paddlenlp_embtune.training.regularization.apply import regularize
from tests.toy import LABELS, VOCABULARY, make_trainer
from tests.training.regularized import Gradients, Small, make_regularized

functional = paddle.nn.functional
WEIGHTS = np.array([0.5, 1.0, 2.5], dtype=np.float32)


class Featured(Small):
    """The small model, with a vector of each text before its head."""

    def features(self, input_ids: Any, rows: Any = None) -> Any:
        mask = (input_ids != 0).astype("float32").unsqueeze(-1)
        hidden = paddle.tanh(self.hidden(self.embedding(input_ids) if rows is None else rows)) * mask
        return hidden.sum(axis=1) / mask.sum(axis=1)

    def forward(self, input_ids: Any) -> Any:
        self.seen.append(input_ids.numpy())
        return self.classifier(self.features(input_ids))


def expected_gradients(model: Featured, ids: np.ndarray, spec: MixupSpec) -> dict[str, np.ndarray]:
    """What the first pass should leave, drawing from Paddle's generator as it stands."""
    generator = np.random.default_rng(int(paddle.randint(0, 2**31 - 1, [1], dtype="int64").item()))
    share, order = generator.beta(spec.alpha, spec.alpha), generator.permutation(len(ids))
    tokens, labels = paddle.to_tensor(ids), ids[:, 0] % LABELS
    rows = model.embedding(tokens)
    if spec.at == "embedding":
        rows = rows * share + rows[paddle.to_tensor(order)] * (1 - share)
    vectors = model.features(tokens, rows)
    if spec.at == "features":
        vectors = vectors * share + vectors[paddle.to_tensor(order)] * (1 - share)
    logs = functional.log_softmax(model.classifier(vectors))
    target = share * np.eye(LABELS)[labels] * WEIGHTS[labels][:, None]
    target += (1 - share) * np.eye(LABELS)[labels[order]] * WEIGHTS[labels[order]][:, None]
    loss = -(logs * paddle.to_tensor(target.astype(np.float32))).sum() / float(WEIGHTS[labels].sum())
    named = dict(model.named_parameters())
    found = paddle.grad(loss, list(named.values()))
    return {name: gradient.numpy() for name, gradient in zip(named, found, strict=True)}


@pytest.mark.parametrize("at", MixupSpec.PLACES)
def test_a_step_leaves_the_gradients_of_the_paper(tmp_path: Path, at: str) -> None:
    spec, watch = MixupSpec(alpha=1.0, at=at), Gradients()
    options = {"max_steps": 1, "evaluation_strategy": "no", "class_weights": WEIGHTS}
    trainer = make_regularized(tmp_path, RegularizationSpec(mixup=spec), watch, model=Featured(dropout=0.0), **options)
    reference = Featured(dropout=0.0)
    reference.set_state_dict(trainer.model.state_dict())
    criterion = trainer.criterion
    trainer.train()
    paddle.set_rng_state(watch.states[0])
    expected = expected_gradients(reference, trainer.model.seen[0], spec)
    assert set(watch.found[0]) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(watch.found[0][name], value, atol=2e-6, rtol=1e-4, err_msg=name)
    assert trainer.criterion is criterion
    assert "features" not in vars(trainer.model)


def test_what_is_drawn_follows_from_paddles_generator() -> None:
    rows, mixing = paddle.to_tensor(np.arange(12.0).reshape(6, 2)), Mixing(0.4)
    state = paddle.get_rng_state()

    def mixed() -> np.ndarray:
        with mixing.one_pass():
            found: np.ndarray = mixing.mix(rows).numpy()
        return found

    first, second = mixed(), mixed()
    paddle.set_rng_state(state)
    np.testing.assert_array_equal(mixed(), first)
    assert np.abs(first - second).max() > 0
    np.testing.assert_allclose(first.mean(axis=0), rows.numpy().mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("at", MixupSpec.PLACES)
def test_the_text_cnn_trains_on_mixtures_and_evaluates_whole_texts(tmp_path: Path, at: str) -> None:
    model = TextCNN(vocabulary_size=VOCABULARY, dimension=8, num_labels=LABELS, filters=8, ngram_buckets=0)
    spec = RegularizationSpec(mixup=MixupSpec(alpha=1.0, at=at), label_smoothing=0.1)
    trainer = make_regularized(tmp_path, spec, model=model, num_train_epochs=1)
    before = model.convolution.weight.numpy().copy()
    trainer.train()
    assert np.abs(model.convolution.weight.numpy() - before).max() > 0
    first, second = (trainer.evaluate()["eval_loss"] for _ in range(2))
    assert first == second


def test_models_and_trainers_that_cannot_mix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"mixup\.at is 'features', but Small gives no vector of a text .* or at: embedding"):
        make_regularized(tmp_path, RegularizationSpec(mixup=MixupSpec()), model=Small())
    trainer = make_trainer(tmp_path)
    trainer.criterion = None
    with pytest.raises(HostError, match=r"regularization\.mixup needs .* pass one to the Trainer"):
        regularize(trainer, RegularizationSpec(mixup=MixupSpec()))


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"regularization": {"r_drop": 1.0}}, r"regularization\.r_drop must be left out beside mixup"),
        ({"regularization": {"adversarial": {"kind": "fgm"}}}, r"regularization\.adversarial must be left out beside mixup"),
        (
            {"distill": {"teacher": "t"}},
            r"cannot have distill and regularization\.mixup, because a teacher",
        ),
        ({"freeze": {"cached": True}}, r"regularization\.mixup must be left out beside freeze\.cached"),
    ],
)
def test_what_it_cannot_be_put_beside(beside: dict[str, Any], message: str) -> None:
    mixup = {"mixup": {"at": "embedding"}}
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict({**beside, "regularization": {**beside.get("regularization", {}), **mixup}})


def test_weights_of_rows_are_mixed_with_their_labels() -> None:
    mixing = Mixing(0.4)
    calls: list[tuple[np.ndarray, ...]] = []

    def plain(logits: Any, *given: Any) -> Any:
        calls.append(tuple(each.numpy() for each in given))
        return logits.sum()

    labels, weights = paddle.to_tensor([0, 1, 2]), paddle.to_tensor([0.5, 1.0, 2.0])
    with mixing.one_pass():
        mixing.draw(3)
        mixing.criterion(plain)(paddle.ones([3, 2]), labels, weights)
    (first, own), (other, theirs) = calls
    assert dict(zip(other.tolist(), theirs.tolist(), strict=True)) == dict(zip(first.tolist(), own.tolist(), strict=True))
