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
from paddlenlp_embtune.compat.onednn import _primitives, selection
from paddlenlp_embtune.models import TextCNN
from paddlenlp_embtune.models.pretrained_classifier import classifier_on
from paddlenlp_embtune.training.callbacks import CpuKernelsCallback
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.encoders import tiny_encoder
from tests.host import Trainer, TrainerCallback
from tests.toy import Toy, make_trainer, new_process

RECIPE = embtune.Recipe.from_dict({"freeze": None, "early_stopping": None, "health": None})
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
    folder: Path, model: Any, *callbacks: Any, resumed: bool = False
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Weights at the end, and the events about kernels."""
    with new_process():
        running: Trainer = make_trainer(folder, *callbacks, model=model, save_strategy="steps", save_steps=1)
        record = embtune.attach(running, RECIPE)
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
