"""Write the finance texts in the package from the sentences and patterns in ``texts/``.

``one_by_one.tsv`` holds sentences with their part. ``sentences_*.txt`` hold more, which are dealt out to the parts by their
hash. Every other ``.txt`` holds patterns, whose sentences are for training alone, so that dev and test share no pattern with
it. A block begins with ``# topic source``, where a number at the end says how many sentences each of its patterns gives at
most; a line is a level (``--`` to ``++``) and a text. In braces stand alternatives, or the name of a slot of ``slots.txt``.
"""

from __future__ import annotations

import csv
import random
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from paddlenlp_embtune.builtin import FINANCE

__all__ = ["TEXTS", "Row", "written"]

TEXTS = Path(__file__).parent / "texts"
PARTS = ("train", "dev", "test")
LEVELS = {"--": "强烈利空", "-": "轻微利空", "0": "中性", "+": "轻微利好", "++": "强烈利好"}
COPIES = 4
"""Sentences at most that a pattern gives, unless its block states another number."""
ALIKE = 0.5
"""Share of the character 4-grams of a sentence in one training sentence from which on it is no longer held out."""


class Row(NamedTuple):
    """A sentence with its level, in the order of the columns."""

    text: str
    label: str
    source: str
    topic: str


def written() -> dict[str, list[Row]]:
    """Every part's rows, always the same: no two texts are equal, and none in dev or test is nearly a training text."""
    parts: dict[str, list[Row]] = {part: [] for part in PARTS}
    with (TEXTS / "one_by_one.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            parts[row.pop("part")].append(Row(**row))
    slots = _slots()
    patterns, sentences = [], []
    for path in sorted(TEXTS.glob("*.txt")):
        if path.name != "slots.txt":
            (sentences if path.name.startswith("sentences_") else patterns).extend(_lines(path))
    for row, copies in patterns:
        parts["train"].extend(_expand(row, slots, copies))
    for row, _ in sentences:
        parts[_part(row.text)].append(row)
    return _apart(parts)


def grams(text: str, length: int = 4) -> set[str]:
    """Character n-grams of a text whose numbers are made alike."""
    plain = re.sub(r"[\W_]", "", re.sub(r"[0-9.]+", "9", text))
    return {plain[start : start + length] for start in range(max(1, len(plain) - length + 1))}


def most_alike(text: str, others: dict[str, set[int]]) -> float:
    """Largest share of the 4-grams of a text that stand in one other text."""
    own = grams(text)
    counts: dict[int, int] = {}
    for gram in own:
        for number in others.get(gram, ()):
            counts[number] = counts.get(number, 0) + 1
    return max(counts.values(), default=0) / len(own)


def index(texts: list[str]) -> dict[str, set[int]]:
    """In which texts each 4-gram stands."""
    found: dict[str, set[int]] = {}
    for number, text in enumerate(texts):
        for gram in grams(text):
            found.setdefault(gram, set()).add(number)
    return found


def _lines(path: Path) -> Iterator[tuple[Row, int]]:
    topic, source, copies = "", "", COPIES
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            topic, source, *number = line[2:].split()
            copies = int(*number) if number else COPIES
        elif line.strip():
            level, text = line.split(" ", 1)
            yield Row(text.strip(), LEVELS[level], source, topic), copies


def _slots() -> dict[str, list[str]]:
    lines = (TEXTS / "slots.txt").read_text(encoding="utf-8").splitlines()
    return {name: values.split("|") for name, values in (line.split(": ") for line in lines if not line.startswith("#"))}


def _expand(row: Row, slots: dict[str, list[str]], copies: int) -> list[Row]:
    """Some of the sentences of a pattern, drawn by its own seed, so that a change elsewhere leaves them."""
    draw = random.Random(zlib.crc32(row.text.encode()))

    def choose(match: re.Match[str]) -> str:
        inner = match[1]
        return draw.choice(inner.split("|") if "|" in inner else slots[inner])

    found = dict.fromkeys(re.sub(r"\{([^{}]*)\}", choose, row.text) for _ in range(3 * copies))
    return [row._replace(text=text) for text in list(found)[:copies]]


def _part(text: str) -> str:
    place = zlib.crc32(text.encode()) % 100
    return "test" if place < 18 else "dev" if place < 30 else "train"


def _apart(parts: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Leave out what stands twice; in dev and test also what is nearly a training text."""
    unique = {part: list({row.text: row for row in rows}.values()) for part, rows in parts.items()}
    training = index([row.text for row in unique["train"]])
    for part in ("dev", "test"):
        unique[part] = [row for row in unique[part] if most_alike(row.text, training) < ALIKE]
    return unique


def main() -> None:
    for part, rows in written().items():
        text = "\n".join("\t".join(row) for row in [Row._fields, *rows])
        (FINANCE / f"{part}.tsv").write_text(text + "\n", encoding="utf-8")
        print(part, len(rows))


if __name__ == "__main__":
    main()
