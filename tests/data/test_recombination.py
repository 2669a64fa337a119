"""Texts made of the clauses and words of others: new, of their parts alone, and always the same."""

from __future__ import annotations

from paddlenlp_embtune.data.recombination import recombine_texts
from paddlenlp_embtune.data.validation import text_key

TEXTS = ("房间很大，服务也好！早餐一般。", "手机 屏幕不错；电池不行", "物流快", "涨了3.5%，还会涨")


def test_new_texts_are_made_of_parts_of_the_old_ones() -> None:
    made = recombine_texts(TEXTS, 60)
    assert len(made) == len({text_key(text) for text in made}) == 60
    assert not {text_key(text) for text in made} & {text_key(text) for text in TEXTS}
    assert all(set(text) <= set("".join(TEXTS)) for text in made)
    assert any("物流快" in text and "房间很大" in text for text in made), "clauses of several texts"
    assert any(text in ("服务也好！早餐一般。", "房间很大，服务也好！") for text in made), "clauses side by side in one"
    assert not any("3." in text and "3.5" not in text for text in made if "涨了" in text), "numbers stay whole"


def test_more_of_them_begin_with_the_same_ones() -> None:
    assert recombine_texts(TEXTS, 20) == recombine_texts(TEXTS, 40)[:20]


def test_no_text_is_one_of_those_that_it_must_not_be() -> None:
    first = recombine_texts(TEXTS, 10)
    assert not set(first) & set(recombine_texts(TEXTS, 10, without=first))


def test_few_rows_have_few_combinations_and_none_has_none() -> None:
    assert 0 < len(recombine_texts(("好", "差"), 10_000)) < 200
    assert recombine_texts((), 5) == recombine_texts(TEXTS, 0) == recombine_texts((" ", "\u3000"), 5) == ()
