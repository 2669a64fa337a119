"""What a token is matched with, in which order, and that a filtered file gives the same as the whole one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.init import (
    DEFAULT_FALLBACKS,
    FALLBACKS,
    Origin,
    initialize_from_vectors,
    match_tokens,
    token_filter,
)
from paddlenlp_embtune.embeddings.init._edit_distance import EditIndex, one_edit
from paddlenlp_embtune.embeddings.init.token_variants import is_special, spellings
from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.text import PAD, UNK, Vocabulary

Table = npt.NDArray[np.float32]
WITHOUT_SUBWORDS = tuple(name for name in FALLBACKS if name != "subwords")


def vectors(*names: str, width: int = 4, zero: Sequence[str] = ()) -> VectorTable:
    table = np.random.default_rng(5).standard_normal((len(names), width), dtype=np.float32)
    rows = {name: row for row, name in enumerate(names)}
    table[[rows[name] for name in zero]] = 0.0
    return VectorTable(rows, table, "test vectors")


def outcome(token: str, table: VectorTable, fallbacks: Sequence[str] | None = None) -> tuple[str, tuple[str, ...]] | None:
    found = match_tokens([token], table, fallbacks).get(token)
    return (found.origin, found.sources) if found else None


@pytest.mark.parametrize(
    ("token", "name", "origin"),
    [
        ("a", "a", "exact"),
        ("B", "b", "other case"),
        ("usa", "USA", "other case"),
        ("IBM", "ibm", "other case"),
        ("paris", "Paris", "other case"),
        ("##股", "股", "without marker"),
        ("▁的", "的", "without marker"),
        ("ＡＢ", "AB", "other width"),
        (",", "，", "other width"),
        ("㎡", "m2", "other width"),
        ("證券", "证券", "other script"),
        ("证券", "證券", "other script"),
        ("##證", "证", "without marker + other script"),
        ("##Ａ", "a", "other case + without marker + other width"),
        ("Ｂ", "b", "other case + other width"),
    ],
)
def test_other_spellings(token: str, name: str, origin: str) -> None:
    table = vectors("无关", name)
    assert outcome(token, table) == (origin, (name,))
    np.testing.assert_array_equal(match_tokens([token], table)[token].row, table.table[1])


def test_the_exact_name_wins_then_the_order_of_the_fallbacks() -> None:
    assert outcome("Ａ", vectors("a", "ａ", "A", "Ａ")) == (Origin.EXACT, ("Ａ",))
    table = vectors("a", "ａ", "A")
    assert outcome("Ａ", table) == (Origin.CASE, ("ａ",))
    assert outcome("Ａ", table, ("width", "case")) == (Origin.WIDTH, ("A",))
    assert outcome("Ａ", table, ()) is None
    assert outcome("Ａ", vectors("x"), DEFAULT_FALLBACKS) is None


def test_every_spelling_comes_once_and_never_the_token_itself() -> None:
    for token in ("##Ａ證", "a", "股", "▁", "##", "…", "后"):
        found = [spelling for spelling, _ in spellings(token)]
        assert len(found) == len(set(found))
        assert token not in found
        assert "" not in found


@pytest.mark.parametrize(
    "token", ["[CLS]", "[SEP]", "[MASK]", "[unused1]", "[UNK]", "<s>", "</s>", "<mask>", "<unk>", "<|im_end|>", "<0x0A>"]
)
def test_special_tokens_are_matched_by_their_exact_name_only(token: str) -> None:
    assert is_special(token)
    table = vectors(token.swapcase() if token.swapcase() != token else "s", *"clsepmaunkio0x1[]<>|/_", "cls", "mask", "s")
    assert outcome(token, table, WITHOUT_SUBWORDS) is None
    assert list(spellings(token)) == []
    assert outcome(token, vectors("a", token)) == (Origin.EXACT, (token,))
    keep = token_filter([token], WITHOUT_SUBWORDS)
    assert keep(token)
    assert not keep("s")


def test_no_spelling_turns_text_into_a_special_token() -> None:
    assert outcome("[cls]", vectors("[CLS]")) is None
    assert outcome("＜s＞", vectors("<s>"), WITHOUT_SUBWORDS) is None


@pytest.mark.parametrize("token", ["[", "[]", "<", "<>", "股", "[哈哈]", "[doge]", "<3", "a", "</", "S"])
def test_ordinary_tokens_are_not_special(token: str) -> None:
    assert not is_special(token)


# --- made of parts ------------------------------------------------------------------------------------------------------


def test_pieces_are_the_longest_from_the_left_and_their_mean() -> None:
    table = vectors("上", "海", "上海", "证券", "海证券交")
    found = match_tokens(["上海证券所"], table, ["pieces"])["上海证券所"]
    assert (found.origin, found.sources) == (Origin.PIECES, ("上海", "证券"))
    np.testing.assert_allclose(found.row, table.table[[2, 3]].mean(axis=0), rtol=1e-6)


def test_pieces_leave_markers_out_and_respell_single_characters() -> None:
    table = vectors("a", "b", "证")
    assert outcome("##ab", table, ["pieces"]) == (Origin.PIECES, ("a", "b"))
    assert outcome("▁ba", table, ["pieces"]) == (Origin.PIECES, ("b", "a"))
    assert outcome("AＢ證", table, ["case", "width", "script", "pieces"]) == (Origin.PIECES, ("a", "b", "证"))
    assert outcome("AＢ證", table, ["pieces"]) is None
    assert outcome("xyz", table, WITHOUT_SUBWORDS) is None


def test_of_several_spellings_the_one_that_is_covered_best_is_cut() -> None:
    table = vectors("證", "券", "证券", "公司", "a", "bc")
    assert outcome("證券公司", table, ["script", "pieces"]) == (Origin.PIECES, ("证券", "公司"))
    assert outcome("證券公司", table, ["pieces"]) == (Origin.PIECES, ("證", "券", "公司"))
    assert outcome("##ABC", table, ["case", "pieces"]) == (Origin.PIECES, ("a", "bc"))


def test_pieces_that_cancel_out_are_no_row() -> None:
    table = VectorTable({"a": 0, "b": 1, "c": 2}, np.array([[1, 2], [-1, -2], [1, 1]], np.float32), "opposites")
    assert outcome("ab", table, ["pieces"]) is None
    assert outcome("abc", table, ["pieces"]) is not None


def test_subwords_come_from_the_vectors_themselves() -> None:
    asked: list[str] = []

    def compose(text: str) -> Table | None:
        asked.append(text)
        return np.full(4, 7.0, dtype=np.float32) if "股" in text else None

    plain = vectors("a")
    table = VectorTable(plain.rows, plain.table, "composing vectors", compose=compose)
    found = match_tokens(["##股份", "銀", "a", "A"], table)
    assert (found["##股份"].origin, found["##股份"].sources) == (Origin.SUBWORDS, ())
    np.testing.assert_array_equal(found["##股份"].row, np.full(4, 7.0))
    assert "銀" not in found
    assert asked == ["股份", "銀"]  # what has a name is not composed
    assert "##股份" not in match_tokens(["##股份"], table, ["case"])
    with pytest.raises(VectorError, match=r"test vectors cannot compose .* omit 'subwords': \['case'\]"):
        match_tokens(["股份"], plain, ["case", "subwords"])


def test_subwords_that_compose_zero_are_no_row() -> None:
    plain = vectors("a")
    table = VectorTable(plain.rows, plain.table, "composing vectors", compose=lambda _: np.zeros(4, dtype=np.float32))
    assert match_tokens(["股"], table) == {}


# --- one edit away ------------------------------------------------------------------------------------------------------


def slow_distance(one: str, other: str) -> int:
    """Restricted Damerau-Levenshtein distance by the full table."""
    cost = {(i, 0): i for i in range(len(one) + 1)} | {(0, j): j for j in range(len(other) + 1)}
    for i, j in itertools.product(range(1, len(one) + 1), range(1, len(other) + 1)):
        same = one[i - 1] == other[j - 1]
        cost[i, j] = min(cost[i - 1, j] + 1, cost[i, j - 1] + 1, cost[i - 1, j - 1] + (not same))
        if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
            cost[i, j] = min(cost[i, j], cost[i - 2, j - 2] + 1)
    return cost[len(one), len(other)]


def test_one_edit_against_the_full_table() -> None:
    words = ["".join(word) for length in range(5) for word in itertools.product("abc", repeat=length)]
    generator = random.Random(0)
    for one in generator.sample(words, 60):
        for other in words:
            assert one_edit(one, other) == (slow_distance(one, other) == 1), (one, other)


def test_the_index_finds_all_texts_and_no_others() -> None:
    generator = random.Random(1)
    texts = ["".join(generator.choices("abcd", k=generator.randint(1, 7))) for _ in range(200)]
    index = EditIndex(texts)
    for _ in range(300):
        word = "".join(generator.choices("abcd", k=generator.randint(0, 9)))
        assert index.near(word) == {text for text in texts if len(text) >= 3 and slow_distance(text, word) == 1}
    assert not EditIndex(["ab", "c"])


def test_of_several_names_one_edit_away_the_first_of_the_file_is_taken() -> None:
    table = vectors("禁忌病", "禁忌症", "禁忌", "禁忌证明书")
    assert outcome("禁忌证", table, ["edit"]) == (Origin.EDIT, ("禁忌病",))
    shuffled = VectorTable({"禁忌": 2, "禁忌症": 1}, table.table, "rows in another order")
    assert outcome("##禁忌证", shuffled, ["edit"]) == (Origin.EDIT, ("禁忌症",))
    assert outcome("股市", vectors("股票", "股"), ["edit"]) is None  # too short
    assert outcome("abcd", vectors("abdc"), ["edit"]) == (Origin.EDIT, ("abdc",))


def test_the_order_of_fallbacks_counts_for_those_that_make_rows_too() -> None:
    table = vectors("人民", "币", "人民市")
    assert outcome("人民币", table, ["pieces", "edit"]) == (Origin.PIECES, ("人民", "币"))
    assert outcome("人民币", table, ["edit", "pieces"]) == (Origin.EDIT, ("人民",))
    assert outcome("人民帀", vectors("民帀", zero=["民帀"]), ["edit"]) is None


# --- zero rows, errors --------------------------------------------------------------------------------------------------


def test_a_row_of_zeros_counts_as_absent() -> None:
    assert outcome("a", vectors("a", "A", zero=["a"])) == (Origin.CASE, ("A",))
    assert outcome("a", vectors("a", "b", zero=["a"])) is None


@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        (["case", "edits"], r"there is no fallback 'edits'; did you mean 'edit'\? Expected case, edit"),
        (["sampled"], "there is no fallback 'sampled'"),
        (["case", "width", "case"], "'case' is listed twice"),
        ("case", r"fallbacks must be a list of names, such as \['case'\], got the string 'case'"),
    ],
)
def test_illegal_fallbacks_are_refused(fallbacks: Sequence[str], message: str) -> None:
    with pytest.raises(VectorError, match=message):
        match_tokens(["a"], vectors("a"), fallbacks)
    with pytest.raises(VectorError, match=message):
        token_filter(["a"], fallbacks)


# --- what a reader keeps ------------------------------------------------------------------------------------------------

LETTERS = "abAＡｂ股證证券发發髮##▁，,"


def random_words(generator: random.Random, count: int) -> list[str]:
    return list({"".join(generator.choices(LETTERS, k=generator.randint(1, 5))) for _ in range(count)})


def filtered(whole: VectorTable, tokens: Sequence[str], fallbacks: Sequence[str]) -> VectorTable:
    keep = token_filter(tokens, fallbacks)
    names = [name for name in whole.rows if keep(name)]
    rows: Mapping[str, int] = {name: row for row, name in enumerate(names)}
    return VectorTable(rows, whole.table[[whole.rows[name] for name in names]], whole.source)


@pytest.mark.parametrize("dimension", [None, 6, 20], ids=str)
@pytest.mark.parametrize(
    "fallbacks",
    [(), *[(name,) for name in WITHOUT_SUBWORDS], DEFAULT_FALLBACKS, WITHOUT_SUBWORDS, WITHOUT_SUBWORDS[::-1]],
    ids=lambda names: "+".join(names) or "none",
)
def test_a_filtered_file_gives_the_same_table(fallbacks: tuple[str, ...], dimension: int | None) -> None:
    generator = random.Random(3)
    tokens = random_words(generator, 300)
    whole = vectors(*random_words(generator, 1500), width=12, zero=())
    part = filtered(whole, tokens, fallbacks)
    assert len(part.rows) < len(whole.rows)
    vocabulary = Vocabulary([PAD, UNK, "[CLS]", *tokens])
    options = {"rms": 0.1, "seed": 1, "fallbacks": fallbacks, "dimension": dimension}
    table, coverage = initialize_from_vectors(vocabulary, whole, **options)  # type: ignore[arg-type]
    again, same = initialize_from_vectors(vocabulary, part, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(table, again)
    assert coverage == same


def test_only_what_can_be_used_is_wanted() -> None:
    keep = token_filter(["##證券", "人民币", "Ａ"])
    assert all(keep(name) for name in ("##證券", "證券", "证券", "A", "a", "ａ", "人民币"))
    assert not any(keep(name) for name in ("券", "人民", "人民市", "证", "b", ""))
    keep = token_filter(["##證券", "人民币"], ["script", "pieces"])
    assert all(keep(name) for name in ("证", "证券", "券", "人民", "民币"))
    assert not keep("人民市")
    assert token_filter(["人民币"], ["edit"])("人民市")
