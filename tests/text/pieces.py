"""A SentencePiece model as ERNIE-M has one."""

from __future__ import annotations

import random
from functools import cache

from paddlenlp_embtune.text.sentencepiece_model import PieceModel, train_sentencepiece
from tests.text.every_tokenizer import CORPUS

TEXTS = [
    "净利润同比增长20.5%，达3亿元！",
    "iPhone15 Pro的价格是7,999元",
    "He bought 13 shares of Tesla in 2024; why?",
    "①②½㎏ ＡＢＣ１２３ ﬁ",
    "العربية हिन्दी ไทย 한국어",
    "😀👍🏽立案",
    "A1B2公3司",
    "İstanbul ΑΣ Straße",
    "12公司34",
    "《书名》【括号】",
    "٣٤ 五5五",
]


@cache
def model(*further: str) -> bytes:
    generator = random.Random(0)
    texts = [*CORPUS, *TEXTS[:3], *further]
    return train_sentencepiece([*texts, *("".join(generator.sample(texts, 2)) for _ in range(100))], size=260, lowercase=False)


def tokens_of(found: bytes, *, padding: int = 1) -> list[str]:
    """The vocabulary as the tool of ERNIE-M makes it, with the parts of pieces that its tokenizer cuts."""
    pieces = [piece.text for piece in PieceModel.read(found).pieces][3:]
    parts = {piece.lstrip("▁") for piece in pieces} | {character for piece in pieces for character in piece}
    special = ["[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    special.insert(padding, "[PAD]")
    return list(dict.fromkeys([*special, *pieces, *sorted(parts - {""})]))
