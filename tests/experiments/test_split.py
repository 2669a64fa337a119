"""Rows of a cell: folds, and draws of some rows."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from paddlenlp_embtune.data import Examples
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.experiments import Cell, DataSet, parse_arms
from paddlenlp_embtune.experiments._split import rows_of, subset
from tests.helpers import ROWS, tsv

ARM = parse_arms(["tfidf"])[0]


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    path = tmp_path / "train.tsv"
    path.write_text(tsv([*ROWS, *ROWS[:6]]), encoding="utf-8")
    return DataSet(name="rows", train=str(path), test=str(path))


def test_folds_cover_every_row_once_and_keep_copies_together(data: DataSet) -> None:
    seen: Counter[str] = Counter()
    for number in range(3):
        train, dev, test = rows_of(Cell(arm=ARM, data=data, fold=(number, 3)))
        assert dev is None
        assert not set(train.texts) & set(test.texts)
        assert len(train) + len(test) == len(ROWS) + 6
        assert set(test.labels) == {label for _, label in ROWS}
        seen.update(test.texts)
    assert seen == Counter([text for text, _ in [*ROWS, *ROWS[:6]]])


def test_a_smaller_draw_is_part_of_a_larger_one_and_has_every_label(data: DataSet) -> None:
    rows = Examples(tuple(f"{number}" for number in range(300)), tuple("aaaaaaaaab"[n % 10] for n in range(300)), "x")
    draws = [set(subset(rows, size, seed=1).texts) for size in (2, 6, 20, 100, 300)]
    assert all(small < large for small, large in itertools.pairwise(draws))
    assert Counter(subset(rows, 2, seed=1).labels) == {"a": 1, "b": 1}
    assert Counter(subset(rows, 20, seed=1).labels)["b"] >= 3
    assert set(subset(rows, 20, seed=2).texts) != draws[2]


def test_with_a_size_development_rows_come_out_of_it(data: DataSet) -> None:
    train, dev, test = rows_of(Cell(arm=ARM, data=data, size=30))
    assert (len(train), dev, len(test)) == (30, None, len(ROWS) + 6)


def test_more_rows_than_there_are_and_too_many_folds_are_refused(data: DataSet) -> None:
    with pytest.raises(DataError, match=r"1000 rows of .* are asked for, which has 66; expected a smaller size"):
        rows_of(Cell(arm=ARM, data=data, size=1000))
    with pytest.raises(DataError, match="too few rows of some label for 500 folds"):
        rows_of(Cell(arm=ARM, data=data, fold=(499, 500)))
