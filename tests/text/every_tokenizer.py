"""Every kind of tokenizer, over one small vocabulary, and texts that are hard to cut."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from paddlenlp_embtune.text import (
    CLEANING_STEPS,
    PAD,
    UNK,
    CharTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    Vocabulary,
    WordPieceTokenizer,
    WordTokenizer,
    add_terms,
    with_cleaning,
)
from paddlenlp_embtune.text.ernie_m import ErnieMTokenizer
from paddlenlp_embtune.text.sentencepiece_model import train_sentencepiece

CORPUS = [
    "公司拟回购股份，用于员工持股计划",
    "控股股东减持公司股份，股价跌停",
    "股票质押式回购交易触及平仓线",
    "公司被证监会立案调查，股票存在退市风险",
    "Tesla 股价上涨 20.5%，Nasdaq 创新高",
    "ETF 基金净申购 5 亿元，券商看好后市",
    "净利润同比增长五成，超出市场预期！",
]
TERMS = ("质押式回购", "质押式", "回购股份", "ETF基金", "a股", "科创50", "囧", "😀👍", "i̇stanbul", "株)公", "涨 停", "c++")
NASTY = [
    "",
    " ",
    "\n \u3000\t",
    "\u200b\x00",
    "质押式回购质押式回购回购股份",
    "ＥＴＦ基金 etf基金ETF基金s 科创50 科创500 Ａ股",
    "ＡＢＣ，立案调查！１２％",
    "😀❤\ufe0f👨\u200d👩\u200d👧🚀立案😀👍",
    "Teslaing涨停teslala, a.b c++ c+",
    "a\x00立\x07案\u200b调\ufeff查\u200b质\u200b押式回\x00购",
    "\ud800立案\udc00\ude00\ud83d",
    "㈱公司㈱ﬁ½①≠≮",
    "  立 案\t\n\u3000调  查\u2028 涨\u3000停",
    "e\u0301\u0323立ｶﾞ각İΣ\u00a8案 ΑΣΑΣ İstanbul",
    "\u0301\u0301立 \u0301a 质押\u0301式回购\u0301",
    "\u200d\u0301 \u0301立",
    "가나 각\u11a8간 \u1112\u1161\u11ab",
    "a\u302e\ufe0f\U0001d165b\u302e\U0001d165 \U0001d15ea \u1025\u102e",
    "x" * 150 + "涨",
    "<s>公司</s><unk>[PAD][UNK][CLS][SEP]▁公司▁ <0x41>",
    "囧囧𠀀囧",
    "公司\r\n被立案调查" * 30,
    "<p>公司<b>立案</b>调查</p>&nbsp;&lt;br&gt;&amp;&NotEqualTilde; 看http://t.cn/x，//@小明：跌停",
    "å…¬å\x8f¸ 鍏徃鎷熷洖璐偂浠斤紝tesla 锟斤拷\ufffd",
]
POOLS = [
    "涨停ab公司，",
    "质押式回购",
    "tesla ETF基金",
    "\u0301\u0323\u3099",
    "가각난",
    "👨\u200d\ufe0f❤",
    " \t\u3000\u00a8",
    "\x00\u200b\xad",
    "ΑΣİé≠㈱",
]
BLANKS = ["", " ", "\n \u3000\t", "\r\n", "\u2028"]


def _vocabulary(*further: str) -> Vocabulary:
    letters = sorted({character for text in CORPUS for character in text.lower()})
    return Vocabulary(list(dict.fromkeys([PAD, UNK, *further, *letters])))


@cache
def model() -> bytes:
    return train_sentencepiece(CORPUS, size=140)


def _wordpiece() -> Tokenizer:
    return WordPieceTokenizer(_vocabulary("[CLS]", "[SEP]", "tesla", "##ing", "##la", "te", "etf", "##s", "##ᅡ"))


def _ernie_m() -> Vocabulary:
    return _vocabulary("[CLS]", "[SEP]", "20", "5", "▁tesla", "tesla", "etf", "▁e", "▁")


def _word() -> Tokenizer:
    return WordTokenizer(
        _vocabulary("公司", "股份", "立案", "调查", "回购", "科创50", "质押式"), user_terms=("科创50", "质押式")
    )


MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "char": lambda: CharTokenizer(_vocabulary()),
    "wordpiece": _wordpiece,
    "word": _word,
    "word, HMM": lambda: WordTokenizer(_vocabulary("公司", "股份"), hmm=True, split_unknown=False, lowercase=False),
    "sentencepiece": lambda: SentencePieceTokenizer(SentencePieceTokenizer.vocabulary_of(model()), model()),
    "sentencepiece, markers": lambda: SentencePieceTokenizer(
        SentencePieceTokenizer.vocabulary_of(model(), markers=True), model(), markers=True
    ),
    "ernie_m": lambda: ErnieMTokenizer(_ernie_m(), model()),
    "ernie_m, folded": lambda: ErnieMTokenizer(_ernie_m(), train_sentencepiece(CORPUS, size=140, lowercase=False), True),
}
CLEANED = ("char, cleaned", "wordpiece + terms, cleaned", "sentencepiece, cleaned")
KINDS = [*MAKERS, *(f"{name} + terms" for name in MAKERS), *CLEANED]


@cache
def made(kind: str) -> Tokenizer:
    if kind.endswith(", cleaned"):
        return with_cleaning(made(kind.removesuffix(", cleaned")), tuple(CLEANING_STEPS))
    base = MAKERS[kind.removesuffix(" + terms")]()
    return (
        add_terms(base, [term for term in TERMS if len(term) > 1 or term not in base.vocabulary])[0]
        if "terms" in kind
        else base
    )


def mixtures(count: int, *, seed: int) -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choice(generator.choice(POOLS)) for _ in range(generator.randint(0, 14))) for _ in range(count)]


TEXTS = [*NASTY, *CORPUS, *mixtures(300, seed=1)]
