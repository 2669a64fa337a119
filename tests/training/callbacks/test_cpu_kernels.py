"""Training on a CPU by either kernel: the same network, equal bits after a kill, and what the record says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.onednn import _primitives, _trial, selection
from paddlenlp_embtune.errors import EmbtuneError, HostError, RecipeError
from paddlenlp_embtune.models import TextCNN
from paddlenlp_embtune.models.pretrained_classifier import classifier_on
from paddlenlp_embtune.training.callbacks import CpuKernelsCallback
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.encoders import tiny_encoder
from tests.host import Trainer, TrainerCallback
from tests.toy import Toy, make_trainer, new_process

PLAIN: dict[str, Any] = {"freeze": None, "early_stopping": None, "health": None}
MODELS = ["textcnn", "encoder"]


class Death(TrainerCallback):
    """Breaks training off before a step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 6:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def multiplied(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """No kernel is selected at the start of a test, and afterwards the former one; gives what oneDNN did."""
    monkeypatch.delenv(selection.KERNELS_VARIABLE, raising=False)
    monkeypatch.setattr(selection, "_chosen", None)
    made: list[Any] = []
    run = _primitives.Primitive.run

    def counted(self: Any, *addresses: int) -> bool:
        made.append(addresses)
        return run(self, *addresses)

    monkeypatch.setattr(_primitives.Primitive, "run", counted)
    return made


def another_process(monkeypatch: pytest.MonkeyPatch, *, selects: str) -> None:
    """Forget the selected kernel, and select another one by measurement from now on."""
    monkeypatch.setattr(selection, "_chosen", None)
    monkeypatch.setattr(selection, "_choose", lambda: onednn.CpuKernels(selects, selects, "measured in a test"))


def network(name: str) -> Any:
    encoder = tiny_encoder()  # seeds Paddle when it is made
    paddle.seed(1)
    if name == "textcnn":
        return TextCNN(vocabulary_size=30, dimension=8, num_labels=3, filters=16, ngram_buckets=0)
    return classifier_on(encoder, encoder.table, num_labels=3, options={})


def trained(
    folder: Path, model: Any, *callbacks: Any, resumed: bool = False, precision: str = "fp32"
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Weights at the end, and the events about kernels."""
    with new_process():
        running: Trainer = make_trainer(folder, *callbacks, model=model, save_strategy="steps", save_steps=1)
        record = embtune.attach(running, embtune.Recipe.from_dict({**PLAIN, "train": {"precision": precision}}))
        running.train(resume_from_checkpoint=str(last_checkpoint(folder)) if resumed else None)
    return {name: value.numpy() for name, value in model.state_dict().items()}, record.of("cpu_kernels")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kernel", ["onednn", "paddle"])
def test_a_killed_run_ends_bit_equal_by_the_kernel_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multiplied: list[Any], name: str, kernel: str
) -> None:
    another_process(monkeypatch, selects=kernel)
    whole, _ = trained(tmp_path / "whole", network(name))
    assert bool(multiplied) is (kernel == "onednn")
    again, _ = trained(tmp_path / "again", network(name))
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", network(name), Death())
    another_process(monkeypatch, selects={"onednn": "paddle", "paddle": "onednn"}[kernel])
    resumed, events = trained(tmp_path / "cut", network(name), resumed=True)
    assert (events[-1]["matmul"], events[-1]["operators"]) == (kernel, kernel)
    assert events[-1]["reason"] == "the checkpoint was made with these"
    for key, value in whole.items():
        np.testing.assert_array_equal(again[key], value, err_msg=key)
        np.testing.assert_array_equal(resumed[key], value, err_msg=key)


@pytest.fixture
def multiplies_bf16() -> None:
    try:
        onednn.require_bf16()
    except HostError as error:
        pytest.skip(f"bfloat16 is not multiplied here: {error}")


def test_a_killed_run_in_bf16_ends_bit_equal_whatever_is_measured_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multiplies_bf16: None
) -> None:
    measured = [_trial.PrecisionTrial(3.0, {})] * 2 + [_trial.PrecisionTrial(0.5, {})]
    monkeypatch.setattr(_trial, "compare_precisions", lambda: measured.pop(0))
    whole, events = trained(tmp_path / "whole", network("encoder"), precision="auto")
    assert (events[-1]["matmul"], events[-1]["precision"]) == ("onednn", "bf16")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", network("encoder"), Death(), precision="auto")
    assert onednn.cpu_kernels().precision == "fp32"  # put back by a run that was broken off as well
    resumed, events = trained(tmp_path / "cut", network("encoder"), resumed=True, precision="auto")
    assert (events[-1]["precision"], events[-1]["reason"]) == ("bf16", "the checkpoint was made with these")
    for key, value in whole.items():
        np.testing.assert_array_equal(resumed[key], value, err_msg=key)


def test_bf16_trains_nearly_the_same_network_in_float32(tmp_path: Path, multiplies_bf16: None) -> None:
    models = {precision: network("encoder") for precision in ("fp32", "bf16")}
    ends = [trained(tmp_path / precision, model, precision=precision)[0] for precision, model in models.items()]
    for key, value in ends[0].items():
        assert ends[1][key].dtype == np.float32
        np.testing.assert_allclose(ends[1][key], value, atol=0.01, err_msg=key)
    assert any((ends[1][key] != value).any() for key, value in ends[0].items())


def test_another_precision_does_not_continue_a_run(tmp_path: Path, multiplies_bf16: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, network("encoder"), Death(), precision="bf16")
    with pytest.raises(RecipeError, match="precision"):
        trained(tmp_path, network("encoder"), resumed=True)


def test_evaluations_and_what_follows_training_are_float32(tmp_path: Path, multiplies_bf16: None) -> None:
    model, ids = network("encoder"), paddle.to_tensor([[2, 3, 4, 5]])
    seen: list[bool] = []

    class Compares(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model.eval()
            with paddle.no_grad():
                inside = model(ids).numpy()
            fresh = network("encoder")
            fresh.set_state_dict(model.state_dict())
            fresh.eval()
            seen.append(np.allclose(inside, fresh(ids).numpy(), rtol=1e-5, atol=1e-6))  # bfloat16 is off by 1e-3
            model.train()

    trained(tmp_path, model, Compares(), precision="bf16")
    assert seen
    assert all(seen)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: network("textcnn"),
            "train.precision is bf16, and nothing in TextCNN would be computed in it; expected fp32 or auto",
        ),
        (lambda: network("encoder"), "the processor does not multiply bfloat16, expected AVX512_BF16 or AMX"),
    ],
    ids=["no layers for it", "no processor for it"],
)
def test_bf16_is_refused_before_training_where_it_would_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, message: str
) -> None:
    def refuse() -> None:
        raise HostError("the processor does not multiply bfloat16, expected AVX512_BF16 or AMX, it has AVX2")

    monkeypatch.setattr(_trial, "check_bf16", refuse)
    with pytest.raises(EmbtuneError, match=message):
        trained(tmp_path, model(), precision="bf16")


@pytest.mark.parametrize("name", MODELS)
def test_both_kernels_train_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ends = []
    for kernel in ("onednn", "paddle"):
        another_process(monkeypatch, selects=kernel)
        model = network(name)
        ends.append(trained(tmp_path / kernel, model)[0])
        assert not any("forward" in vars(layer) for layer in model.sublayers())
    for key, value in ends[0].items():
        np.testing.assert_allclose(ends[1][key], value, atol=2e-3, err_msg=key)


def test_the_record_says_which_kernel_ran_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBTUNE_KERNELS", "paddle")
    _, events = trained(tmp_path, network("textcnn"))
    assert [(event["encoder_operators"], event["matmul"]) for event in events] == [(False, "paddle")]
    assert events[0]["reason"] == "EMBTUNE_KERNELS says so"


def test_a_text_cnn_measures_no_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trial, "compare_precisions", lambda: pytest.fail("measured"))
    _, events = trained(tmp_path, network("textcnn"), precision="auto")
    assert [event["precision"] for event in events] == ["fp32"]


def test_a_model_without_use_for_it_selects_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_choose", lambda: pytest.fail("measured"))
    assert trained(tmp_path, Toy())[1] == []


def test_a_checkpoint_with_another_kernel_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    another_process(monkeypatch, selects="paddle")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, network("textcnn"), Death())
    checkpoint = last_checkpoint(tmp_path)
    assert checkpoint is not None
    (file,) = checkpoint.glob("embtune_CpuKernelsCallback.json")
    assert json.loads(file.read_text(encoding="utf-8"))["matmul"] == "paddle"
    callback = CpuKernelsCallback()
    with pytest.raises(ValueError, match="matmul is 'mkl'"):
        callback.load_state({"matmul": "mkl"})
