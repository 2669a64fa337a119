"""Clipping of rows, groups and all gradients together, against numpy, and what it makes of accumulated and scaled gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.config.recipe import ClipSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.training.callbacks import GradientClippingCallback, clip_norm, clip_rows
from tests.host import TrainerCallback
from tests.toy import ROWS, Snapshots, Toy, make_trainer

Gradients = dict[str, npt.NDArray[Any]]

GROUPS = {"embedding": ["embedding.*"], "encoder": ["encoder.*"], "head": ["classifier.*", "norm.*"]}
ALL_KINDS = {"row_norm": 0.01, "group_norms": {"encoder": 0.02, "head": 0.04}, "global_norm": 0.03}
"""Limits that all bind in every step of the toy."""


def recipe(clip: Mapping[str, Any] | None, **parts: Any) -> embtune.Recipe:
    """Three groups, a constant rate, and nothing but clipping, unless asked for."""
    groups = [{"name": name, "parameters": patterns, "rate": 0.01, "weight_decay": 0.1} for name, patterns in GROUPS.items()]
    nothing = dict.fromkeys(("freeze", "early_stopping", "health"))
    schedule = {"kind": "constant", "warmup_ratio": 0.0}
    return embtune.Recipe.from_dict({"groups": groups, "schedule": schedule, "clip": clip, **nothing, **parts})


def gradients_of(model: Any) -> Gradients:
    return {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.grad is not None and not p.stop_gradient}


def norm(gradients: Mapping[str, npt.NDArray[Any]]) -> float:
    return float(np.sqrt(sum(np.square(gradient.astype(np.float64)).sum() for gradient in gradients.values())))


def clipped(gradients: Gradients, spec: Mapping[str, Any]) -> Gradients:
    """What clipping must give, in float64: rows first, then groups, then all together."""
    result = {name: gradient.astype(np.float64) for name, gradient in gradients.items()}
    if "row_norm" in spec and (table := result.get("embedding.weight")) is not None:
        lengths = np.linalg.norm(table, axis=1, keepdims=True)
        limit = spec["row_norm"]
        result["embedding.weight"] = table * np.where(lengths > limit, limit / np.maximum(lengths, 1e-30), 1.0)
    for group, limit in spec.get("group_norms", {}).items():
        members = [name for name in result if any(name.startswith(pattern[:-1]) for pattern in GROUPS[group])]
        length = norm({name: result[name] for name in members})
        result.update({name: result[name] * min(1.0, limit / length) for name in members})
    if spec.get("global_norm") is not None:
        factor = min(1.0, spec["global_norm"] / norm(result))
        result = {name: gradient * factor for name, gradient in result.items()}
    return result


class Look(TrainerCallback):
    """The gradients of every step as this callback finds them."""

    def __init__(self) -> None:
        self.gradients: list[Gradients] = []

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.gradients.append(gradients_of(kwargs["model"]))


def train(folder: Path, chosen: embtune.Recipe, *, model: Any = None, **arguments: Any) -> tuple[Look, Look, Snapshots]:
    """Train; return the gradients before and after the recipe's callbacks, and the weights."""
    before, after, weights = Look(), Look(), Snapshots()
    trainer = make_trainer(folder, before, weights, model=model, **arguments)
    embtune.attach(trainer, chosen)
    trainer.add_callback(after)
    trainer.train()
    return before, after, weights


def assert_close(found: Mapping[str, Any], expected: Mapping[str, Any], *, rtol: float, atol: float) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=atol, err_msg=name)


# --- the functions --------------------------------------------------------------------------------------------------------


def test_gradients_above_the_limit_are_scaled_by_one_factor() -> None:
    values = [np.array([[3.0, 0.0], [0.0, 4.0]], np.float32), np.array([12.0], np.float32)]
    gradients = [paddle.to_tensor(value) for value in values]
    assert clip_norm(gradients, 6.5) == pytest.approx(13.0)
    for gradient, value in zip(gradients, values, strict=True):
        np.testing.assert_allclose(gradient.numpy(), value / 2, rtol=1e-6)


@pytest.mark.parametrize("limit", [13.0, 1e9])
def test_gradients_within_the_limit_keep_their_bits(limit: float) -> None:
    values = np.array([5.0, 12.0], np.float32)
    gradient = paddle.to_tensor(values)
    clip_norm([gradient], limit)
    clip_rows(gradient.unsqueeze(0), limit)
    np.testing.assert_array_equal(gradient.numpy(), values)


def test_nothing_to_clip_has_no_norm() -> None:
    assert clip_norm([], 1.0) == 0.0


def test_rows_are_clipped_one_by_one() -> None:
    values = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32) * np.linspace(0, 2, 40, dtype=np.float32)[:, None]
    lengths = np.linalg.norm(values, axis=1)
    gradient = paddle.to_tensor(values)
    assert clip_rows(gradient, 1.5) == int((lengths > 1.5).sum()) > 0
    long = lengths > 1.5
    np.testing.assert_array_equal(gradient.numpy()[~long], values[~long])
    np.testing.assert_allclose(gradient.numpy()[long], values[long] * (1.5 / lengths[long])[:, None], rtol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_gradients_whose_norm_is_not_finite_are_left_alone(bad: float) -> None:
    values = [np.array([bad, 3.0], np.float32), np.array([5.0], np.float32)]
    gradients = [paddle.to_tensor(value) for value in values]
    assert not np.isfinite(clip_norm(gradients, 1.0))
    for gradient, value in zip(gradients, values, strict=True):
        np.testing.assert_array_equal(gradient.numpy(), value)


@pytest.mark.parametrize(
    "bad",
    [
        float("nan"),
        pytest.param(float("inf")),
    ],
)
def test_rows_whose_norm_is_not_finite_are_left_alone(bad: float) -> None:
    values = np.array([[bad, 3.0], [3.0, 4.0]], np.float32)
    gradient = paddle.to_tensor(values)
    clip_rows(gradient, 1.0)
    np.testing.assert_allclose(gradient.numpy(), [values[0], values[1] / 5], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_in_half_precision_are_clipped_too(dtype: str) -> None:
    """Paddle's own clip has no kernel for them on a CPU."""
    gradient = paddle.full([4, 4], 2.0).astype(dtype)
    assert clip_norm([gradient], 1.0) == pytest.approx(8.0, rel=1e-2)
    np.testing.assert_allclose(gradient.astype("float32").numpy(), 0.25, rtol=1e-2)


# --- in training ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clip",
    [
        {"global_norm": 0.05},
        {"global_norm": None, "group_norms": {"encoder": 0.02, "head": 0.03}},
        {"global_norm": None, "row_norm": 0.01},
        ALL_KINDS,
    ],
    ids=["global", "groups", "rows", "all"],
)
def test_every_step_is_clipped_by_rows_then_groups_then_all_together(tmp_path: Path, clip: dict[str, Any]) -> None:
    before, after, _ = train(tmp_path, recipe(clip), evaluation_strategy="no")
    assert len(before.gradients) == len(after.gradients) == 12
    for raw, found in zip(before.gradients, after.gradients, strict=True):
        assert_close(found, clipped(raw, clip), rtol=1e-4, atol=1e-9)
        assert norm(found) < 0.95 * norm(raw)


def test_another_order_would_give_another_result(tmp_path: Path) -> None:
    before, after, _ = train(tmp_path, recipe(ALL_KINDS), max_steps=1, evaluation_strategy="no")
    parts = [{"row_norm": 0.01}, {"group_norms": ALL_KINDS["group_norms"]}, {"global_norm": 0.03}]
    found = {}
    for order in ((0, 1, 2), (2, 1, 0)):
        found[order] = before.gradients[0]
        for number in order:
            found[order] = clipped(found[order], parts[number])
    name = "embedding.weight"
    np.testing.assert_allclose(after.gradients[0][name], found[0, 1, 2][name], rtol=1e-4, atol=1e-9)
    assert np.abs(found[2, 1, 0][name] - found[0, 1, 2][name]).max() > 0.1 * np.abs(found[0, 1, 2][name]).max()


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_batches_train_as_one_large_batch_does_under_a_whole_recipe(tmp_path: Path, parts: int) -> None:
    chosen = recipe(
        ALL_KINDS,
        freeze={"groups": ["encoder", "embedding"], "gradual": True, "unfreeze_at_epoch": 1, "warmup_steps": 2},
        rows={"protect": [3, 5], "trust_cosine": 0.99, "trust_every_steps": 3},
        early_stopping={"metric": "accuracy", "patience_evals": 9, "restore_best": False},
        schedule={"kind": "cosine", "warmup_ratio": 0.1},
        health={},
    )
    options: dict[str, Any] = {"num_train_epochs": 4}
    _, large, whole = train(tmp_path, chosen, per_device_train_batch_size=16, **options)
    sizes = {"per_device_train_batch_size": 16 // parts, "gradient_accumulation_steps": parts}
    _, small, accumulated = train(tmp_path, chosen, **sizes, **options)
    assert len(small.gradients) == len(large.gradients) == 16
    for found, expected in zip(small.gradients, large.gradients, strict=True):
        assert_close(found, expected, rtol=1e-3, atol=1e-6)
    for found, expected in zip(accumulated.weights, whole.weights, strict=True):
        assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(whole.weights[-1]["embedding.weight"] - whole.weights[0]["embedding.weight"]).max() > 1e-2


class OwnBatches(TrainerCallback):
    """Counts the updates that were not made from exactly the batches since the last one in their epoch."""

    def __init__(self) -> None:
        self.strange: list[int] = []
        self._batches: list[Mapping[str, Any]] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._batches = []

    def on_load_data_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._batches.append(dict(kwargs["inputs"]))

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        twin = Toy()
        twin.set_state_dict(kwargs["model"].state_dict())
        for batch in self._batches:
            loss = paddle.nn.functional.cross_entropy(twin(batch["input_ids"]), batch["labels"])
            (loss / len(self._batches)).backward()
        expected, found = gradients_of(twin), gradients_of(kwargs["model"])
        if not all(np.allclose(found[name], value, rtol=1e-3, atol=1e-6) for name, value in expected.items()):
            self.strange.append(int(state.global_step))
        self._batches = []


@pytest.mark.parametrize(("attached", "strange"), [(True, []), (False, [4, 8])])
def test_a_leftover_batch_does_not_leak_into_the_next_epoch(tmp_path: Path, attached: bool, strange: list[int]) -> None:
    batches = OwnBatches()
    # Nine batches, accumulated by two.
    sizes = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "rows": ROWS + 8}
    trainer = make_trainer(tmp_path, batches, **sizes)
    if attached:
        embtune.attach(trainer, recipe(ALL_KINDS))
    trainer.train()
    assert batches.strange == strange


# --- precision ------------------------------------------------------------------------------------------------------------


class Scaler:
    """What a callback sees of ``paddle.amp.GradScaler``, which is always switched off on a CPU, and has no scale then."""

    def __init__(self, scale: float | None) -> None:
        self._scale = paddle.to_tensor([scale]) if scale is not None else None


def clip_scaled(folder: Path, scale: float, scaler: Scaler) -> tuple[Gradients, Gradients]:
    """Gradients of a loss that is multiplied by a scale, before and after clipping."""
    model = Toy()
    trainer = make_trainer(folder, model=model)
    callback = GradientClippingCallback(ClipSpec(**ALL_KINDS), groups=GROUPS)
    callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=model)
    logits = model(paddle.to_tensor(trainer.train_dataset.ids))
    loss = paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(trainer.train_dataset.labels))
    (loss * scale).backward()
    raw = gradients_of(model)
    callback.on_optimizer_begin(trainer.args, trainer.state, trainer.control, model=model, scaler=scaler)
    return raw, gradients_of(model)


def test_under_a_loss_scale_the_limits_are_scaled_with_the_gradients(tmp_path: Path) -> None:
    raw, found = clip_scaled(tmp_path, 1024.0, Scaler(1024.0))
    without = {name: gradient / 1024.0 for name, gradient in raw.items()}
    scaled = {name: gradient * 1024.0 for name, gradient in clipped(without, ALL_KINDS).items()}
    assert_close(found, scaled, rtol=1e-4, atol=1e-6)


def test_a_scaler_that_is_switched_off_scales_nothing(tmp_path: Path) -> None:
    raw, found = clip_scaled(tmp_path, 1.0, Scaler(None))
    assert_close(found, clipped(raw, ALL_KINDS), rtol=1e-4, atol=1e-9)


class RoundedToy(Toy):
    """Rounds what its layers pass on, and the gradients on their way back, to bfloat16.

    Paddle switches autocast off on a CPU ("amp_guard can only be enabled on CUDAPlace"), where it has no bfloat16 kernels to
    multiply with; and attach refuses ``bf16`` there.
    """

    def forward(self, input_ids: Any) -> Any:
        rounded = self.embedding(input_ids).astype("bfloat16").astype("float32")
        hidden = self.norm(rounded.mean(axis=1)).astype("bfloat16").astype("float32")
        return self.classifier(paddle.tanh(self.encoder(hidden)).astype("bfloat16").astype("float32"))


def test_with_values_rounded_to_bfloat16_training_clips_and_stays_finite(tmp_path: Path) -> None:
    before, after, weights = train(tmp_path, recipe(ALL_KINDS), model=RoundedToy())
    assert len(after.gradients) == 12
    for raw, found in zip(before.gradients, after.gradients, strict=True):
        assert_close(found, clipped(raw, ALL_KINDS), rtol=1e-4, atol=1e-9)
    first, *_, last = weights.weights
    for name, value in last.items():
        assert np.isfinite(value).all(), name
        assert np.abs(value - first[name]).max() > 1e-3, name


# --- recipes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ({"global_norm": None}, "clip is empty"),
        ({"global_norm": 0.0}, "global_norm must be above 0, got 0.0"),
        ({"row_norm": -1.0}, "row_norm must be above 0, got -1.0"),
        ({"group_norms": {"head": 0.0}}, "group_norms of 'head' must be above 0, got 0.0"),
    ],
)
def test_limits_without_sense_are_refused_when_the_recipe_is_read(clip: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(clip)


def test_a_limit_for_a_group_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"clip\.group_norms names the group 'encodr'; did you mean 'encoder'"):
        embtune.attach(make_trainer(tmp_path), recipe({"group_norms": {"encodr": 1.0}}))


@pytest.mark.parametrize("groups", [None, {"head": ("classifier.*",)}])
def test_the_callback_alone_knows_only_the_groups_it_was_given(groups: Mapping[str, Sequence[str]] | None) -> None:
    with pytest.raises(RecipeError, match=r"names the group 'encoder'; expected (none given|head)"):
        GradientClippingCallback(ClipSpec(group_norms={"encoder": 1.0}), groups=groups)
