"""Masked-language training: it learns, is written whole, goes on after a kill, and the recipe takes what it wrote."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paddlenlp_embtune.training.mlm as pretraining
from paddlenlp_embtune.compat.onednn import require_bf16
from paddlenlp_embtune.encoders.loading import load_encoder
from paddlenlp_embtune.encoders.masked_head import MASKED_HEAD
from paddlenlp_embtune.encoders.saving import save_encoder
from paddlenlp_embtune.errors import DataError, HostError, RecipeError
from paddlenlp_embtune.text import Vocabulary, WordPieceTokenizer
from paddlenlp_embtune.training.mlm import PretrainingSpec, continue_pretraining
from tests.encoders import tiny_encoder
from tests.helpers import Run

PHRASES = ("公司业绩大增", "净利润超预期", "控股股东减持", "回购股份利好", "退市风险警示", "业绩下滑亏损")
TEXTS = [first + second for first in PHRASES for second in PHRASES]
QUICK = PretrainingSpec(epochs=4, batch_size=4, max_length=16, learning_rate=2e-3)


def test_hidden_tokens_are_guessed_better(tmp_path: Path) -> None:
    found = tiny_encoder()
    texts = [text + phrase for text in TEXTS for phrase in PHRASES]
    spec = dataclasses.replace(QUICK, epochs=5, batch_size=8, max_length=32)
    result = continue_pretraining(found, [*texts, "", texts[0]], tmp_path / "tuned", spec)
    assert result.texts + result.held_out == len(texts)
    assert result.loss_after < 0.9 * result.loss_before
    tuned = load_encoder(str(tmp_path / "tuned"))
    assert tuned.tokenizer.vocabulary.tokens == found.tokenizer.vocabulary.tokens
    assert tuned.pooling == found.pooling
    assert set(tuned.masked_head) == set(MASKED_HEAD)
    moved = np.abs(tuned.table - found.table).max(axis=1)
    seen = {number for text in TEXTS for number in found.tokenizer.encode(text)} - {2, 3}
    assert moved[sorted(seen)].min() > 1e-3
    assert not (tmp_path / "tuned.checkpoints").exists()


def test_a_killed_run_ends_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dataclasses.replace(QUICK, epochs=2, checkpoint_seconds=0.0)
    continue_pretraining(tiny_encoder(), TEXTS, tmp_path / "whole", spec)
    monkeypatch.setattr(pretraining, "save_encoder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    from paddlenlp_embtune.training._mlm_trainer import MaskedTrainer

    step, steps = MaskedTrainer.training_step, []

    def until_killed(self: MaskedTrainer, *arguments: object, **options: object) -> object:
        steps.append(1)
        if len(steps) == 15:
            raise KeyboardInterrupt
        return step(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MaskedTrainer, "training_step", until_killed)
        with pytest.raises(KeyboardInterrupt):
            continue_pretraining(tiny_encoder(), TEXTS, tmp_path / "cut", spec)
    assert (tmp_path / "cut.checkpoints").is_dir()
    monkeypatch.setattr(pretraining, "save_encoder", save_encoder)
    again = continue_pretraining(tiny_encoder(), TEXTS, tmp_path / "cut", spec)
    assert np.isfinite(again.loss_before)
    whole, cut = (load_encoder(str(tmp_path / name)).weights for name in ("whole", "cut"))
    for name, value in whole.items():
        np.testing.assert_array_equal(cut[name], value, err_msg=name)


def test_steps_in_bfloat16_end_near_those_in_float32(tmp_path: Path) -> None:
    try:
        require_bf16()
    except HostError as error:
        pytest.skip(f"bfloat16 is not multiplied here: {error}")
    ends = []
    for precision in ("fp32", "bf16"):
        spec = dataclasses.replace(QUICK, epochs=1, precision=precision)
        result = continue_pretraining(tiny_encoder(), TEXTS, tmp_path / precision, spec)
        ends.append((result.loss_after, load_encoder(str(result.folder)).table))
    assert ends[1][0] == pytest.approx(ends[0][0], abs=0.05)
    np.testing.assert_allclose(ends[1][1], ends[0][1], atol=0.02)
    assert (ends[1][1] != ends[0][1]).any()


def test_the_command(tmp_path: Path, run: Run) -> None:
    save_encoder(tiny_encoder(), tmp_path / "tiny")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    out = tmp_path / "tuned"
    options = ("--texts", tmp_path / "texts.txt", "--out", out, "--epochs", "1", "--max-length", "16", "--json")
    code, told, said = run("pretrain", tmp_path / "tiny", *options)
    assert code == 0, said
    assert json.loads(told)["steps"] == 4
    assert "nats" in said
    assert "loss" in said.partition("nats")[0]
    assert said.count("epoch") >= 2
    code, _, said = run("pretrain", tmp_path / "tiny", *options)
    assert code == 2
    assert "choose another --out, or pass --overwrite" in " ".join(said.split())
    assert run("pretrain", tmp_path / "tiny", *options, "--overwrite")[0] == 0


def test_only_an_encoder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(
        RecipeError, match=r"thesis holds chapter\.txt but no config\.json, so it is no encoder and will not be"
    ):
        continue_pretraining(tiny_encoder(), TEXTS, tmp_path / "thesis", QUICK, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "precious"


def test_what_another_process_left_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, read = tmp_path / "tuned", pretraining._windows

    def slowly(*arguments: Any) -> Any:
        save_encoder(tiny_encoder(), out)
        return read(*arguments)

    monkeypatch.setattr(pretraining, "_windows", slowly)
    with pytest.raises(RecipeError, match="tuned is not empty"):
        continue_pretraining(tiny_encoder(), TEXTS, out, QUICK)
    assert np.array_equal(load_encoder(str(out)).table, tiny_encoder().table)


def test_what_cannot_be(tmp_path: Path) -> None:
    found = tiny_encoder()
    with pytest.raises(DataError, match="there are 3 different texts; expected 20 or more"):
        continue_pretraining(found, ["一", "二", "三"], tmp_path / "x", QUICK)
    with pytest.raises(RecipeError, match="max_length is 128; expected for a tiny BertModel: at most 64"):
        continue_pretraining(found, TEXTS, tmp_path / "x", PretrainingSpec())
    tokens = [token for token in found.tokenizer.vocabulary.tokens if token != "[MASK]"] + ["x"]
    bare = dataclasses.replace(found, tokenizer=WordPieceTokenizer(Vocabulary(tokens)))
    with pytest.raises(RecipeError, match=r"has no \[MASK\]"):
        continue_pretraining(bare, TEXTS, tmp_path / "x", QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 0), ("max_length", 7), ("learning_rate", 0.0), ("share", 1.0), ("held_out", 0.0)]
)
def test_illegal_values(name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=f"pretraining.{name} must be .*, got {value}"):
        PretrainingSpec(**{name: value})
