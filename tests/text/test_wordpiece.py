"""WordPiece gives the ids of PaddleNLP's own Python tokenizers, whatever the text."""

from __future__ import annotations

import copy
import pickle
import random
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from paddlenlp.transformers import BertTokenizer, ErnieTokenizer
from paddlenlp.transformers.bert.tokenizer import BasicTokenizer

from paddlenlp_embtune import DataError
from paddlenlp_embtune.text import PAD, UNK, Vocabulary, WordPieceTokenizer, _wordpiece_tables, unknown_report

SPECIAL = [PAD, "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789éσßıøABCΣÉ" + "がか각각ﾃﾞอ" + "\u0301\ufe0f\u1025"
WORDS = ["tesla", "##la", "te", "2019", "20", "##19", "##ing", "nasdaq", "一", "##跌", "##涨", "ā", "##ān", "İ"]
SYMBOLS = "，。！？#[]$￥~^<=>《》·…😀❤🏻²º〇µ①½㈱Ａ％ⅷ\u2028豈𠀀\U0002ebf0"
NASTY = [
    "",
    " ",
    "涨跌停板，公司拟回购股份！",
    "Tesla股价TESLA涨20.5%到$2019",
    "aé e\u0301E\u0301 ÀÉÎõü naïve İstanbul ıI ßẞ ΑΣ ΣΑΣ",
    "e\u0301\u0323 e\u0323\u0301 \u0301a a\u200b\u0301 \u0301",
    "ＡＢＣ，１２％　ｶﾞｶﾞ",
    "😀❤\ufe0f👨\u200d👩\u200d👧👍🏻🇨🇳❤",
    "a\x00b\x07c\x7fd\x9fe\x1cf\x1fg",
    "a\x0bb\x0cc\x85d\u2028e\u2029f\u3000g\u00a0h\u1680i\tj\nk\r\nl",
    "涨\u200b停\u200d板\u2060了\ufeff\u00ad跌\ufffd停\ue000了\U000f0000",
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101,
    "e\u0301" * 100 + " " + "e\u0301" * 101,
    "abc123涨def456跌the2019ing",
    "가각갂 한국어 조선말 각\u11a8 カタカナ ひらがな がギ゙",
    "𠀀𪜀𫝀𫠠𬺰丽豈㐀䶿鿿〇々〆",
    "##x ##涨 # #a## te##la",
    "a\u2260b\u226e\u037e\u1fef\u00a8\u00b4",
    "²º〇µØøŋŊƱ①½㈱ﬁ℃Åⅷ㎡",
    "\u0e2d\u0e31\u0e01 \u0915\u094d\u0937\u093f \u0bca \u1025\u102e",
    # Marks that take room and change places, with and without one between them that keeps them apart.
    "a\u302e\U0001d165b a\u302e\ufe0f\U0001d165b \U0001d15e\U0001d160",
    "http://t.cn/Rxyz?a=1&b=2 @user_name [微笑] user@example.com",
    "<b>涨</b>&amp;\\n{}|`'\"",
    "\U000e0001\U000e0041\u202e\u2066abc\u2069",
]
SURROGATES = ["\ud800", "涨\ud800停\udc00", "\ude00\ud83d", "a\udfffb"]


def small_vocabulary() -> Vocabulary:
    letters = [form for letter in LETTERS for form in (letter, f"##{letter}")]
    tokens = [*SPECIAL, *"涨跌停板公司的股价", *letters, UNK, *WORDS, *SYMBOLS, *"$,.!%-/@_&;'\"\\|{}"]
    return Vocabulary([*dict.fromkeys(tokens), "$"])


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary file with [UNK] in the middle and one token twice."""
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    small_vocabulary().save(path)
    return path


def pair(kind: type[Any], path: Path, lowercase: bool) -> tuple[WordPieceTokenizer, Any]:
    return WordPieceTokenizer(Vocabulary.load(path), lowercase=lowercase), kind(str(path), do_lower_case=lowercase)


def own(ids: list[int]) -> list[int]:
    """The ids without [CLS] and [SEP]; PaddleNLP gives these two to blanks as well."""
    return ids[1:-1]


def check_same(ours: WordPieceTokenizer, theirs: Any, texts: list[str]) -> None:
    for text, expected in zip(texts, theirs(texts)["input_ids"], strict=True):
        found = ours.encode(text)
        assert found == expected if found else not own(expected), ascii(text)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("kind", [ErnieTokenizer, BertTokenizer])
def test_nasty_texts_get_the_same_ids(small: Path, kind: type[Any], lowercase: bool) -> None:
    ours, theirs = pair(kind, small, lowercase)
    check_same(ours, theirs, [*NASTY, *SURROGATES])
    for max_length in (3, 4, 16):
        for text in NASTY[2:]:
            assert ours.encode(text, max_length=max_length) == theirs(text, max_length=max_length, truncation=True)["input_ids"]


def random_texts(count: int, *, seed: int) -> list[str]:
    generator = random.Random(seed)
    anything = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in {"Cn", "Co", "Cs"}]
    marks = [character for character in anything if unicodedata.category(character)[0] == "M"]
    pools: list[Any] = [anything, marks, LETTERS, SYMBOLS, "涨跌停板公司abc ", " \t\u3000\u2028", "\0\u200b\u0301\ufe0f\u302e"]
    texts = []
    for _ in range(count):
        chosen = generator.sample(pools, generator.randint(1, 3))
        texts.append("".join(generator.choice(generator.choice(chosen)) for _ in range(generator.randint(1, 30))))
    return texts


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("kind", [ErnieTokenizer, BertTokenizer])
def test_random_texts_get_the_same_ids(small: Path, kind: type[Any], lowercase: bool) -> None:
    check_same(*pair(kind, small, lowercase), random_texts(3000, seed=5))


def check_same_words(texts: list[str], *, lowercase: bool) -> None:
    """Where nothing is known, ``tokens`` shows the words; PaddleNLP lowers each character before it looks at any."""
    ours, theirs = WordPieceTokenizer(Vocabulary([*SPECIAL, UNK]), lowercase=lowercase), BasicTokenizer(lowercase)
    for text in texts:
        assert ours.tokens(text) == theirs.tokenize("".join(c.lower() if lowercase else c for c in text)), ascii(text)


@pytest.mark.parametrize("lowercase", [True, False])
def test_nasty_and_random_texts_make_the_same_words(lowercase: bool) -> None:
    check_same_words([*NASTY, *SURROGATES, *random_texts(3000, seed=6)], lowercase=lowercase)


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_character_makes_the_same_words(lowercase: bool) -> None:
    for start in [*range(0, 0x32000, 0x200), 0xD7C0, 0xDFF0, 0xE0000, 0xE0100, 0xFFF80, 0x10FE00]:
        characters = [chr(code) for code in range(start, min(start + 0x200, sys.maxunicode + 1))]
        check_same_words(["a" + "a".join(characters), "".join(characters)], lowercase=lowercase)


def test_lowering_twice_is_lowering_once() -> None:
    # PaddleNLP lowers characters, then words; we lower characters only.
    assert all(chr(code).lower().lower() == chr(code).lower() for code in range(0x110000))


def test_tokens_are_pieces_and_an_unknown_word_stays_whole(small: Path) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary.load(small))
    assert tokenizer.tokens("Teslaing涨停,2019年囧") == ["tesla", "##ing", "涨", "停", ",", "2019", "年", "囧"]
    assert tokenizer.tokens("щит É涨") == ["щит", "e", "涨"]
    for text in [*NASTY, *SURROGATES]:
        ids = tokenizer.vocabulary.ids
        assert own(tokenizer.encode(text)) == [ids.get(token, ids[UNK]) for token in tokenizer.tokens(text)]


def test_the_names_of_special_tokens_are_ordinary_text(small: Path) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary.load(small))
    for name in [*SPECIAL, UNK]:
        ids = tokenizer.encode(f"涨{name}跌 {name}")
        assert not set(own(ids)) & {tokenizer.vocabulary.ids[special] for special in SPECIAL}
        assert ids == tokenizer.encode(f"涨 [ {name[1:-1]} ] 跌 [ {name[1:-1]} ]")


def test_a_word_beyond_the_limit_is_unknown_even_if_the_vocabulary_has_it(tmp_path: Path) -> None:
    Vocabulary([*SPECIAL, UNK, "x" * 101, "x" * 100, "##x"]).save(tmp_path / "vocab.txt")
    ours, theirs = pair(ErnieTokenizer, tmp_path / "vocab.txt", True)
    assert ours.encode("x" * 101) == theirs("x" * 101)["input_ids"] == [1, 4, 2]
    assert ours.encode("x" * 100) == theirs("x" * 100)["input_ids"] == [1, 6, 2]


@pytest.mark.parametrize("blank", ["", " \n\u3000", "\u200b\x00\ufeff", "\u0301", "\ufe0f", "\ud800\u200b", "\ufffd", "\ue000"])
def test_blanks_have_no_ids(small: Path, blank: str) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary.load(small))
    assert tokenizer.encode(blank) == tokenizer.encode(blank, max_length=9) == tokenizer.tokens(blank) == []


def test_prefix_and_suffix(small: Path) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary.load(small))
    assert (tokenizer.prefix, tokenizer.suffix) == ((1,), (2,))
    ids = tokenizer.vocabulary.ids
    assert tokenizer.encode("涨跌停", max_length=4) == [1, ids["涨"], ids["跌"], 2]


@pytest.mark.parametrize("max_length", [2, 0, -1])
def test_a_length_without_room_is_refused(small: Path, max_length: int) -> None:
    with pytest.raises(DataError, match=f"max_length must be 3 or more, .* got {max_length}"):
        WordPieceTokenizer(Vocabulary.load(small)).encode("涨", max_length=max_length)


@pytest.mark.parametrize("tokens", [[PAD, UNK, "涨"], [PAD, UNK, "[CLS]"]])
def test_a_vocabulary_without_special_tokens_is_refused(tokens: list[str]) -> None:
    with pytest.raises(DataError, match=rf"of 3 tokens lacks '\[{'SEP' if '[CLS]' in tokens else 'CLS'}\]'"):
        WordPieceTokenizer(Vocabulary(tokens))


def test_unknown_words_are_counted_as_words(small: Path) -> None:
    report = unknown_report(WordPieceTokenizer(Vocabulary.load(small)), ["涨ЩИТ涨щит", "囧，Teslaing", ""])
    assert (report.tokens, report.unknown, report.worst[0]) == (8, 3, ("щит", 2))


LONG = [
    "涨",
    "a",
    "a ",
    " ",
    "e\u0301",
    "\u0301\u0323",
    "a\ufe0f",
    "\u302e\U0001d165",
    "각",
    "ΑΣ",
    "涨　Ａ\u200b\n",
    "z" * 99 + " ",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", LONG)
def test_long_text(small: Path, unit: str) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary.load(small))
    text = (unit * 100_000)[:100_000]
    ids = tokenizer.encode(text)
    for max_length in (3, 16, 512):
        cut = tokenizer.encode(text, max_length=max_length)
        assert own(cut) == own(ids)[: max_length - 2]
        assert bool(cut) == bool(ids)


def test_what_lies_beyond_the_length_is_not_read(small: Path) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary.load(small))
    tokenizer.encode("涨" * 1000 + "跌", max_length=16)
    assert ord("跌") not in tokenizer._characters


@pytest.mark.parametrize("max_length", [3, 4, 5, 7, 16, 50])
def test_words_that_end_where_a_block_does(small: Path, max_length: int) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary.load(small))
    for text in [*NASTY, *random_texts(300, seed=max_length)]:
        assert own(tokenizer.encode(text, max_length=max_length)) == own(tokenizer.encode(text))[: max_length - 2]


def test_threads_share_a_tokenizer_whose_memory_is_bounded(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*NASTY, *random_texts(300, seed=1)]
    expected = list(map(WordPieceTokenizer(Vocabulary.load(small)).encode, texts))
    monkeypatch.setattr(_wordpiece_tables, "_REMEMBERED", 20)
    tokenizer = WordPieceTokenizer(Vocabulary.load(small))
    with ThreadPoolExecutor(8) as pool:
        rounds = [pool.submit(lambda: list(map(tokenizer.encode, texts))) for _ in range(16)]
        assert all(found.result() == expected for found in rounds)
    assert max(len(tokenizer._characters), len(tokenizer._words)) <= 20 + 8


@pytest.mark.parametrize("lowercase", [True, False])
def test_copies_give_the_same_ids(small: Path, lowercase: bool) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary.load(small), lowercase=lowercase)
    expected = list(map(tokenizer.encode, NASTY))
    for copied in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert list(map(copied.encode, [*NASTY, *SURROGATES]))[: len(NASTY)] == expected


REAL = ["finfe", "weibo2018", "waimai", "kuake_qic", "nlpcc14_sc", "chnsenticorp", "thucnews_titles10", "fin_news_pn"]


def real_texts(shared_data: Path) -> list[str]:
    """10,000 texts of eight sets, long legal ones among them."""
    texts = []
    for name, count in {**dict.fromkeys(REAL, 1200), "legal_charge4": 400}.items():
        lines = (shared_data / name / "train.tsv").read_text(encoding="utf-8").split("\n")[1:]
        texts += [line.split("\t")[0] for line in lines[:count]]
    return texts


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("kind", "name", "lowercase"),
    [
        (ErnieTokenizer, "ernie-3.0-base-zh", True),
        (ErnieTokenizer, "ernie-1.0", True),
        (BertTokenizer, "bert-base-chinese", True),
        (BertTokenizer, "bert-base-chinese", False),
    ],
)
def test_real_texts_get_the_same_ids(shared_data: Path, kind: type[Any], name: str, lowercase: bool) -> None:
    ours, theirs = pair(kind, shared_data / "vocab" / f"{name}.vocab.txt", lowercase)
    texts = real_texts(shared_data)
    assert len(texts) == 10_000
    for max_length, some in [(None, texts), (16, texts[::5]), (128, texts[::5])]:
        expected = theirs(some, max_length=max_length, truncation=max_length is not None)["input_ids"]
        for text, ids in zip(some, expected, strict=True):
            assert ours.encode(text, max_length=max_length) == ids, ascii(text)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["ernie-3.0-base-zh", "ernie-1.0", "bert-base-chinese"])
def test_nasty_texts_get_the_same_ids_from_real_vocabularies(shared_data: Path, name: str) -> None:
    ours, theirs = pair(ErnieTokenizer, shared_data / "vocab" / f"{name}.vocab.txt", True)
    check_same(ours, theirs, [*NASTY, *SURROGATES, *random_texts(1000, seed=7)])
