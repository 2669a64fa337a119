"""Embedding dropout, label smoothing, R-Drop, FGM and FreeLB leave the gradients that their papers say, and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune import HostError, Recipe, RecipeError, attach
from paddlenlp_embtune.config.regularization import AdversarialSpec, RegularizationSpec
from paddlenlp_embtune.models.sequence_classifier import Encoder
from paddlenlp_embtune.training import RunRecord
from paddlenlp_embtune.training.callbacks import SparseEmbeddingCallback
from paddlenlp_embtune.training.regularization._adversarial import project, random_start, unit
from paddlenlp_embtune.training.regularization._embedding_hooks import EmbeddingHooks, drop_tokens
from paddlenlp_embtune.training.regularization._label_smoothing import smoothed
from paddlenlp_embtune.training.regularization._r_drop import symmetric_divergence
from paddlenlp_embtune.training.regularization.apply import regularize
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.host import TrainerCallback
from tests.toy import LABELS, Toy, make_trainer, new_process
from tests.training.regularized import Gradients, Padded, Small, expected_gradients, make_regularized

WEIGHTS = np.array([0.5, 1.0, 2.5], dtype=np.float32)
FGM = AdversarialSpec(kind="fgm", epsilon=0.7)
FREELB = AdversarialSpec(kind="freelb", epsilon=0.12, step_size=0.1, steps=3)
SPECS = {
    "embedding_dropout": RegularizationSpec(embedding_dropout=0.4),
    "label_smoothing": RegularizationSpec(label_smoothing=0.2),
    "r_drop": RegularizationSpec(r_drop=3.0),
    "fgm": RegularizationSpec(adversarial=FGM),
    "freelb": RegularizationSpec(adversarial=FREELB),
    "all_fgm": RegularizationSpec(embedding_dropout=0.2, label_smoothing=0.1, r_drop=1.0, adversarial=FGM),
    "all_freelb": RegularizationSpec(embedding_dropout=0.2, label_smoothing=0.1, r_drop=1.0, adversarial=FREELB),
}
ONE_STEP: dict[str, Any] = {"max_steps": 1, "evaluation_strategy": "no"}


def first_gradients(
    folder: Path, spec: RegularizationSpec, *callbacks: Any, model: Any = None, accumulate: int = 1
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the gradients of a Trainer's first step, and those that the papers say."""
    watch = Gradients()
    options = {**ONE_STEP, "gradient_accumulation_steps": accumulate, "class_weights": WEIGHTS}
    trainer = make_regularized(folder, spec, *callbacks, watch, model=model, **options)
    reference = Small()
    reference.set_state_dict(trainer.model.state_dict())
    for name, value in reference.named_parameters():
        value.stop_gradient = dict(trainer.model.named_parameters())[name].stop_gradient
    trainer.train()
    passes = len(trainer.model.seen) // accumulate
    paddle.set_rng_state(watch.states[0])
    expected: dict[str, np.ndarray] = {}
    for ids in trainer.model.seen[::passes]:
        rows = ids[: len(ids) // 2] if spec.r_drop else ids
        for name, value in expected_gradients(reference, rows, spec, WEIGHTS).items():
            expected[name] = expected.get(name, 0) + value / accumulate
    return watch.found[0], expected


class Evaluations(TrainerCallback):
    def __init__(self) -> None:
        self.found: list[dict[str, float]] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.found.append(kwargs["metrics"])


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=2e-6 * max(1.0, np.abs(value).max()), rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", SPECS)
def test_a_step_leaves_the_gradients_of_the_paper(tmp_path: Path, name: str) -> None:
    found, expected = first_gradients(tmp_path, SPECS[name])
    assert_close(found, expected)
    plain, _ = first_gradients(tmp_path, RegularizationSpec())
    assert np.abs(plain["hidden.weight"] - found["hidden.weight"]).max() > 1e-3


@pytest.mark.parametrize("name", ["all_fgm", "all_freelb"])
def test_gradients_accumulate_over_batches(tmp_path: Path, name: str) -> None:
    assert_close(*first_gradients(tmp_path, SPECS[name], accumulate=2))


@pytest.mark.parametrize("name", ["all_fgm", "all_freelb"])
def test_a_frozen_embedding_is_perturbed_too(tmp_path: Path, name: str) -> None:
    model = Small()
    model.embedding.weight.stop_gradient = True
    found, expected = first_gradients(tmp_path, SPECS[name], model=model)
    assert "embedding.weight" not in found
    assert_close(found, expected)


@pytest.mark.parametrize("name", ["all_fgm", "all_freelb"])
def test_gradients_by_rows_are_the_same(tmp_path: Path, name: str) -> None:
    assert_close(*first_gradients(tmp_path, SPECS[name], SparseEmbeddingCallback(), accumulate=2))


def test_dropped_tokens_are_dropped_wherever_they_stand() -> None:
    paddle.seed(1)
    ids = np.random.default_rng(0).integers(0, 200, (40, 30))
    factors = drop_tokens(paddle.to_tensor(ids), chance=0.25, padding=0).numpy()[..., 0]
    assert set(np.unique(factors[ids != 0])) == {0.0, np.float32(1 / 0.75)}
    assert (factors[ids == 0] == 1).all()
    of_each = [set(factors[ids == token]) for token in np.unique(ids[ids != 0])]
    assert all(len(values) == 1 for values in of_each)
    assert sum(values == {0.0} for values in of_each) / len(of_each) == pytest.approx(0.25, abs=0.08)


def test_two_passes_drop_different_tokens() -> None:
    paddle.seed(1)
    ids = paddle.to_tensor(np.tile(np.arange(1, 61), (4, 1)))
    first, second = np.split(drop_tokens(ids, chance=0.5, padding=None, passes=2).numpy(), 2)
    assert (first != second).any()
    for half in (first, second):
        np.testing.assert_array_equal(half[0], half[1])


def test_perturbations_have_the_stated_lengths() -> None:
    paddle.seed(1)
    gradient = paddle.randn([3, 4, 5])
    gradient[1] = 0.0
    np.testing.assert_allclose(np.linalg.norm(unit(gradient).numpy().reshape(3, -1), axis=1), [1, 0, 1], rtol=1e-6)
    gradient[2, 0, 0] = float("nan")
    assert (unit(gradient).numpy()[2] == 0).all()
    near, far = paddle.full([1, 2, 2], 0.1), paddle.full([1, 2, 2], 3.0)
    np.testing.assert_array_equal(project(near, epsilon=0.5).numpy(), near.numpy())
    np.testing.assert_allclose(np.linalg.norm(project(far, epsilon=0.5).numpy()), 0.5, rtol=1e-6)
    mask = paddle.to_tensor([[[1.0], [1.0], [0.0]], [[0.0], [0.0], [0.0]]])
    start = random_start(paddle.zeros([2, 3, 4]), mask, epsilon=0.5).numpy()
    assert np.abs(start[0, :2]).max() <= 0.5 / np.sqrt(8)
    assert (start[0, 2] == 0).all()
    assert (start[1] == 0).all()


def test_the_divergence_passes_gradients_on_to_both_distributions() -> None:
    first, second = np.random.default_rng(0).normal(0, 1, (2, 4, LABELS))

    def divergence(one: np.ndarray, other: np.ndarray) -> float:
        p, q = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True) for logits in (one, other))
        return float(((p * np.log(p / q)).sum(1) + (q * np.log(q / p)).sum(1)).mean())

    tensors = [paddle.to_tensor(logits.astype(np.float32), stop_gradient=False) for logits in (first, second)]
    found = symmetric_divergence(*tensors)
    found.backward()
    assert float(found) == pytest.approx(divergence(first, second), rel=1e-5)
    for place, tensor in enumerate(tensors):
        moved = [first.copy(), second.copy()]
        moved[place][1, 2] += 1e-5
        slope = (divergence(*moved) - divergence(first, second)) / 1e-5
        assert float(tensor.grad[1, 2]) == pytest.approx(slope, rel=1e-3)


def test_smoothing_skips_rows_that_do_not_count_and_takes_column_labels() -> None:
    logits = paddle.to_tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0], [9.0, 9.0, -9.0]])
    loss = smoothed(paddle.nn.CrossEntropyLoss(weight=paddle.to_tensor(WEIGHTS)), share=0.3)
    found = float(loss(logits, paddle.to_tensor([[2], [0], [-100]])))
    values = logits.numpy()[:2].astype(np.float64)
    logs = values - np.log(np.exp(values).sum(1, keepdims=True))
    targets = np.full((2, 3), 0.1)
    targets[0, 2] += 0.7
    targets[1, 0] += 0.7
    rows = -(targets * logs).sum(1)
    assert found == pytest.approx((rows * [2.5, 0.5]).sum() / 3.0, rel=1e-6)


@pytest.mark.parametrize("name", SPECS)
def test_evaluation_knows_nothing_of_it_and_nothing_stays_on_the_model(tmp_path: Path, name: str) -> None:
    evaluations = Evaluations()
    trainer = make_regularized(tmp_path, SPECS[name], evaluations, num_train_epochs=1, class_weights=WEIGHTS)
    trainer.train()
    logged = evaluations.found[-1]
    plain = make_trainer(tmp_path, model=trainer.model)
    plain.eval_dataset, plain.criterion = Padded(32), paddle.nn.CrossEntropyLoss(weight=paddle.to_tensor(WEIGHTS))
    fresh = plain.evaluate()
    assert (logged["eval_loss"], logged["eval_accuracy"]) == (fresh["eval_loss"], fresh["eval_accuracy"])
    assert isinstance(trainer.criterion, paddle.nn.CrossEntropyLoss)
    assert not trainer.model.embedding._forward_post_hooks


@pytest.mark.parametrize("name", ["all_fgm", "all_freelb"])
def test_a_pass_that_breaks_off_leaves_everything_as_it_was(tmp_path: Path, name: str) -> None:
    class Broken(Small):
        def rest(self, rows: Any, ids: Any) -> Any:
            if len(self.seen) == 2:
                raise MemoryError("in the second pass")
            return super().rest(rows, ids)

    trainer = make_regularized(tmp_path, SPECS[name], model=Broken(), **ONE_STEP)
    before = {key: value.numpy().copy() for key, value in trainer.model.state_dict().items()}
    criterion = trainer.criterion
    with pytest.raises(MemoryError):
        trainer.train()
    for key, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key], err_msg=key)
    assert trainer.criterion is criterion
    assert not trainer.model.embedding._forward_post_hooks
    ids = paddle.to_tensor(Padded(4).ids)
    np.testing.assert_array_equal(trainer.model.embedding(ids).numpy(), before["embedding.weight"][ids.numpy()])


@pytest.mark.parametrize("name", ["all_fgm", "all_freelb"])
def test_a_resumed_run_ends_bit_equal(tmp_path: Path, name: str) -> None:
    recipe = Recipe.from_dict({"freeze": None, "early_stopping": None, "health": None})

    def end(folder: Path, checkpoint: Path | None = None) -> dict[str, np.ndarray]:
        with new_process():
            trainer = make_regularized(folder, SPECS[name], save_strategy="steps", save_steps=5, class_weights=WEIGHTS)
            attach(trainer, recipe)
            paddle.seed(99 if checkpoint else 7)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return {key: value.numpy() for key, value in trainer.model.state_dict().items()}

    whole = end(tmp_path / "run")
    last = last_checkpoint(tmp_path / "run")
    assert last is not None
    resumed = end(tmp_path / "run", last.parent / "checkpoint-5")
    for key, value in whole.items():
        np.testing.assert_array_equal(resumed[key], value, err_msg=key)


def test_a_checkpoint_of_another_specification_is_refused(tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 5}
    make_regularized(tmp_path, SPECS["fgm"], **options).train()
    with pytest.raises(RecipeError, match=r"adversarial.*epsilon: 0.7 in the checkpoint, 0.9 now"):
        make_regularized(tmp_path, RegularizationSpec(adversarial=AdversarialSpec(epsilon=0.9)), **options).train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-5")
        )


def test_the_record_tells_what_is_on_and_that_two_passes_were_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paddle.seed(0)
    trainer, record = make_trainer(tmp_path, model=Small(dropout=0.0), **ONE_STEP), RunRecord()
    for callback in regularize(trainer, RegularizationSpec(r_drop=1.0), record=record):
        trainer.add_callback(callback)
    with caplog.at_level(logging.WARNING, logger="paddlenlp_embtune"):
        trainer.train()
    assert record.of("regularization")[0]["r_drop"] == 1.0
    assert "drops nothing" in record.of("r_drop")[0]["why"]
    assert "drops nothing" in caplog.text


def test_a_loss_that_is_not_finite_is_seen_though_the_first_pass_was_fine(tmp_path: Path) -> None:
    class Steep(Small):
        def rest(self, rows: Any, ids: Any) -> Any:
            return super().rest(rows, ids) * (float("nan") if len(self.seen) == 2 else 1.0)

    trainer = make_regularized(tmp_path, SPECS["fgm"], model=Steep(), **ONE_STEP)
    inputs = {"input_ids": paddle.to_tensor(Padded(4).ids), "labels": paddle.to_tensor([0, 1, 2, 0])}
    assert not np.isfinite(float(trainer.training_step(trainer.model, inputs)))


def encoder(kind: str) -> Encoder:
    settings = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    paddle.seed(0)
    return Encoder(
        vocabulary_size=30,
        dimension=16,
        num_labels=LABELS,
        architecture=f"{kind}ForSequenceClassification",
        settings={**settings, "max_position_embeddings": 16, "pad_token_id": 0},
    )


@pytest.mark.parametrize("name", ["all_fgm", "all_freelb"])
def test_activations_may_be_computed_again(tmp_path: Path, name: str) -> None:
    found = []
    for again in (False, True):
        watch, model = Gradients(), encoder("Ernie")
        model.network.ernie.encoder.enable_recompute = again
        make_regularized(tmp_path, SPECS[name], watch, model=model, recompute=again, **ONE_STEP).train()
        found.append(watch.found[0])
    for key, value in found[0].items():
        np.testing.assert_array_equal(found[1][key], value, err_msg=key)


@pytest.mark.parametrize("kind", ["Bert", "Ernie", "Roberta"])
def test_encoders_of_paddlenlp_are_perturbed_by_the_stated_length_padding_excepted(tmp_path: Path, kind: str) -> None:
    model = encoder(kind)
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    trainer = make_regularized(tmp_path, SPECS["fgm"], model=model, **ONE_STEP)
    step = trainer.training_step

    def watched_step(*arguments: Any, **options: Any) -> Any:
        # Hooks run in the order in which they came, so this one must come after that of the regularisation.
        first = model.get_input_embeddings().register_forward_pre_hook(watch)
        try:
            return step(*arguments, **options)
        finally:
            first.remove()

    def watch(layer: Any, inputs: Any) -> None:
        helper = layer.register_forward_post_hook(lambda _, given, rows: seen.append((given[0].numpy(), rows.numpy())))
        helpers.append(helper)

    helpers: list[Any] = []
    trainer.training_step = watched_step
    trainer.train()
    for helper in helpers:
        helper.remove()
    ids, plain = seen[0]
    change = seen[-1][1] - plain
    assert (change[ids == 0] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(change.reshape(len(ids), -1), axis=1), 0.7, rtol=1e-4)


def test_a_model_states_its_padding_before_its_layer_does() -> None:
    model = Small()
    assert EmbeddingHooks(model).padding == 0
    model.padding_id = 7
    assert EmbeddingHooks(model).padding == 7
    assert EmbeddingHooks(Toy()).padding is None


class Functional(Small):
    """Looks rows up without calling its nn.Embedding."""

    def forward(self, input_ids: Any) -> Any:
        return self.rest(paddle.nn.functional.embedding(input_ids, self.embedding.weight), input_ids)


@pytest.mark.parametrize("name", ["embedding_dropout", "fgm", "freelb"])
def test_a_model_that_bypasses_its_layer_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=r"without calling an nn.Embedding.*such a model can use label_smoothing"):
        make_regularized(tmp_path, SPECS[name], model=Functional(), **ONE_STEP).train()


def test_a_model_whose_table_no_layer_looks_up_is_refused_at_once(tmp_path: Path) -> None:
    class Bare(paddle.nn.Layer):
        embedding_parameter = "table"

        def __init__(self) -> None:
            super().__init__()
            self.table = self.create_parameter([30, LABELS])

        def forward(self, input_ids: Any) -> Any:
            return paddle.nn.functional.embedding(input_ids, self.table).mean(axis=1)

    with pytest.raises(RecipeError, match="'table' without calling"):
        make_regularized(tmp_path, SPECS["fgm"], model=Bare())


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (None, "has no criterion"),
        (paddle.nn.NLLLoss(), "is NLLLoss"),
        (paddle.nn.CrossEntropyLoss(reduction="sum"), "reduction='sum'"),
        (paddle.nn.CrossEntropyLoss(soft_label=True), "soft_label=True"),
    ],
)
def test_smoothing_another_loss_is_refused(tmp_path: Path, criterion: Any, message: str) -> None:
    trainer = make_trainer(tmp_path)
    trainer.criterion = criterion
    with pytest.raises(RecipeError, match=rf"label_smoothing is 0.2, but .*{message}.*expected the loss cross_entropy"):
        regularize(trainer, SPECS["label_smoothing"])


def test_r_drop_finds_logits_by_place_and_by_name_and_refuses_what_has_none(tmp_path: Path) -> None:
    class Gives(Toy):
        def forward(self, input_ids: Any) -> Any:
            return {"logits": super().forward(input_ids)}

    class Summed(Toy):
        def forward(self, input_ids: Any, labels: Any) -> Any:
            loss = paddle.nn.functional.cross_entropy(super().forward(input_ids), labels)
            return loss, loss

    class WithLoss(Toy):
        def forward(self, input_ids: Any, labels: Any) -> Any:
            logits = super().forward(input_ids)
            return paddle.nn.functional.cross_entropy(logits, labels), logits, logits

    for kind, criterion in ((Gives, lambda found, labels: found["logits"].mean()), (WithLoss, None), (Summed, None)):
        trainer = make_trainer(tmp_path, model=kind(), **ONE_STEP)
        trainer.criterion = criterion
        regularize(trainer, SPECS["r_drop"])
        if kind is Summed:
            with pytest.raises(HostError, match=r"needs the model's logits.*tensor of shape \(\)"):
                trainer.train()
        else:
            trainer.train()


def test_nothing_is_wrapped_where_nothing_is_on_and_nothing_twice(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    assert regularize(trainer, RegularizationSpec()) == []
    assert "training_step" not in vars(trainer)
    assert len(regularize(trainer, SPECS["fgm"])) == 1
    with pytest.raises(HostError, match="regularised already"):
        regularize(trainer, SPECS["fgm"])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RegularizationSpec, {"embedding_dropout": 1.0}, "embedding_dropout must be 0 or more and below 1, got 1.0"),
        (RegularizationSpec, {"label_smoothing": -0.1}, "label_smoothing must be .*got -0.1"),
        (RegularizationSpec, {"r_drop": -1.0}, "r_drop must be 0 or more, got -1.0"),
        (RegularizationSpec, {"r_drop": float("nan")}, "r_drop must be a finite number"),
        (RegularizationSpec, {"adversarial": {"kind": "pgd"}}, "adversarial.kind is 'pgd'.*expected fgm or freelb"),
        (AdversarialSpec, {"epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
        (AdversarialSpec, {"steps": 3}, "kind fgm takes epsilon alone"),
        (AdversarialSpec, {"kind": "freelb", "steps": 0}, "steps must be 1 or more, got 0"),
        (AdversarialSpec, {"kind": "freelb", "step_size": -1.0}, "step_size must be above 0, got -1.0"),
    ],
)
def test_specifications_that_cannot_be_are_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        kind(**options)


def test_defaults_are_those_of_the_kind() -> None:
    assert AdversarialSpec() == AdversarialSpec(kind="fgm", epsilon=1.0)
    assert AdversarialSpec(kind="freelb") == AdversarialSpec(kind="freelb", epsilon=0.5, step_size=0.1, steps=3)
    assert RegularizationSpec().is_empty
