from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from paddlenlp.transformers import ErnieTokenizer

from paddlenlp_embtune import DataError
from paddlenlp_embtune.text import PAD, PAD_ID, UNK, UNK_ID, Vocabulary

ODD = [" ", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\u3000", "\ufeff", "\t", "😀", "\ufffd", "词语"]


def test_order_is_by_count_then_code_point_then_extra() -> None:
    counts = Counter({"涨": 2, "b": 2, "a": 2, "c": 5, "rare": 1})
    vocabulary = Vocabulary.from_counts(counts, min_count=2, extra=["z", "a", "rare", "z"])
    assert vocabulary.tokens == (PAD, UNK, "c", "a", "b", "涨", "z", "rare")
    assert [vocabulary.ids[token] for token in vocabulary.tokens] == list(range(len(vocabulary)))
    assert vocabulary.ids[PAD] == PAD_ID
    assert vocabulary.ids[UNK] == UNK_ID


def test_order_does_not_depend_on_the_order_of_counting() -> None:
    forward, backward = Counter("涨跌涨平跌a"), Counter("a跌平涨跌涨")
    assert Vocabulary.from_counts(forward).tokens == Vocabulary.from_counts(backward).tokens


def test_counted_specials_keep_their_ids() -> None:
    assert Vocabulary.from_counts(Counter({"a": 9, UNK: 50, PAD: 1})).tokens == (PAD, UNK, "a")


def test_membership() -> None:
    vocabulary = Vocabulary([PAD, UNK, "涨"])
    assert "涨" in vocabulary
    assert "跌" not in vocabulary


def test_the_unknown_token_may_stand_anywhere() -> None:
    vocabulary = Vocabulary([PAD, "[CLS]", "涨", UNK, "跌"])
    assert vocabulary.unknown_id == 3
    assert Vocabulary.from_counts(Counter("涨跌")).unknown_id == UNK_ID


def test_of_a_token_that_stands_there_twice_the_last_id_counts(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n$\n[UNK]\n$\na\n")
    vocabulary = Vocabulary.load(tmp_path / "vocab.txt")
    assert (len(vocabulary), vocabulary.ids["$"], vocabulary.tokens[1]) == (5, 3, "$")
    vocabulary.save(tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "vocab.txt").read_bytes()


def test_fingerprints_stay_what_they_are() -> None:
    # Bundles carry them.
    assert Vocabulary([PAD, UNK, "涨", "跌"]).fingerprint().startswith("c41510455f769611")


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["ernie-1.0", "ernie-3.0-base-zh", "bert-base-chinese"])
def test_real_vocabularies_have_the_ids_of_paddlenlp_and_are_saved_as_they_were(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    path = shared_data / "vocab" / f"{name}.vocab.txt"
    vocabulary = Vocabulary.load(path)
    assert vocabulary.ids == dict(ErnieTokenizer(str(path)).vocab.token_to_idx)
    vocabulary.save(tmp_path / "vocab.txt")
    assert (tmp_path / "vocab.txt").read_bytes() == path.read_bytes()


def test_fingerprint_changes_when_two_rows_are_swapped() -> None:
    here, swapped = Vocabulary([PAD, UNK, "涨", "跌"]), Vocabulary([PAD, UNK, "跌", "涨"])
    assert here.fingerprint() == Vocabulary(list(here.tokens)).fingerprint()
    assert here.fingerprint() != swapped.fingerprint()
    assert len(here.fingerprint()) == 64


@pytest.mark.parametrize("others", [["ab", "c"], ["abc"], ["a", "b", "c"]])
def test_fingerprint_sees_where_tokens_end(others: list[str]) -> None:
    assert Vocabulary([PAD, UNK, "a", "bc"]).fingerprint() != Vocabulary([PAD, UNK, *others]).fingerprint()


@pytest.mark.parametrize("tokens", [[], [" "], ODD, list(reversed(ODD))])
def test_round_trip(tokens: list[str], tmp_path: Path) -> None:
    vocabulary = Vocabulary([PAD, UNK, *tokens])
    vocabulary.save(tmp_path / "folder" / "vocab.txt")
    loaded = Vocabulary.load(tmp_path / "folder" / "vocab.txt")
    assert loaded.tokens == vocabulary.tokens
    assert loaded.fingerprint() == vocabulary.fingerprint()


@pytest.mark.parametrize("token", ["\r", "a\r", "\ud800"])
def test_a_token_is_refused_or_survives(token: str, tmp_path: Path) -> None:
    try:
        vocabulary = Vocabulary([PAD, UNK, token, "b"])
    except DataError:
        return
    vocabulary.save(tmp_path / "vocab.txt")
    assert Vocabulary.load(tmp_path / "vocab.txt").tokens == vocabulary.tokens


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "must begin with"),
        ([UNK, PAD, "a"], "must begin with"),
        (["a", "b"], r"\['a', 'b'\]"),
        ([PAD], r"'\[UNK\]' must occur once in the vocabulary, got 0 times"),
        ([PAD, "a", UNK, "b", UNK], r"'\[UNK\]' .* 2 times"),
        ([PAD, UNK, PAD], r"'\[PAD\]' .* 2 times"),
        ([PAD, UNK, ""], "a token must have one or more characters .* got ''"),
        ([PAD, UNK, "a\nb"], r"a token must have .* got 'a\\nb'"),
    ],
)
def test_refusals(tokens: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Vocabulary(tokens)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"text\tlabel\n",
        b"[PAD]\n[UNK]\na\n\n",
        b"[PAD]\na\n",
        b"[PAD]\r\n[UNK]\r\na\r\n",
        b"\xef\xbb\xbf[PAD]\n[UNK]\n",
        pytest.param(
            "[PAD]\n[UNK]\n涨\n".encode("gbk"),
        ),
    ],
)
def test_load_refuses_what_is_not_a_vocabulary(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(DataError):
        Vocabulary.load(tmp_path / "vocab.txt")
