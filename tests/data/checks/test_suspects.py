"""Suspected label errors: planted flips are found, and the selection agrees with that of the package cleanlab."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune.data import ReadOptions
from paddlenlp_embtune.data.checks import confident_errors, read_checked_rows
from paddlenlp_embtune.data.checks.suspects import find_suspects
from tests.data.checks.planted_faults import TOPICS, invented, read

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def test_planted_flips_are_found(tmp_path: Path) -> None:
    generator = random.Random(0)
    rows = invented(300)
    flipped = set(generator.sample(range(300), 15))
    given = [
        (text, generator.choice([other for other in TOPICS if other != label]) if number in flipped else label)
        for number, (text, label) in enumerate(rows)
    ]
    suspects, why = find_suspects(read(tmp_path, train=given), seed=0)
    assert why is None
    found = {each.row - 1 for each in suspects}
    assert len(found & flipped) >= 0.6 * len(flipped)
    assert len(found & flipped) >= 0.5 * len(found)
    right = [each for each in suspects if each.row - 1 in flipped]
    assert sum(each.proposal == rows[each.row - 1][1] for each in right) >= 0.8 * len(right)
    assert [each.label_probability for each in suspects] == sorted(each.label_probability for each in suspects)
    assert all(each.label == given[each.row - 1][1] and each.text == given[each.row - 1][0] for each in suspects)


def test_too_few_rows_are_no_basis_for_suspicion(tmp_path: Path) -> None:
    suspects, why = find_suspects(read(tmp_path, train=invented(30)), seed=0)
    assert suspects == ()
    assert why is not None
    assert "takes 40 rows or more" in why
    rare = [*invented(60), ("很少见的一个标签", "罕见")]
    assert find_suspects(read(tmp_path, train=rare), seed=0)[1] is None


@pytest.mark.parametrize("seed", range(6))
def test_the_selection_is_that_of_cleanlab(seed: int) -> None:
    filters = pytest.importorskip("cleanlab.filter")
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 2 + seed, size=400)
    classes[: 2 + seed] = np.arange(2 + seed)
    logits = generator.normal(size=(400, 2 + seed)) + 2.0 * (np.arange(2 + seed) == classes[:, None])
    wrong = generator.choice(np.arange(2 + seed, 400), 30, replace=False)
    classes[wrong] = (classes[wrong] + 1) % (2 + seed)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    theirs = filters.find_label_issues(
        classes, probabilities, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    assert confident_errors(probabilities, classes).tolist() == theirs.tolist()


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data sets")
@pytest.mark.parametrize("name", ["waimai", "chnsenticorp", "fin_news_pn"])
def test_planted_flips_of_real_data_are_found(name: str, tmp_path: Path) -> None:
    lines = (DATA / name / "train.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    labels = sorted({label for _, label in rows})
    generator = random.Random(0)
    flipped = set(generator.sample(range(len(rows)), len(rows) // 20))
    for number in flipped:
        rows[number][1] = generator.choice([label for label in labels if label != rows[number][1]])
    path = tmp_path / "train.tsv"
    path.write_text("\n".join([lines[0], *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")
    checked = read_checked_rows(
        [("train", path)], text_column="text", label_column="label", options=ReadOptions(quoting="none")
    )
    found = {each.row - 1 for each in find_suspects(checked, seed=0)[0]}
    assert len(found & flipped) >= 0.6 * len(flipped)
    assert len(found & flipped) >= 0.5 * len(found)
