"""What augmentation leaves as it is."""

from __future__ import annotations

import pytest

from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._words import join, split_words
from paddlenlp_embtune.text import word_cutter


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("营收同比下降5.2%，不及预期", ["降", "5.2%", "不"]),
        ("拟增持1.5亿元至3亿元", ["增", "1.5亿元", "3亿元"]),
        ("上调评级至买入，看好后市", ["上调", "买", "看好"]),
        ("下调目标价", ["下调"]),
        ("３月营收＋５％", ["３月", "＋５％"]),
        ("特别喜欢，别买", ["别", "买"]),
        ("未来可期但未盈利", ["未", "盈"]),
        ("非常不错", ["不"]),
        ("一季度利润翻两倍", ["一", "两", "倍"][:2]),
        ("ETF份额和etfs", ["ETF"]),
        ("It is not good, isn't it", ["not", "n't"]),
        ("notable nothing", []),
    ],
)
def test_terms_negations_numbers_and_directions_are_found(text: str, kept: list[str]) -> None:
    assert Protection(["etf"]).kept(text) == kept


def test_terms_are_found_whatever_their_case_and_width() -> None:
    protection = Protection(["ETF", "逆回购"])
    assert protection.spans("买ｅｔｆ，央行逆回购") == [(0, 1), (1, 4), (7, 10)]


def test_a_term_that_the_dictionary_would_cut_is_one_word() -> None:
    words = split_words("央行开展中期借贷便利操作", word_cutter(hmm=False), Protection(["中期借贷便利"]))
    assert [word.text for word in words if word.fixed] == ["中期借贷便利"]
    assert join(words) == "央行开展中期借贷便利操作"


def test_what_follows_a_negation_is_held_up_to_the_end_of_its_clause() -> None:
    words = split_words("服务没有想象中热情，环境舒适", word_cutter(hmm=False), Protection([]))
    assert [word.text for word in words if word.held] == ["想象", "中", "热情"]
    assert {word.text for word in words if word.movable} == {"服务", "环境", "舒适"}


def test_a_stretch_ends_at_what_is_fixed() -> None:
    words = split_words("费用上升，利润下降", word_cutter(hmm=False), Protection([]))
    movable = {word.text: word.stretch for word in words if word.movable}
    assert movable["费用"] != movable["利润"]
