"""Duplicates, near-duplicates, leaks and conflicts that were planted are found, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune.data.checks._edit_distance import edit_distances
from paddlenlp_embtune.data.checks._similarity import similar_pairs
from tests.data.checks.planted_faults import checked, edited, invented, read


def numbers(places: object) -> list[int]:
    return [place.row for place in places]  # type: ignore[attr-defined]


def test_planted_duplicates_leaks_and_conflicts_are_found(tmp_path: Path) -> None:
    train, dev = invented(60), invented(30, seed=1)
    wide = (f"{train[0][0]}！", train[0][1])
    rows = read(
        tmp_path,
        train=[*train, wide, train[1], (train[2][0], "利好" if train[2][1] != "利好" else "利空")],
        dev=[*dev, train[3], dev[0]],
        test=[train[3], dev[1], *invented(5, seed=2)],
    )
    found = checked(rows)
    assert [(each.split, numbers(each.rows), each.identical, each.same_label) for each in found.duplicates] == [
        ("dev", [1, 32], True, True),
        ("train", [1, 61], False, True),
        ("train", [2, 62], True, True),
        ("train", [3, 63], True, False),
    ]
    assert [(each.kind, each.split, each.row.row, each.of_split, each.of.row) for each in found.leaks] == [
        ("exact", "dev", 31, "train", 4),
        ("exact", "test", 1, "train", 4),
        ("exact", "test", 1, "dev", 31),
        ("exact", "test", 2, "dev", 2),
    ]
    assert [(numbers(each.rows), each.splits) for each in found.conflicts] == [([3, 63], ("train",))]
    assert sorted(found.conflicts[0].labels.values()) == [1, 1]
    assert found.ceilings == {"train": pytest.approx(62 / 63), "dev": 1.0, "test": 1.0}
    assert found.near_duplicates == ()


def test_planted_near_duplicates_are_found(tmp_path: Path) -> None:
    generator = random.Random(0)
    train = [row for length in (12, 25, 60) for row in invented(60, seed=length, length=length)]
    changed = [(edited(text, len(text) // 10, generator), label) for text, label in train]
    found = checked(read(tmp_path, train=[*train, *changed[:90]], dev=changed[90:]))
    pairs = {tuple(numbers(each.rows)) for each in found.near_duplicates}
    assert len(pairs & {(number, number + 180) for number in range(1, 91)}) >= 86
    leaks = {(each.row.row, each.of.row) for each in found.leaks if each.kind == "near"}
    assert len(leaks & {(number, number + 90) for number in range(1, 91)}) >= 86
    assert all(0.85 <= each.similarity < 1 for each in found.near_duplicates)
    assert len(pairs) <= 92


def test_long_texts_are_compared_by_what_they_share() -> None:
    generator = random.Random(0)
    texts = [text for text, _ in invented(30, length=900)]
    texts += [edited(text, 60, generator) for text in texts[:20]] + [edited(text, 300, generator) for text in texts[20:]]
    first, second, alike = similar_pairs(texts, similarity=0.9)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(number, number + 30) for number in range(20)]
    assert np.all((alike > 0.9) & (alike < 0.97))


def test_similarity_is_an_option_and_short_texts_are_not_compared() -> None:
    texts = ["零一二三四五六七八九", "零一二三四五六七八十", "零一二三四五六七十十", "很好吃", "不好吃"]
    for similarity, expected in ((1.0, 0), (0.9, 2), (0.8, 3)):
        assert len(similar_pairs(texts, similarity=similarity)[0]) == expected
    assert len(similar_pairs(["一样的文字"], similarity=0.9)[0]) == 0


def plain_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for at, character in enumerate(one, start=1):
        last, row[0] = row[0], at
        for column, found in enumerate(other, start=1):
            last, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, last + (character != found))
    return row[-1]


def test_distances_are_exact_up_to_their_limit_and_above_it_beyond() -> None:
    generator = random.Random(1)
    texts = ["".join(generator.choices("甲乙丙丁", k=generator.randrange(0, 20))) for _ in range(300)]
    texts += [edited(text, min(3, len(text)), generator) for text in texts]
    first, second = np.arange(300), np.arange(300, 600)
    limits = np.array([generator.randrange(0, 7) for _ in range(300)])
    for one, other, limit, found in zip(first, second, limits, edit_distances(texts, first, second, limits), strict=True):
        expected = plain_distance(texts[one], texts[other])
        assert found == expected if expected <= limit else found > limit, (texts[one], texts[other])


def test_texts_from_one_template_do_not_make_pairs_without_end() -> None:
    texts = [f"关于召开第{number:04d}次临时股东大会的通知公告" for number in range(1500)]
    first, second, _ = similar_pairs(texts, similarity=0.8)
    assert len(first) < 100 * len(texts)
    assert set(range(1500)) == {*first.tolist(), *second.tolist()}
