"""Copies of training rows: which are added, under which label, and none that leaks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.config import AugmentationSpec
from paddlenlp_embtune.data import Examples, text_key
from paddlenlp_embtune.data.augmentation import AugmentationReport, augment_examples
from paddlenlp_embtune.data.augmentation._character_tables import HOMOPHONES, LOOKALIKES
from paddlenlp_embtune.data.augmentation._lexicon import alternatives, read_groups
from paddlenlp_embtune.errors import DataError
from tests.helpers import ROWS

TRAIN = Examples(tuple(text for text, _ in ROWS), tuple(label for _, label in ROWS), "train.tsv")
EDA: dict[str, Any] = {"synonyms": 0.3, "insertion": 0.3, "swap": 0.3, "deletion": 0.3}


def augment(train: Examples = TRAIN, *, seed: int = 0, dev: tuple[str, ...] = (), **spec: Any) -> tuple[Examples, Any]:
    return augment_examples(train, AugmentationSpec(**spec), dev_texts=dev, terms=("回购", "减持"), seed=seed)


@pytest.fixture
def lexicon(tmp_path: Path) -> str:
    path = tmp_path / "synonyms.txt"
    path.write_text("# ours\n公司 企业 商号\n发布,公布\n召开 举行\nAa01A01= 大额 巨额\nAa01A02# 大额 小额\n", encoding="utf-8")
    return str(path)


def test_copies_stand_behind_the_rows_with_their_labels(lexicon: str) -> None:
    rows, report = augment(lexicon=lexicon, **EDA, copies=2)
    count = len(TRAIN)
    assert (rows.texts[:count], rows.labels[:count]) == (TRAIN.texts, TRAIN.labels)
    assert report.added == len(rows) - count == sum(report.rows.values()) > count
    assert set(report.rows) == set(EDA)
    tried = [report.rows[name] + report.unchanged[name] + report.repeated[name] for name in EDA]
    assert tried == [2 * count] * 4
    said = {text[2:]: label for text, label in ROWS}
    for text, label in zip(rows.texts[count:], rows.labels[count:], strict=True):
        assert {other for what, other in said.items() if what in text} <= {label}


def test_the_same_seed_gives_the_same_copies_whatever_rows_follow(lexicon: str) -> None:
    first, _ = augment(lexicon=lexicon, **EDA)
    assert augment(lexicon=lexicon, **EDA)[0] == first
    assert augment(lexicon=lexicon, **EDA, seed=1)[0].texts != first.texts
    fewer, report = augment(TRAIN.take(range(20), "train.tsv"), swap=0.3)
    more, _ = augment(swap=0.3)
    assert fewer.texts[20:] == more.texts[len(TRAIN) :][: report.added]


def test_no_copy_equals_another_text() -> None:
    rows, _ = augment(deletion=0.4, swap=0.4, copies=4)
    keys = Counter(text_key(text) for text in rows.texts)
    assert max(keys.values()) == 1
    dev = tuple(rows.texts[len(TRAIN) :][::2])
    without, report = augment(deletion=0.4, swap=0.4, copies=4, dev=dev)
    assert not {text_key(text) for text in dev} & {text_key(text) for text in without.texts}
    assert sum(report.repeated.values()) >= len(dev)


def test_a_copy_weighs_as_its_row_does() -> None:
    weights = tuple(1.0 + number for number in range(len(TRAIN)))
    rows, report = augment(dataclasses.replace(TRAIN, weights=weights), deletion=0.4)
    assert rows.weights is not None
    assert rows.weights[: len(TRAIN)] == weights
    assert report.added == len(rows.weights) - len(TRAIN)
    labelled = dict(zip(weights, TRAIN.labels, strict=True))
    assert [labelled[weight] for weight in rows.weights] == list(rows.labels)


def test_only_characters_of_the_tables_are_taken(tmp_path: Path) -> None:
    for name, table in (("homophones", HOMOPHONES), ("lookalikes", LOOKALIKES)):
        known = alternatives(table.split())
        rows, report = augment(**{name: 0.2})
        assert report.added > len(TRAIN) / 2
        for text in rows.texts[len(TRAIN) :]:
            source = next(each for each in TRAIN.texts if len(each) == len(text) and _close(each, text, known))
            assert source
    (tmp_path / "sounds.txt").write_text("司斯\n", encoding="utf-8")
    rows, report = augment(homophones=1.0, homophone_table=str(tmp_path / "sounds.txt"))
    assert report.rows == {"homophones": sum(text.startswith("公司") for text in TRAIN.texts)}
    assert all(text.startswith("公斯") for text in rows.texts[len(TRAIN) :])


def _close(one: str, other: str, known: dict[str, tuple[str, ...]]) -> bool:
    return all(a == b or b in known.get(a, ()) for a, b in zip(one, other, strict=True))


def test_the_tables_have_characters_alone_each_once_in_a_group() -> None:
    for table in (HOMOPHONES, LOOKALIKES):
        groups = table.split()
        assert all(len(group) == len(set(group)) > 1 for group in groups)
        assert all("\u4e00" <= character <= "\u9fff" for group in groups for character in group)


def test_protected_words_of_a_file_stay(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("股东大会\n公司\n", encoding="utf-8")
    rows, _ = augment(deletion=1.0, protected=str(tmp_path / "words.txt"))
    for text in rows.texts[len(TRAIN) :]:
        assert "股东大会" in text or "股东" not in text


def test_groups_are_read_in_every_form(lexicon: str, tmp_path: Path) -> None:
    groups = read_groups(Path(lexicon), setting="augmentation.lexicon")
    assert groups == [["公司", "企业", "商号"], ["发布", "公布"], ["召开", "举行"], ["大额", "巨额"]]
    assert alternatives([["a", "b"], ["a", "c", "a"]]) == {"a": ("b", "c"), "b": ("a",), "c": ("a",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"augmentation\.lexicon is .*none\.txt, which cannot be read: No such file or directory; expected a file"),
        ("公司\n", r"augmentation\.lexicon is .*none\.txt, which has no group; expected two or more words a line"),
    ],
)
def test_a_lexicon_that_is_none_is_refused(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "none.txt"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        augment(lexicon=str(path), synonyms=0.1)


def test_the_report_counts_what_was_added() -> None:
    assert AugmentationReport({"swap": 3, "deletion": 4}, {}, {}).added == 7
