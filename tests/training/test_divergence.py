"""When a loss counts as astray: never by one batch, quickly when it stays there; and what the user is told."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.config.distillation import DistillSpec
from paddlenlp_embtune.errors import TrainingError
from paddlenlp_embtune.training._outcome import check_outcome, outcome_notes
from paddlenlp_embtune.training.divergence import LEAST_CHANCE, LossMonitor, chance_loss
from paddlenlp_embtune.training.run_log import RunRecord


def stops_at(losses: list[float], *, every: int = 1, ratio: float | None = 5.0, classes: int = 2) -> int:
    """Return the number of the log at which a run stops, counted from 1; 0 if it goes on."""
    watch = LossMonitor(ratio, chance=math.log(classes))
    for number, loss in enumerate(losses, start=1):
        if watch.update(loss, step=number * every):
            return number
    return 0


GOES_ON: dict[str, list[float]] = {
    "a trained model that meets harder rows": [0.01, 0.9, 1.2, 0.8, 0.6, 0.7, 0.5, 0.6, 0.4, 0.4, 0.3, 0.3],
    "a first batch without any loss": [0.0, *[0.6] * 20],
    "a trained model that was sure of other labels": [0.001, 9.0, 8.0, 7.5, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.6],
    "sure of other labels for long": [9.0, 11.0, 10.0, *np.linspace(9.0, 0.5, 30).tolist()],
    "one batch in the middle": [0.7, 0.6, *[0.5] * 10, 500.0, *[0.5] * 10],
    "a bad batch now and then": [0.7, 0.6, 0.6, *[0.4, 0.5, 30.0] * 8],
    "noise about chance": np.random.default_rng(0).uniform(0.3, 2.5, 60).tolist(),
    "a loss of another scale": [200.0, 180.0, *[150.0] * 20],
}
ASTRAY: dict[str, list[float]] = {
    "from the beginning": [0.7, 0.8, 25.0, 80.0, 200.0, 150.0, 300.0, 250.0],
    "late": [0.7, 0.6, *[0.4] * 20, 6.0, 40.0, 60.0, 50.0],
    "slowly": [0.7 * 1.3**number for number in range(40)],
    "to a height where it stays": [0.7, 0.6, *[0.5] * 10, *[9.0] * 5],
    "another scale": [200.0, 180.0, *[150.0] * 9, 2000.0, 3000.0, 4000.0],
}


@pytest.mark.parametrize("every", [1, 28])
@pytest.mark.parametrize("kind", GOES_ON)
def test_what_goes_on(kind: str, every: int) -> None:
    if every > 1 and kind == "a trained model that was sure of other labels":
        pytest.skip("no such run is still sure of other labels after so many steps")
    assert stops_at(GOES_ON[kind], every=every) == 0


@pytest.mark.parametrize("every", [1, 28])
@pytest.mark.parametrize("kind", ASTRAY)
def test_what_is_astray_is_stopped_soon(kind: str, every: int) -> None:
    losses = ASTRAY[kind]
    found = stops_at(losses, every=every)
    first = next(number for number, loss in enumerate(losses, start=1) if loss > 5 * max(math.log(2), losses[0]))
    assert 1 <= found - first <= 8 - 4 * (kind in ("late", "to a height where it stays", "another scale"))


def test_more_classes_have_a_higher_limit() -> None:
    losses = [0.1, 0.1, 0.1, *[0.2] * 10, *[6.0] * 5]
    assert stops_at(losses, classes=2) == 16
    assert stops_at(losses, classes=100) == 0
    assert stops_at(losses, ratio=None) == 0


@pytest.mark.parametrize("at", range(1, 16))
def test_the_state_survives_a_restart_bit_by_bit(at: int) -> None:
    losses = [*np.random.default_rng(3).uniform(0.2, 1.1, 12).tolist(), 4.0, 7.0, 9.0, 11.0]
    whole, begun = LossMonitor(5.0, chance=0.7), LossMonitor(5.0, chance=0.7)
    told = [whole.update(loss, step=step) for step, loss in enumerate(losses, start=1)]
    first = [begun.update(loss, step=step) for step, loss in enumerate(losses[:at], start=1)]
    resumed = LossMonitor(5.0, chance=0.7)
    resumed.load_state(json.loads(json.dumps(begun.state())))
    rest = [resumed.update(loss, step=step) for step, loss in enumerate(losses[at:], start=at + 1)]
    assert first + rest == told
    assert any(told)
    assert (resumed.state(), resumed.limit, resumed.smoothed) == (whole.state(), whole.limit, whole.smoothed)


@pytest.mark.parametrize(
    ("model", "classes"),
    [
        (SimpleNamespace(num_labels=5), 5),
        (SimpleNamespace(num_classes=4), 4),
        (SimpleNamespace(config=SimpleNamespace(num_labels=3)), 3),
        (SimpleNamespace(config=lambda: {"num_labels": 7}), 7),
        (SimpleNamespace(config=lambda needed: {}), 2),
        (SimpleNamespace(num_labels=None, config=None), 2),
        (SimpleNamespace(num_labels=1), 2),
        (object(), 2),
    ],
)
def test_chance_follows_from_the_number_of_classes(model: Any, classes: int) -> None:
    assert chance_loss(model) == pytest.approx(math.log(classes))


def test_chance_of_a_student_follows_from_its_loss() -> None:
    model = SimpleNamespace(num_labels=3)
    spec = DistillSpec(teacher="t", temperature=4.0, alpha=0.5, hidden=2.0)
    assert chance_loss(model, spec) == pytest.approx(math.log(3) * (0.5 * 16 + 0.5) + 2.0)
    assert chance_loss(model, DistillSpec(teacher="t", temperature=0.1, alpha=1.0)) == LEAST_CHANCE


def record_of(*events: tuple[str, dict[str, Any]]) -> RunRecord:
    record = RunRecord()
    for name, fields in events:
        record.write(name, **fields)
    return record


DIVERGED = ("stopped", {"reason": "diverged", "step": 9, "loss": 88.0, "smoothed_loss": 77.0, "limit": 3.5})
NOT_FINITE = ("stopped", {"reason": "not_finite", "step": 9, "loss": "nan"})
BROKEN = ("stopped", {"reason": "not_finite", "step": 9, "parameter": "head.weight"})
EARLIER, LATER = ("early_stopping", {"step": 4}), ("early_stopping", {"step": 9})
RESTORED = ("restored", {"step": 4, "metric": "eval_f1_macro", "value": 0.9})


@pytest.mark.parametrize("stop", [DIVERGED, NOT_FINITE, BROKEN])
@pytest.mark.parametrize("after", [[], [LATER, RESTORED]])
def test_a_run_that_went_astray_before_its_first_evaluation_is_refused(stop: Any, after: list[Any]) -> None:
    with pytest.raises(TrainingError, match=r"at step 9.*before the first evaluation, so nothing is kept; lower the learning"):
        check_outcome(record_of(stop, *after))


@pytest.mark.parametrize("stop", [DIVERGED, NOT_FINITE, BROKEN])
def test_one_that_has_better_weights_to_go_back_to_is_kept_and_says_so(stop: Any) -> None:
    record = record_of(EARLIER, stop, RESTORED)
    check_outcome(record)
    (note,) = outcome_notes(record)
    assert "training did not run to its end" in note
    assert "best weights before it, of step 4 (f1_macro 0.9000)" in note


def test_weights_that_are_not_finite_are_never_kept() -> None:
    with pytest.raises(TrainingError, match=r"head\.weight was no longer finite at step 9"):
        check_outcome(record_of(EARLIER, BROKEN))


def test_the_usual_end_needs_no_word() -> None:
    for events in ([], [EARLIER, ("stopped", {"reason": "no_improvement", "step": 8})]):
        record = record_of(*events)
        check_outcome(record)
        assert outcome_notes(record) == ()
