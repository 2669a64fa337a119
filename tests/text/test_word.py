"""Words: those of jieba itself, the user's terms whole, and no trace on disk or in a log."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jieba
import pytest

from paddlenlp_embtune.errors import DataError, MissingDependencyError
from paddlenlp_embtune.text import PAD, UNK, Vocabulary, WordTokenizer, clean, jieba_segmenter, tokenizer_from_config
from tests.helpers import python

VOCABULARY = Vocabulary([PAD, UNK, "公司", "回购", "股份", "质", "押", "式", "股", "票", " ", "ETF"])


@pytest.fixture(scope="module")
def theirs() -> jieba.Tokenizer:
    """A tokenizer of jieba's with its dictionary, loaded without its cache."""
    found = jieba.Tokenizer()
    found.FREQ, found.total = found.gen_pfdict((Path(jieba.__file__).parent / "dict.txt").open("rb"))
    found.initialized = True
    return found


def random_texts(count: int) -> list[str]:
    generator = random.Random(3)
    pools: list[Any] = [
        "中国公司的股份有限责任回购了上市证券",
        "abcXYZ019+#&._%-",
        "，。！ （）\t",
        "囧𠀀é한😀",
        "一二三万亿元年月日",
    ]
    pools.append([chr(code) for code in range(0x4E00, 0x9FFF)])
    return ["".join(generator.choice(generator.choice(pools)) for _ in range(generator.randint(1, 40))) for _ in range(count)]


@pytest.mark.parametrize("hmm", [False, True])
def test_words_are_those_of_jieba(hmm: bool, theirs: jieba.Tokenizer) -> None:
    cutter = jieba_segmenter.word_cutter(hmm=hmm)
    for text in random_texts(1500):
        assert list(cutter.cut(text)) == theirs.lcut(text, HMM=hmm), text


@pytest.mark.shared_data
@pytest.mark.parametrize("hmm", [False, True])
def test_words_of_real_texts_are_those_of_jieba(hmm: bool, theirs: jieba.Tokenizer, shared_data: Path) -> None:
    lines = (shared_data / "unlabelled" / "finance_forum.txt").read_text(encoding="utf-8").splitlines()[:400]
    cutter = jieba_segmenter.word_cutter(hmm=hmm)
    for line in lines:
        text = clean(line, lowercase=True)
        assert list(cutter.cut(text)) == theirs.lcut(text, HMM=hmm)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("hmm", [False, True])
def test_a_long_run_is_cut_in_linear_time(hmm: bool) -> None:
    text = "囧槑" * 25_000
    assert "".join(jieba_segmenter.word_cutter(hmm=hmm).cut(text)) == text


def test_unknown_words_are_cut_into_characters_or_not() -> None:
    assert WordTokenizer(VOCABULARY).tokens("公司质押股票") == ["公司", "质", "押", "股", "票"]
    whole = WordTokenizer(VOCABULARY, split_unknown=False)
    assert whole.tokens("公司质押股票") == ["公司", "质押", "股票"]
    assert whole.encode("公司质押股票") == [2, 1, 1]
    assert WordTokenizer(VOCABULARY).encode("公司质押囧") == [2, 5, 6, 1]


@pytest.mark.parametrize(
    ("terms", "text", "expected"),
    [
        (["质押式回购"], "股票质押式回购交易", ["股票", "质押式回购", "交易"]),
        (["质押式回购", "质押式"], "质押式质押式回购", ["质押式", "质押式回购"]),
        (["股票质押", "质押式回购"], "股票质押式回购", ["股票质押", "式", "回购"]),
        (["票质", "质押式回购"], "股票质押式回购", ["股", "票质", "押", "式", "回购"]),
        (["etf期权"], "ＥＴＦ期权和ETF 期权", ["etf期权", "和", "etf", " ", "期权"]),
        (["ETF"], "etfs 买etf吧 5etf", ["etfs", " ", "买", "etf", "吧", " ", "5etf"]),
        (["科创50"], "科创500和科创50", ["科", "创", "500", "和", "科创50"]),
        (["《资管新规》", "a·b"], "看《资管新规》a·b", ["看", "《资管新规》", "a·b"]),
        (["中 国"], "中　国人", ["中 国", "人"]),
    ],
)
def test_terms_of_the_user_are_whole(terms: list[str], text: str, expected: list[str]) -> None:
    tokenizer = WordTokenizer(VOCABULARY, user_terms=tuple(terms), split_unknown=False)
    assert tokenizer.tokens(text) == expected
    assert WordTokenizer.count([text], lowercase=True, user_terms=terms) == {word: expected.count(word) for word in expected}


def test_places() -> None:
    tokenizer = WordTokenizer(VOCABULARY, user_terms=("质押式回购",), split_unknown=False)
    text = "㈱股票\u200b质押\x00式回购　ＥＴＦ"
    assert [text[a:b] for a, b in tokenizer.offsets(text)] == ["㈱", "㈱", "㈱", "股票", "质押\x00式回购", "　", "ＥＴＦ"]


@pytest.mark.parametrize("term", ["", "  ", "\u200b", "a\nb", "a\r", "\ud800", "x" * 65, "[PAD]", "[UNK]", "[MASK]"])
def test_illegal_terms_are_refused_with_their_line(term: str) -> None:
    with pytest.raises(DataError, match=r"^line 2: the term .*; a term must be 1 to 64 characters on one line"):
        WordTokenizer(VOCABULARY, user_terms=("质押", term))


def test_another_dictionary_is_refused() -> None:
    config = WordTokenizer(VOCABULARY).config()
    with pytest.raises(DataError, match=r"jieba's dictionary must be 0{12}\.\.\., .* from jieba .*; install"):
        tokenizer_from_config({**config, "dictionary_sha256": "0" * 64}, VOCABULARY)
    assert config["dictionary_sha256"] != WordTokenizer(VOCABULARY, hmm=True).config()["dictionary_sha256"]


def test_a_missing_or_shorter_user_dictionary_is_refused() -> None:
    tokenizer = WordTokenizer(VOCABULARY, user_terms=("质押式回购", "回购"))
    with pytest.raises(DataError, match=r"needs the file 'user_dictionary.txt', which is missing"):
        tokenizer_from_config(tokenizer.config(), VOCABULARY)
    with pytest.raises(DataError, match=r"must have 2 terms, .* got 1"):
        tokenizer_from_config(tokenizer.config(), VOCABULARY, {"user_dictionary.txt": "回购\n".encode()})
    with pytest.raises(DataError, match="is not UTF-8"):
        tokenizer_from_config(tokenizer.config(), VOCABULARY, {"user_dictionary.txt": b"\xff\n"})


def test_no_jieba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jieba_segmenter.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install jieba"):
        WordTokenizer(VOCABULARY)


def test_a_damaged_dictionary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_text("公司 many n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be read: .*many"):
        jieba_segmenter._weights(tmp_path)


PROBE = """
import json, sys
import paddlenlp_embtune.text as text
before = [name for name in ("jieba", "sentencepiece", "google.protobuf") if name in sys.modules]
vocabulary = text.Vocabulary(["[PAD]", "[UNK]", "公司"])
tokens = text.WordTokenizer(vocabulary, split_unknown=False).tokens("公司回购股份")
after = [name for name in ("jieba", "paddle") if name in sys.modules]
guessed = text.WordTokenizer(vocabulary, hmm=True, split_unknown=False).tokens("杭研大厦")
print(json.dumps([before, after, tokens, guessed]))
"""


def test_nothing_is_written_logged_or_loaded_in_advance(tmp_path: Path) -> None:
    done = python("-W", "error", "-c", PROBE, cwd=tmp_path, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], [], ["公司", "回购", "股份"], ["杭研", "大厦"]]
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_somebody_left_is_not_read(tmp_path: Path) -> None:
    import marshal

    (tmp_path / "jieba.cache").write_bytes(marshal.dumps(({"司回": 10**9, "公": 1}, 10**9)))
    done = python("-W", "error", "-c", PROBE, cwd=tmp_path, env={"TMPDIR": str(tmp_path)})
    assert json.loads(done.stdout)[2] == ["公司", "回购", "股份"]
