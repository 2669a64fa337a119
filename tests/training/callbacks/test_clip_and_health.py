"""Clipping and the health of the embedding."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.training.callbacks import EmbeddingHealthCallback, GlobalNormClippingCallback, ResumeCallback
from tests.host import TrainerCallback
from tests.toy import Snapshots, Toy, make_trainer, new_process


def test_clipping_is_the_hosts_own_global_norm_clipping(tmp_path: Path) -> None:
    ours, theirs = Snapshots(), Snapshots()
    make_trainer(tmp_path, GlobalNormClippingCallback(0.05), ours, max_grad_norm=0.0).train()
    make_trainer(tmp_path, theirs, max_grad_norm=0.05).train()
    for name, value in theirs.weights[-1].items():
        np.testing.assert_allclose(ours.weights[-1][name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_accumulated_gradients_are_clipped_like_one_large_batch(tmp_path: Path) -> None:
    whole, parts = Snapshots(), Snapshots()
    options: dict[str, Any] = {"max_grad_norm": 0.0, "num_train_epochs": 2}
    make_trainer(tmp_path, GlobalNormClippingCallback(0.05), whole, per_device_train_batch_size=16, **options).train()
    make_trainer(
        tmp_path,
        GlobalNormClippingCallback(0.05),
        parts,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        **options,
    ).train()
    for name, value in whole.weights[-1].items():
        np.testing.assert_allclose(parts.weights[-1][name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_health_measures_what_happened(tmp_path: Path) -> None:
    class Turn(TrainerCallback):
        """Turns row 3 around, doubles row 4."""

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            table = start.copy()
            table[3] *= -1.0
            table[4] *= 2.0
            kwargs["model"].embedding.weight.set_value(table)

    model = Toy()
    start = model.embedding.weight.numpy().copy()
    health = EmbeddingHealthCallback(
        gradient_every_steps=1, tokens=[f"t{row}" for row in range(30)], measures={"sum": lambda start, now: float(now.sum())}
    )
    make_trainer(tmp_path, Turn(), health, model=model, num_train_epochs=1).train()
    (check,) = health.checks
    assert check["rows_moved"] == 2
    assert check["cosine_drift_mean"] == pytest.approx(1.0, abs=1e-6)  # of 2 and 0
    assert check["norm_drift_mean"] == pytest.approx(0.5, abs=1e-6)  # of 0 and 1
    assert check["worst"][0] == ["t3", pytest.approx(2.0, abs=1e-4)]
    assert check["gradient_norm"] > 0
    assert check["gradient_mean"] > 0
    assert "sum" in check


def test_an_embedding_that_runs_away_raises_the_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    health = EmbeddingHealthCallback(drift_alarm=0.2)
    with caplog.at_level(logging.WARNING, logger="paddlenlp_embtune"):
        make_trainer(tmp_path, health, learning_rate=1.0).train()
    assert [event["event"] for event in health.record.events].count("alarm") >= 1
    assert "drift: cosine_drift_mean is" in caplog.text


def test_a_quiet_run_raises_none(tmp_path: Path) -> None:
    health = EmbeddingHealthCallback()
    make_trainer(tmp_path, health, learning_rate=1e-3).train()
    assert not health.record.of("alarm")


def test_drift_is_measured_from_the_first_start_after_a_restart(tmp_path: Path) -> None:
    first, second = EmbeddingHealthCallback(), EmbeddingHealthCallback()
    with new_process():
        make_trainer(tmp_path, ResumeCallback(), first, save_strategy="epoch").train()
    with new_process():
        make_trainer(tmp_path, ResumeCallback(), second, save_strategy="epoch").train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-8")
        )
    assert second.checks[-1]["cosine_drift_mean"] == pytest.approx(first.checks[-1]["cosine_drift_mean"], rel=1e-5)


def test_the_embedding_of_a_strangers_model_is_found_or_asked_for() -> None:
    assert embedding_name(Toy()) == "embedding.weight"
    two = paddle.nn.LayerList([paddle.nn.Embedding(5, 2), paddle.nn.Embedding(5, 2)])
    with pytest.raises(HostError, match="set embedding_parameter"):
        embedding_name(two)
