"""Old checkpoints are dropped, in one process too, where PaddleNLP's Trainer keeps them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.toy import make_trainer

RECIPE = {
    "groups": [{"name": "all", "rate": 0.01}],
    "freeze": None,
    "early_stopping": None,
    "health": None,
}


def saved(folder: Path) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoint-*"))


def run(folder: Path, **arguments: Any) -> Any:
    trainer = make_trainer(folder, save_strategy="steps", save_steps=1, num_train_epochs=2, **arguments)
    embtune.attach(trainer, embtune.Recipe.from_dict(RECIPE))
    trainer.train()
    return trainer


@pytest.mark.parametrize(("limit", "kept"), [(2, [7, 8]), (1, [8]), (None, [1, 2, 3, 4, 5, 6, 7, 8])])
def test_so_many_are_kept(tmp_path: Path, limit: int | None, kept: list[int]) -> None:
    run(tmp_path, save_total_limit=limit)
    assert saved(tmp_path) == kept
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-8"


def test_the_best_one_is_kept(tmp_path: Path) -> None:
    trainer = run(
        tmp_path,
        save_total_limit=2,
        evaluation_strategy="steps",
        eval_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=True,
    )
    best = int(Path(trainer.state.best_model_checkpoint).name.rpartition("-")[2])
    assert saved(tmp_path) == sorted({best, 7, 8})


def test_one_that_is_ahead_stays(tmp_path: Path) -> None:
    run(tmp_path, save_total_limit=2)
    (tmp_path / "checkpoint-8").rename(tmp_path / "checkpoint-99")
    run(tmp_path, save_total_limit=2)
    assert saved(tmp_path) == [7, 8, 99]
