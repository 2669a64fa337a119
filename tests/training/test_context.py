"""What ``setup`` hands to callbacks, on a Trainer that somebody else built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune import Recipe, RecipeError, hookimpl
from paddlenlp_embtune.config import ScheduleSpec
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training import TrainingContext
from paddlenlp_embtune.training.callbacks import EmbtuneCallback
from tests.toy import VOCABULARY, ToyData, make_trainer

RECIPE = Recipe(early_stopping=None, freeze=None, schedule=ScheduleSpec(kind="constant", warmup_ratio=0.0))


class Curious(EmbtuneCallback):
    """Lowers the learning rate of the embedding's group before the second epoch, and evaluates and logs on the way."""

    context: TrainingContext

    def setup(self, context: TrainingContext) -> None:
        super().setup(context)
        self.context = context
        self.found: list[Mapping[str, float]] = []
        self.logged: list[float] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert (self.context.state, self.context.control) == (state, control)
        if state.global_step == 4:
            self.context.scale_learning_rate(self.context.group_of("embedding.weight"), 0.5)
            self.found.append(self.context.evaluate())
            self.context.log({"curious": 1.0})

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.logged += [value for name, value in kwargs["logs"].items() if name == "curious"]


@pytest.fixture
def curious() -> Any:
    """The callback, which a plugin brings to every run of the test."""
    callback = Curious()

    class Plugin:
        __name__ = "curious"

        @hookimpl
        def embtune_register_callbacks(self, context: TrainingContext) -> list[Any]:
            self.context = context
            return [callback]

    callback.plugin = Plugin()  # type: ignore[attr-defined]
    former = registry.use(registry.load(plugins=[callback.plugin], installed=False))  # type: ignore[attr-defined]
    yield callback
    registry.use(former)


def test_a_callback_of_a_plugin_is_set_up_with_the_run(tmp_path: Path, curious: Any) -> None:
    trainer = make_trainer(tmp_path)
    record = embtune.attach(trainer, RECIPE, tokens=[f"t{row}" for row in range(VOCABULARY)])
    context = curious.context
    assert context is curious.plugin.context
    assert context.record is record is curious.record
    assert (context.trainer, context.model, context.recipe) == (trainer, trainer.model, RECIPE)
    assert context.tokens[3] == context.monitored_rows.tokens[3] == "t3"
    assert context.datasets == [trainer.train_dataset, trainer.eval_dataset]
    assert sum(len(group.parameters) for group in context.groups) == len(trainer.model.parameters())
    np.testing.assert_array_equal(context.token_counts, np.bincount(ToyData().ids.ravel(), minlength=VOCABULARY))
    trainer.train()
    assert [metrics["eval_accuracy"] for metrics in curious.found] == [pytest.approx(curious.found[0]["eval_accuracy"])]
    assert [(event["group"], event["factor"]) for event in record.of("rate_scaled")] == [("embedding", 0.5)]
    assert [event["rates"]["embedding"] for event in record.of("rates")] == pytest.approx([5e-5] * 2 + [2.5e-5] * 4)
    assert curious.logged == [1.0]


def test_the_context_cannot_be_changed_and_names_the_parameters_there_are(tmp_path: Path, curious: Any) -> None:
    embtune.attach(make_trainer(tmp_path), RECIPE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        curious.context.recipe = None
    with pytest.raises(RecipeError, match=r"no parameter 'embeding.weight'; .*did you mean 'embedding.weight'\?"):
        curious.context.group_of("embeding.weight")


def test_data_without_ids_has_no_token_counts(tmp_path: Path, curious: Any) -> None:
    trainer = make_trainer(tmp_path)
    trainer.train_dataset = [trainer.train_dataset[index] for index in range(4)]
    embtune.attach(trainer, RECIPE)
    assert curious.context.token_counts is None


def test_a_callback_without_setup_keeps_its_own_record(tmp_path: Path) -> None:
    alone = embtune.training.callbacks.FreezingCallback(("embedding.*",), unfreeze_at_epoch=1)
    make_trainer(tmp_path, alone).train()
    assert [event["what"] for event in alone.record.of("phase")] == ["frozen", "released"]
