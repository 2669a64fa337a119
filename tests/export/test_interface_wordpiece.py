"""The steps that ``interface.json`` gives for WordPiece, followed word for word, lead to the tokenizer's ids."""

from __future__ import annotations

import random
import unicodedata

import pytest

from paddlenlp_embtune.export import _interface
from paddlenlp_embtune.text import Vocabulary, WordPieceTokenizer

BLOCKS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
LETTERS = "abcdehlorstuvwxyz"
TOKENS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *LETTERS,
    *(f"##{c}" for c in LETTERS),
    *"股份涨利好!?[],.%￥→😀2345",
    "stock",
    "##ing",
    "sep",
]
EXTRA = (
    "→￥²5",
    "股\ue000份",
    "[SEP]涨",
    "x" * 100,
    "x" * 101,
    "Stocking\tup\u3000ALL",
    "e\u0301\u0323",
    "\u2028a\u0085b\u200d",
    "한글",
)


def ported(text: str, vocabulary: Vocabulary) -> list[int]:
    spaced = "".join(
        " " if c in "\t\n\r" or (kind := unicodedata.category(c))[0] == "Z" else "" if c == "\ufffd" or kind[0] == "C" else c
        for c in text
    )
    lowered = unicodedata.normalize("NFD", "".join(c.lower() for c in spaced))
    plain = "".join(c for c in lowered if unicodedata.category(c) != "Mn")
    ids = []
    for word in "".join(f" {c} " if alone(c) else c for c in plain).split(" "):
        ids += pieces(word, vocabulary) if word else []
    return [vocabulary.ids["[CLS]"], *ids, vocabulary.ids["[SEP]"]] if ids else []


def alone(c: str) -> bool:
    odd = unicodedata.category(c)[0] in "PS" or (c.isascii() and not c.isalnum() and c != " ") or c in "²º〇µØŋƱ"
    return odd or any(first <= ord(c) <= last for first, last in BLOCKS)


def pieces(word: str, vocabulary: Vocabulary) -> list[int]:
    found, start = [], 0
    while start < len(word):
        ends = (end for end in range(len(word), start, -1) if ("##" if start else "") + word[start:end] in vocabulary)
        if (end := next(ends, None)) is None or len(word) > 100:
            return [vocabulary.unknown_id]
        found.append(vocabulary.ids[("##" if start else "") + word[start:end]])
        start = end
    return found


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer(Vocabulary(TOKENS))


@pytest.mark.parametrize("text", [*_interface._TEXTS, *EXTRA])
def test_the_steps_lead_to_the_ids(tokenizer: WordPieceTokenizer, text: str) -> None:
    assert ported(text, tokenizer.vocabulary) == tokenizer.encode(text)


def test_so_they_do_for_random_texts(tokenizer: WordPieceTokenizer) -> None:
    generator = random.Random(0)
    for _ in range(2_000):
        codes = [
            generator.choice([generator.randrange(0x20, 0x3100), generator.choice(range(0x61, 0x7B)), 0x20]) for _ in range(12)
        ]
        text = "".join(map(chr, codes))
        assert ported(text, tokenizer.vocabulary) == tokenizer.encode(text), ascii(text)
