"""What is said about a table of vectors, against counts by hand and a plain search."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.embeddings.metrics.summary import count_kinds, describe_vectors, nearest_tokens
from paddlenlp_embtune.errors import VectorError

KINDS = {
    "Han character": ["股", "##票", "▁利", "〇", "𠮷"],
    "Han word": ["公司", "##股份"],
    "Latin": ["ETF", "a-b", "é", "▁the"],
    "number": ["7", "3.14", "-5", "2024/01"],
    "special": ["[UNK]", "<s>", "[unused1]", "<0x0A>"],
    "other": ["，", "a股", "##", "▁", "ア", "😀"],
}


def table_of(names: list[str], width: int = 5) -> VectorTable:
    table = np.random.default_rng(0).normal(size=(len(names), width)).astype(np.float32)
    return VectorTable({name: row for row, name in enumerate(names)}, table, "test")


@pytest.mark.parametrize("kind", KINDS)
def test_each_token_is_of_one_kind(kind: str) -> None:
    assert count_kinds(KINDS[kind]) == {**dict.fromkeys(KINDS, 0), kind: len(KINDS[kind])}


def test_figures_are_those_of_the_rows_that_tokens_name() -> None:
    table = np.array([[3, 4], [9, 9], [0, 0], [1e-30, 0], [0, 2]], dtype=np.float32)
    found = describe_vectors(
        VectorTable({"##a": 0, "b": 2, "c": 3, "d": 4, "e": 4}, table, "test", unknown_row=1, notes=("x",)), first=2
    )
    norms = [5.0, 0.0, 0.0, 2.0]
    assert found["norms"] == pytest.approx(
        {"mean": np.mean(norms), "p5": np.percentile(norms, 5), "p95": np.percentile(norms, 95)}, abs=1e-6
    )
    assert (found["rows"], found["width"], found["first"], found["zero_rows"]) == (5, 2, ["##a", "b"], 1)
    assert found["marked"] == {"##": 1, "▁": 0}
    assert (found["subwords"], found["unknown_row"], found["notes"]) == (False, True, ["x"])


def test_a_source_of_subwords_alone_has_no_norms() -> None:
    found = describe_vectors(VectorTable({}, np.empty((0, 3), np.float32), "test", compose=lambda _: np.ones(3, np.float32)))
    assert (found["rows"], found["norms"], found["zero_rows"], found["subwords"]) == (0, None, 0, True)


def test_neighbours_are_those_of_a_plain_search() -> None:
    names = [f"t{number}" for number in range(300)]
    vectors = table_of(names)
    unit = vectors.table / np.linalg.norm(vectors.table, axis=1, keepdims=True)
    cosines = unit @ unit[17]
    expected = [row for row in np.argsort(-cosines) if row != 17][:6]
    found = nearest_tokens(vectors, "t17", k=6)
    assert found is not None
    assert [name for name, _ in found] == [names[row] for row in expected]
    assert [cosine for _, cosine in found] == pytest.approx(cosines[expected].tolist(), abs=1e-6)


def test_rows_without_a_token_and_zero_rows_are_no_neighbours() -> None:
    table = np.array([[1, 0], [1, 0.1], [0, 0], [1, 0.2], [-1, 0]], dtype=np.float32)
    vectors = VectorTable({"a": 0, "zero": 2, "b": 3, "c": 4}, table, "test")
    found = nearest_tokens(vectors, "a", k=9)
    assert found is not None
    assert [name for name, _ in found] == ["b", "c"]
    assert nearest_tokens(vectors, "zero") == []
    assert nearest_tokens(vectors, "absent") is None


def test_what_can_be_composed_has_neighbours() -> None:
    vectors = VectorTable({"a": 0, "b": 1}, np.eye(2, dtype=np.float32), "test", compose=lambda _: np.array([1, 2], np.float32))
    found = nearest_tokens(vectors, "new", k=1)
    assert found == [("b", pytest.approx(2 / 5**0.5))]


def test_there_must_be_room_for_a_neighbour() -> None:
    with pytest.raises(VectorError, match="k is 0; expected 1 or more"):
        nearest_tokens(table_of(["a"]), "a", k=0)
