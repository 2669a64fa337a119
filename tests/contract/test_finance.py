"""The finance texts are those that the script writes, and the bundle orders sentences that differ in one place."""

from __future__ import annotations

import re

import numpy as np
import pytest

from examples.finance import minimal_pairs, write_texts
from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.data import Examples, read_examples
from paddlenlp_embtune.inference import Predictor

LIMIT_BYTES = 6_000_000


def part(name: str) -> Examples:
    return read_examples(FINANCE / f"{name}.tsv", text_column="text", label_column="label")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(FINANCE / "bundle", num_threads=1)


def test_texts_are_those_that_the_script_writes() -> None:
    for name, rows in write_texts.written().items():
        lines = (FINANCE / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        assert lines == ["\t".join(row) for row in [write_texts.Row._fields, *rows]]


def test_no_held_out_text_is_nearly_a_training_text() -> None:
    training = write_texts.index(list(part("train").texts))
    for name in ("dev", "test"):
        assert max(write_texts.most_alike(text, training) for text in part(name).texts) < write_texts.ALIKE


def test_no_minimal_pair_is_worded_like_a_training_text() -> None:
    pairs = minimal_pairs.read()
    assert len(pairs) >= 300
    training = write_texts.index(list(part("train").texts))
    shares = {text: write_texts.most_alike(text, training) for pair in pairs for text in pair}
    assert {text: share for text, share in shares.items() if share >= write_texts.ALIKE} == {}


def test_minimal_pairs_are_in_order(predictor: Predictor) -> None:
    assert minimal_pairs.share_in_order(predictor, minimal_pairs.read()) >= 0.85


def test_the_bundle_is_small() -> None:
    assert sum(file.stat().st_size for file in (FINANCE / "bundle").rglob("*") if file.is_file()) <= LIMIT_BYTES


def test_the_card_states_the_accuracy_of_the_bundle(predictor: Predictor) -> None:
    test = part("test")
    probabilities = predictor.probabilities(test.texts)
    right = np.array(predictor.labels)[probabilities.argmax(axis=1)] == np.array(test.labels)
    card = (FINANCE / "MODEL_CARD.md").read_text(encoding="utf-8")
    stated = re.search(r"The bundle that ships has accuracy ([0-9.]+)", card)
    assert stated is not None
    assert float(right.mean()) == pytest.approx(float(stated[1]), abs=6e-4)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("公司拟以不低于十亿元回购股份并全部注销，金额约为市值的一成", "强烈利好"),
        ("控股股东计划未来三个月减持不超过1%的股份", "轻微利空"),
        ("董事会审议通过聘任新一届审计机构", "中性"),
        ("这票今天放量站上年线，慢慢拿着吧", "轻微利好"),
        ("公司因涉嫌信息披露违法被证监会立案，股票存在退市风险", "强烈利空"),
    ],
)
def test_sentences_of_the_demo(predictor: Predictor, text: str, label: str) -> None:
    assert predictor.predict([text])[0]["label"] == label
