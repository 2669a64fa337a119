"""What the checks say about texts and labels: lengths, tokens, scripts, damage, shared beginnings, balance."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import paddlenlp_embtune
from tests.data.checks.planted_faults import checked, invented, read

PAGE = Path(paddlenlp_embtune.__file__).parents[1] / "docs" / "how-to" / "check.md"


def test_lengths_and_what_a_maximum_length_would_cut(tmp_path: Path) -> None:
    rows = read(tmp_path, train=[("涨" * length, label) for length in (10, 20, 40, 70) for label in ("利好", "利空")])
    found = checked(rows, max_length=32).lengths
    assert (found.cut, found.max_length) == (4, 32)
    assert found.lost == (8 + 38) / 140
    assert found.cut_at == {"32": 4, "64": 2, "128": 0, "256": 0, "512": 0}
    assert (found.tokens["median"], found.tokens["max"], found.characters["min"]) == (30, 70, 10)


def test_unknown_tokens_are_those_that_training_rows_lack(tmp_path: Path) -> None:
    found = checked(read(tmp_path, train=[("涨停", "利好"), ("跌停", "利空")], dev=[("涨囧囧", "利好")])).unknown_tokens
    assert (found.tokenizer, found.share, found.rows) == ("char", {"train": 0, "dev": 2 / 3}, {"train": 0, "dev": 1})
    assert found.worst == {"囧": 2}


def test_scripts_and_rows_in_another_one(tmp_path: Path) -> None:
    texts = ["公司涨停 20%", "股价下跌", "Stocks rose today", "かなの文章です", "12345", "한국어 문장"]
    found = checked(read(tmp_path, train=[(text, "利好") for text in texts])).languages
    assert found.rows == {"han": 2, "latin": 1, "kana": 1, "hangul": 1, "none": 1}
    assert [place.row for place in found.unusual] == [3, 4, 6]
    assert sum(found.characters.values()) == 1
    assert list(found.characters) == ["han", "latin", "kana", "hangul", "digits", "punctuation"]


def test_damage_and_markup_are_named(tmp_path: Path) -> None:
    texts = [
        "好消息锟斤拷",
        "涨停".encode().decode("latin-1") + "abc",
        "a\x00b涨",
        "<b>涨</b>",
        "见 www.x.cn",
        "@小明 好",
        "好",
    ]
    found = checked(read(tmp_path, train=[(text, "利好") for text in texts])).oddities
    assert [(each.row, each.kind, each.count) for each in found if each.row != 2] == [
        (1, "mojibake", 1),
        (3, "controls", 1),
        (4, "markup", 2),
        (5, "urls", 1),
        (6, "mentions", 1),
    ]
    assert found[2].kind == "controls"
    assert {each.found for each in found if each.row in (1, 3, 4)} == {"锟斤拷", "U+0000", "<b>"}


def test_what_many_texts_begin_with_is_found_with_its_labels(tmp_path: Path) -> None:
    rows = [
        (f"【免责声明】{text}", "利空") if number < 20 else (text, label) for number, (text, label) in enumerate(invented(90))
    ]
    (found,) = checked(read(tmp_path, train=rows)).boilerplate
    assert (found.where, found.text, found.rows, found.labels) == ("start", "【免责声明】", 20, {"利空": 20})


def test_labels_that_may_be_meant_as_one_or_are_missing(tmp_path: Path) -> None:
    train = [*invented(60), ("甲", "Positive"), ("乙", "positive"), ("丙", "ｐositive")]
    found = checked(read(tmp_path, train=train, dev=[("丁", "利好"), ("戊", "未知")]))
    assert found.label_variants == (("Positive", "positive", "ｐositive"),)
    assert found.balance.unseen == {"dev": ("未知",)}
    assert "中性" in found.balance.missing["dev"]
    assert found.balance.rare == ("Positive", "positive", "ｐositive")
    assert [finding.severity for finding in found.findings[:2]] == ["alarm", "alarm"]


def test_rows_are_read_from_json_and_keep_their_columns(tmp_path: Path) -> None:
    rows = [{"text": "涨", "label": 1, "id": 7}, {"text": None, "label": "1"}, {"text": "跌", "label": None}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    from paddlenlp_embtune.data.checks import read_checked_rows

    found = read_checked_rows([("train", path)], text_column="text", label_column="label")
    assert (found.texts, found.labels, found.records[0]["id"]) == (("涨",), ("1",), 7)
    assert (found.files[0].empty, found.files[0].unlabelled) == ((2,), (3,))


def test_the_page_lists_the_keys_of_the_report(tmp_path: Path) -> None:
    report = checked(read(tmp_path, train=invented(60)))
    plain: dict[str, Any] = report.plain()
    table = PAGE.read_text(encoding="utf-8").partition("## Keys of")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(plain)
    assert json.loads(json.dumps(plain)) == plain


def test_the_page_lists_the_fixes() -> None:
    from paddlenlp_embtune.data.checks import DEFAULT_FIXES, FIXES

    table = PAGE.read_text(encoding="utf-8").partition("| fix |")[2].partition("\n\n")[0]
    listed = {}
    for names, told, default in re.findall(r"^\| (`.*?) \| (.*) \| (yes|no) \|$", table, re.MULTILINE):
        for name in re.findall(r"`([\w-]+)`", names):
            listed[name] = default == "yes"
            assert told == FIXES[name] or name in ("empty", "unlabelled")
    assert listed == {name: name in DEFAULT_FIXES for name in FIXES}
