"""What augmentation must leave as it is: terms, negations, numbers, directions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from paddlenlp_embtune.text import TermMatcher, clean

__all__ = ["Protection"]

_NEGATIONS = (
    "不(?!仅|但|过|断|管|论|久|同|妨|愧)",
    "没",
    "無",
    "无",
    "未(?!来)",
    "非(?!常|洲|凡)",
    "勿",
    "莫(?!名)",
    "否",
    "甭",
    "毋",
    "弗",
    "(?<![特区性分级个差辨识鉴告派类拜离])别(?!墅|致|人|的)",
    "难以|难于|缺乏|缺少|拒绝|禁止|停止|放弃|终止|避免|杜绝|取消",
    r"(?<![a-z])(?:not?|nor|none|never|without|cannot)(?![a-z])|n['’]t(?![a-z])",
)
_NUMBERS = (
    r"[+\-−±]?\d+(?:[.,:/~\-−]\d+)*\s?(?:%|‰|bps?(?![a-z])|个点|[十百千万亿元股倍成点年月日号])*",
    "[〇零一二三四五六七八九十百千万亿两半几]+",
)
_DIRECTIONS = (
    "[升降涨跌增减盈亏买卖赚赔胜败]",
    "上调|下调|上行|下行|上扬|下滑|下挫|下探|回落|回升|走高|走低|走强|走弱|新高|新低|高开|低开|高位|低位|拉升|跳水|反弹|翻红|翻绿|飘红|飘绿",
    "做多|做空|看多|看空|看好|看衰|多头|空头|利好|利空|加仓|清仓|建仓|加息|宽松|收紧|放宽|紧缩",
    "扩大|缩小|扩张|收缩|萎缩|加快|放缓|加速|提高|提振|恶化|改善|好转|变差|流入|流出|上市|退市|停牌|复牌|超预期",
    "高于|低于|大于|小于|多于|少于|优于|劣于|好于|逊于|超过|不足|以上|以下|之前|之后",
    r"(?<![a-z])(?:up|down|more|less|rise|rises|rose|fall|falls|fell|buy|sell|above|below)(?![a-z])",
)
_NEGATION = re.compile("|".join(_NEGATIONS))
_BUILT_IN = re.compile("|".join((*_NUMBERS, *_DIRECTIONS, *_NEGATIONS)))


class _Folding(dict[int, str]):
    """Width and case of single characters, so that offsets stay."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        folded = unicodedata.normalize("NFKC", character).lower()
        self[code] = folded if len(folded) == 1 else character
        return self[code]


_FOLDING = _Folding()


class Protection:
    """Finds what must stay in a text.

    Args:
        terms: words that stay, beside the built-in negations, numbers and directions.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        cleaned = (clean(term, lowercase=True).translate(_FOLDING) for term in terms)
        self._terms = TermMatcher(frozenset(term for term in cleaned if term))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of everything that must stay, in order and without overlap."""
        folded = text.translate(_FOLDING)
        found = sorted([*self._terms.spans(folded), *(match.span() for match in _BUILT_IN.finditer(folded))])
        merged: list[tuple[int, int]] = []
        for start, end in found:
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def kept(self, text: str) -> list[str]:
        """Return what must stay, in the order of the text; equal for a text and every copy of it."""
        return [text[start:end] for start, end in self.spans(text)]

    @staticmethod
    def negates(word: str) -> bool:
        """Whether a word turns around what follows it in its clause."""
        return _NEGATION.search(word.translate(_FOLDING)) is not None
