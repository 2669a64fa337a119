"""What is left out of a text is said: in answers, by tokenizers of every kind, and never where nothing is."""

from __future__ import annotations

import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.data.windowed_dataset import encode_texts
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.text import CharTokenizer, Tokenizer, Vocabulary, WordPieceTokenizer, WordTokenizer, add_terms
from paddlenlp_embtune.text.encoding import tokenize_texts
from paddlenlp_embtune.text.windows import WindowSpec

LETTERS = "涨跌平停公司利好abc"
VOCABULARY = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, "##a", "##b", "##c", "公司"])
TOKENIZERS: dict[str, Tokenizer] = {
    "char": CharTokenizer(VOCABULARY),
    "word": WordTokenizer(VOCABULARY),
    "wordpiece": WordPieceTokenizer(VOCABULARY),
    "terms": add_terms(CharTokenizer(VOCABULARY), ["利好涨停"])[0],
    "terms on pieces": add_terms(WordPieceTokenizer(VOCABULARY), ["利好涨停"])[0],
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_cut_texts_are_found_and_read_as_before(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    for text in ("涨跌平停利好涨停公司abc涨", "利好涨停" * 5, "aaabbb " * 4, "公司" * 9, "涨"):
        whole = tokenizer.encode(text)
        for most in range(3, len(whole) + 3):
            tokenized = tokenize_texts(["平", text], tokenizer, max_length=most, windows=None)
            assert list(tokenized.ids[1]) == tokenizer.encode(text, max_length=most)
            assert list(tokenized.cut) == [1] * (len(whole) > most)
            assert tokenize_texts([text], tokenizer, max_length=most, windows=WindowSpec()).cut == []
            assert encode_texts([text], [0], tokenizer, max_length=most, windows=None).cut == (len(whole) > most)


def test_answers_say_that_a_text_was_cut() -> None:
    with Predictor(FINANCE / "bundle", windows=False) as predictor:
        most = predictor.bundle.manifest.max_length
        texts = ["涨" * most, "涨" * (most + 1), "", "涨" * most + " \u200b\ufe0f"]
        answers = predictor.predict(texts)
        assert [answer.get("cut") for answer in answers] == [None, True, None, None]
        assert answers == list(predictor.stream(texts))
        assert predictor.count_cut(texts) == 1
    with Predictor(FINANCE / "bundle", windows=True) as predictor:
        assert [answer.get("cut") for answer in predictor.predict(texts)] == [None] * 4
