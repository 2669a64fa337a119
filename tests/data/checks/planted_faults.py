"""Rows with planted faults, for the checks of data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from paddlenlp_embtune.data.checks import CheckedRows, CheckReport, check_rows, read_checked_rows
from paddlenlp_embtune.text import CharTokenizer, Vocabulary
from tests.helpers import tsv

Rows = Sequence[tuple[str, str]]
TOPICS = {
    "利好": "增长盈利回购中标订单创新高扩产分红提价涨停",
    "利空": "亏损减持立案退市违约爆仓下滑裁员停产跌停",
    "中性": "召开会议聘任公告变更地址日常经营章程换届",
}
COMMON = "公司集团银行基金今日表示关于的在与及将已年月季度业务板块"


def invented(count: int, *, seed: int = 0, length: int = 24) -> list[tuple[str, str]]:
    """Texts of random characters, half of them typical of the label."""
    generator = random.Random(seed)
    labels = list(TOPICS)
    return [
        (
            "".join(generator.choice(TOPICS[label] if generator.random() < 0.5 else COMMON) for _ in range(length)),
            label,
        )
        for label in (labels[number % len(labels)] for number in range(count))
    ]


def edited(text: str, count: int, generator: random.Random) -> str:
    """Change so many characters of a text."""
    characters = list(text)
    for at in generator.sample(range(len(characters)), count):
        characters[at] = generator.choice(["", "甲", "乙" + characters[at], "丙"])
    return "".join(characters)


def read(folder: Path, **splits: Rows) -> CheckedRows:
    """Write splits as files, and read them for checking."""
    files = []
    for name, rows in splits.items():
        (folder / f"{name}.tsv").write_text(tsv(rows), encoding="utf-8")
        files.append((name, folder / f"{name}.tsv"))
    return read_checked_rows(files, text_column="text", label_column="label")


def checked(rows: CheckedRows, *, suspects: bool = False, similarity: float = 0.9, max_length: int = 32) -> CheckReport:
    """Check rows with characters of the first file as tokens."""
    own = [text for text, file in zip(rows.texts, rows.file_of, strict=True) if file == 0]
    tokenizer = CharTokenizer(Vocabulary.from_counts(CharTokenizer.count(own, lowercase=True)))
    return check_rows(
        rows,
        tokenizer=tokenizer,
        max_length=max_length,
        similarity=similarity,
        suspects=suspects,
    )
