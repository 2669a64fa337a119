"""Sequences of tasks, against figures worked out by hand."""

from __future__ import annotations

import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation import task_sequence

MATRIX = [[0.9, 0.5, 0.4], [0.7, 0.8, 0.6], [0.75, 0.6, 0.95]]


def test_figures_are_those_of_the_papers() -> None:
    found = task_sequence(("a", "b", "c"), MATRIX, before=(0.5, 0.5, 0.5))
    assert found.average_accuracy == pytest.approx((0.75 + 0.6 + 0.95) / 3)
    assert found.backward_transfer == pytest.approx(((0.75 - 0.9) + (0.6 - 0.8)) / 2)
    assert found.forward_transfer == pytest.approx(((0.5 - 0.5) + (0.6 - 0.5)) / 2)
    assert found.forgotten == pytest.approx((0.9 - 0.75, 0.8 - 0.6))
    assert found.forgetting == pytest.approx(0.175)


def test_forgetting_counts_from_the_best_even_before_the_task_was_learnt() -> None:
    found = task_sequence("abc", [[0.9, 0.85, 0.4], [0.7, 0.8, 0.6], [0.75, 0.6, 0.95]])
    assert found.forgotten[1] == pytest.approx(0.85 - 0.6)
    assert found.forward_transfer is None


def test_one_task_forgets_nothing() -> None:
    found = task_sequence(("a",), [[0.8]], before=(0.5,))
    assert (found.average_accuracy, found.backward_transfer, found.forward_transfer, found.forgetting) == (
        0.8,
        None,
        None,
        None,
    )


def test_the_table_has_a_row_for_each_task() -> None:
    lines = task_sequence(("a", "b", "c"), MATRIX, before=(0.5, 0.5, 0.5)).table().splitlines()
    assert lines[0] == "| after | a | b | c |"
    assert lines[2] == "| nothing | 50.0 | 50.0 | 50.0 |"
    assert lines[5] == "| c | 75.0 | 60.0 | 95.0 |"
    assert lines[-1] == "average accuracy 76.7, backward transfer -17.5, forward transfer 5.0, forgetting 17.5"


@pytest.mark.parametrize(
    ("matrix", "told"),
    [
        ([[0.9, 0.5]], "one row of 2 for each of the 2 tasks"),
        ([[90.0, 50.0], [70.0, 80.0]], "not percent"),
        ([[float("nan"), 0.5], [0.7, 0.8]], "accuracies must be 0 to 1"),
    ],
)
def test_what_is_no_matrix_of_accuracies_is_refused(matrix: list[list[float]], told: str) -> None:
    with pytest.raises(DataError, match=told):
        task_sequence(("a", "b"), matrix)


def test_before_is_of_the_same_tasks() -> None:
    with pytest.raises(DataError, match="one accuracy for each of the 3 tasks"):
        task_sequence(("a", "b", "c"), MATRIX, before=(0.5,))
