"""Every method changes texts, and never what is protected in them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from paddlenlp_embtune.data.augmentation._characters import replace_characters
from paddlenlp_embtune.data.augmentation._deletion import delete_words
from paddlenlp_embtune.data.augmentation._edits import apply_edits
from paddlenlp_embtune.data.augmentation._insertion import insert_synonyms
from paddlenlp_embtune.data.augmentation._lexicon import alternatives
from paddlenlp_embtune.data.augmentation._mask_filling import fill_masks
from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._swap import swap_words
from paddlenlp_embtune.data.augmentation._synonyms import replace_synonyms
from paddlenlp_embtune.data.augmentation._words import Word, split_words
from paddlenlp_embtune.text import word_cutter

LEXICON = alternatives(
    [["公司", "企业"], ["服务", "接待", "不好"], ["环境", "氛围"], ["喜欢", "喜爱"], ["业绩", "成绩", "降准"], ["舒适", "舒服"]]
)
TABLE = alternatives(["公工", "服福", "业叶", "上尚", "升生", "司思", "环还", "舒书"])
PROTECTION = Protection(["降准", "逆回购", "ETF"])
CUTTER = word_cutter(hmm=False)
METHODS: dict[str, Callable[..., str | None]] = {
    "synonyms": lambda words, **how: replace_synonyms(words, lexicon=LEXICON, protection=PROTECTION, **how),
    "insertion": lambda words, **how: insert_synonyms(words, lexicon=LEXICON, protection=PROTECTION, **how),
    "swap": lambda words, **how: swap_words(words, protection=PROTECTION, **how),
    "deletion": lambda words, **how: delete_words(words, protection=PROTECTION, **how),
    "characters": lambda words, **how: replace_characters(words, table=TABLE, protection=PROTECTION, **how),
}
WORDS = ("公司", "服务", "环境", "业绩", "喜欢", "舒适", "的", "上", "准", "逆回", "购", "E", "，", "。", " ", "！")
KEPT = ("升", "不", "没有", "降", "降准", "逆回购", "ETF", "3", "5.2%", "十", "亿元", "n't", "大涨", "增持", "下调")
TEXTS = st.lists(st.sampled_from([*WORDS, *KEPT]), min_size=1, max_size=14).map("".join)


def words_of(text: str) -> list[Word]:
    return split_words(text, CUTTER, PROTECTION)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, rate=st.floats(0.01, 1.0), seed=st.integers(0, 9))
def test_what_is_protected_stays_in_its_order(method: str, text: str, rate: float, seed: int) -> None:
    changed = METHODS[method](words_of(text), rate=rate, draw=random.Random(seed))
    if changed is not None:
        assert changed != text
        assert PROTECTION.kept(changed) == PROTECTION.kept(text)
        assert changed == METHODS[method](words_of(text), rate=rate, draw=random.Random(seed))


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, seed=st.integers(0, 9))
def test_a_swap_keeps_every_word_in_its_stretch(text: str, seed: int) -> None:
    words = words_of(text)
    changed = swap_words(words, rate=1.0, draw=random.Random(seed), protection=PROTECTION)
    if changed is not None:
        at = 0
        for stretch in dict.fromkeys(word.stretch for word in words):
            mine = [word.text for word in words if word.stretch == stretch]
            length = len("".join(mine))
            assert Counter(changed[at : at + length]) == Counter("".join(mine))
            at += length


def test_the_negated_is_replaced_but_neither_dropped_nor_moved() -> None:
    words = words_of("不是很喜欢公司")
    assert replace_synonyms(words, rate=1.0, draw=random.Random(0), lexicon=LEXICON, protection=PROTECTION) == "不是很喜爱企业"
    for method in ("swap", "deletion", "insertion"):
        assert METHODS[method](words, rate=1.0, draw=random.Random(0)) is None


def test_a_synonym_that_negates_or_is_a_term_is_not_taken() -> None:
    for seed in range(20):
        text = METHODS["synonyms"](words_of("服务和业绩"), rate=1.0, draw=random.Random(seed))
        assert text is None or ("不好" not in text and "降准" not in text)


def test_what_comes_together_is_looked_at_again() -> None:
    """Without the word between them, two characters would be a direction; without the one between, two numbers one."""
    assert apply_edits(["利", "的", "好"], [{1: ""}], Protection(["利好"]), most=1) is None
    assert apply_edits(["3", "和", "5"], [{1: ""}], Protection([]), most=1) is None


@pytest.mark.parametrize(("rate", "changed"), [(0.01, 1), (0.5, 2), (1.0, 4)])
def test_the_rate_is_the_share_that_changes(rate: float, changed: int) -> None:
    lexicon = alternatives([["公司", "企业"], ["喜欢", "喜爱"], ["环境", "氛围"], ["舒适", "舒服"]])
    words = words_of("公司喜欢环境舒适")
    text = replace_synonyms(words, rate=rate, draw=random.Random(1), lexicon=lexicon, protection=PROTECTION)
    assert text is not None
    now = [word.text for word in words_of(text)]
    assert sum(word.text not in now for word in words) == changed


def test_deletion_leaves_a_word() -> None:
    for seed in range(10):
        text = delete_words(words_of("服务舒适"), rate=1.0, draw=random.Random(seed), protection=PROTECTION)
        assert text in ("服务", "舒适")
    assert delete_words(words_of("服务"), rate=1.0, draw=random.Random(0), protection=PROTECTION) is None


@settings(max_examples=40, deadline=None)
@given(text=TEXTS, seed=st.integers(0, 9))
def test_filled_masks_leave_what_is_protected(text: str, seed: int) -> None:
    """The filler guesses a negation, a direction and a plain character."""
    words = words_of(text)
    changed = fill_masks(
        [words],
        [random.Random(seed)],
        rate=0.5,
        filler=lambda texts: [[[("不", 0.4), ("涨", 0.3), ("山", 0.3)]] * pieces.count(None) for pieces in texts],
        protection=PROTECTION,
    )[0]
    if changed is not None:
        assert changed != text
        assert PROTECTION.kept(changed) == PROTECTION.kept(text)


def test_masks_that_the_encoder_does_not_see_stay_as_they_are() -> None:
    found = fill_masks([words_of("公司服务")], [random.Random(0)], rate=1.0, filler=lambda texts: [[]], protection=PROTECTION)
    assert found == [None]
