"""Two sets of texts: how far apart, in which words, and what is said about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune import DataError
from paddlenlp_embtune.data.domains import compare_domains, read_domain
from paddlenlp_embtune.data.domains.rows import DomainRows
from tests.helpers import Run, error_of, tsv

HOTEL = ("房间很干净", "早餐不错", "前台态度差", "离地铁近", "隔音不好", "床很舒服")
FOOD = ("送餐太慢", "味道很好", "米饭凉了", "包装漏汤", "骑手热情", "分量太少")


def drawn(said: tuple[str, ...], count: int, seed: int) -> tuple[str, ...]:
    """Return different texts out of sentences."""
    generator = np.random.default_rng(seed)
    return tuple("，".join(generator.permutation(said)[:3]) + str(number) for number in range(count))


def test_draws_of_one_domain_are_the_same_and_two_domains_are_far_apart() -> None:
    hotel, again, food = (DomainRows("x", drawn(*given)) for given in ((HOTEL, 300, 0), (HOTEL, 300, 1), (FOOD, 300, 2)))

    same, far = compare_domains(hotel, again, terms=5), compare_domains(hotel, food, terms=5)

    assert same.distance.a_distance < 0.5 < 1.9 < far.distance.a_distance
    assert (same.level, far.level) == ("same", "far")
    assert same.terms.unseen_characters < 0.05 < far.terms.unseen_characters
    assert {term.term for term in far.terms.of_first} & {"房间", "早餐", "前台", "地铁", "隔音", "床", "舒服", "干净", "不错"}
    assert all(term.log_odds > 0 for term in far.terms.of_second)
    assert compare_domains(hotel, food, terms=5) == far


def test_labels_lengths_and_shared_texts_are_told() -> None:
    first = DomainRows("a", drawn(HOTEL, 100, 0), ("好",) * 80 + ("差",) * 20)
    second = DomainRows("b", (*drawn(HOTEL, 20, 0), *(text * 4 for text in drawn(HOTEL, 80, 1))), ("好",) * 20 + ("中",) * 80)

    found = compare_domains(first, second)

    assert found.shared == 20
    assert found.label_shift is not None
    assert found.label_shift.total_variation == pytest.approx(0.8)
    assert (found.label_shift.only_first, found.label_shift.only_second) == (("差",), ("中",))
    told = " ".join(found.meaning)
    for said in (
        "20 texts are in both sets",
        "Only the second has 中",
        "Only the first has 差",
        "Texts differ in length",
        "80%",
    ):
        assert said in told


def test_the_command_reads_labelled_rows_and_plain_texts(work: Path, run: Run) -> None:
    (work / "target.txt").write_text("\n".join(drawn(FOOD, 60, 0)), encoding="utf-8")

    code, out, err = run("domains", "train.tsv", "target.txt", "--json")

    assert code == 0, err
    found = json.loads(out)
    assert set(found) == {"first", "second", "shared", "distance", "terms", "label_shift", "level", "meaning"}
    assert (found["second"]["labels"], found["label_shift"]) == (None, None)
    assert set(found["first"]["labels"]) == {"利好", "利空", "中性"}
    shown = run("domains", "train.tsv", "target.txt")
    assert "proxy A-distance" in shown[1]
    assert found["meaning"][0].split("(")[0] in shown[1]


def test_what_holds_no_text_is_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "rows.tsv").write_text(tsv([("好", "好")]), encoding="utf-8")
    with pytest.raises(DataError, match="holds no text"):
        read_domain(tmp_path / "empty.txt", text_column="text", label_column="label")
    assert "empty.txt" in error_of(run("domains", tmp_path / "rows.tsv", tmp_path / "empty.txt"), 1)
