"""Checkpoints know what their rows stood for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune import HostError, Recipe, attach
from paddlenlp_embtune.text import describe_vocabulary_difference
from tests import toy
from tests.toy import VOCABULARY, make_trainer, new_process

TOKENS = ["[PAD]", *(f"t{number}" for number in range(1, VOCABULARY))]


def train(folder: Path, tokens: list[str], resume: Path | None = None) -> Any:
    with new_process():
        trainer = make_trainer(folder, save_strategy="steps", save_steps=4, num_train_epochs=2)
        attach(trainer, Recipe.from_dict({"early_stopping": None, "freeze": None}), tokens=tokens)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return trainer


def test_a_checkpoint_of_other_tokens_is_refused_with_the_first_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, TOKENS)
    shifted = ["[PAD]", "new", *TOKENS[1:-1]]
    with pytest.raises(
        HostError, match=r"checkpoint-4 .* id 1 was 't1' and is 'new'; id 2 was 't2' and is 't1'.* 29 of 30 ids"
    ):
        train(tmp_path, shifted, resume=tmp_path / "checkpoint-4")
    train(tmp_path, TOKENS, resume=tmp_path / "checkpoint-4")
    with monkeypatch.context() as changed:
        changed.setattr(toy, "VOCABULARY", VOCABULARY + 1)
        with pytest.raises(HostError, match="1 tokens are new at the end, 'new' first"):
            train(tmp_path, [*TOKENS, "new"], resume=tmp_path / "checkpoint-4")
    (tmp_path / "checkpoint-4" / "embtune_vocabulary.json").write_text("[", encoding="utf-8")
    with pytest.raises(HostError, match=r"checkpoint-4 is damaged: embtune_vocabulary\.json has 1 bytes"):
        train(tmp_path, TOKENS, resume=tmp_path / "checkpoint-4")


@pytest.mark.parametrize(
    ("trained", "now", "told"),
    [
        (["a", "b"], ["a", "b"], ""),
        (["a", "b"], ["a", "c"], "id 1 was 'b' and is 'c'"),
        (["a", "b"], ["a"], "1 tokens are missing at the end, 'b' first"),
        (["a"], ["a", "b", "c"], "2 tokens are new at the end, 'b' first"),
    ],
)
def test_differences_are_told(trained: list[str], now: list[str], told: str) -> None:
    assert describe_vocabulary_difference(trained, now) == told


class Words:
    """A tokenizer as PaddleNLP's are."""

    def get_vocab(self) -> dict[str, int]:
        return {f"w{number}": number for number in range(VOCABULARY - 2)}


def test_tokens_that_nobody_names_are_those_of_the_trainers_tokenizer(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=4, num_train_epochs=1)
    trainer.tokenizer = Words()
    trainer.tokenizer.save_pretrained = lambda folder: None
    attach(trainer, Recipe.from_dict({"early_stopping": None, "freeze": None, "health": None}))
    trainer.train()
    kept = json.loads((tmp_path / "checkpoint-4" / "embtune_vocabulary.json").read_text(encoding="utf-8"))
    assert kept[:2] == ["w0", "w1"]
    assert kept[-2:] == [f"[row {VOCABULARY - 2}]", f"[row {VOCABULARY - 1}]"]
