"""How training ended: whether its result is worth keeping, and what the user must know about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from paddlenlp_embtune.errors import EmbtuneError, TrainingError
from paddlenlp_embtune.training.run_log import RunRecord

__all__ = ["check_outcome", "checking_outcome", "outcome_notes"]

_HOST_MESSAGE = "Loss contains inf or nan"
_FAILED = ("diverged", "not_finite")
_ADVICE = "lower the learning rates (embtune lr-find proposes some), warm up longer (schedule.warmup_ratio), or check the rows"


def _failed(record: RunRecord) -> Mapping[str, Any] | None:
    """Return the event that stopped a training whose loss diverged, or whose loss or weights were not finite; None without."""
    return next((event for event in record.of("stopped") if event["reason"] in _FAILED), None)


def check_outcome(record: RunRecord) -> None:
    """Refuse what a failed training left, where nothing better is known.

    Raises:
        TrainingError: it was stopped before its first evaluation; or by weights that are not finite, and no better ones were
            put back.
    """
    stopped = _failed(record)
    if stopped is None:
        return
    if not any(event["step"] < stopped["step"] for event in record.of("early_stopping")):
        raise TrainingError(f"{_what_happened(stopped)}, before the first evaluation, so nothing is kept; {_ADVICE}")
    if "parameter" in stopped and not record.of("restored"):
        raise TrainingError(
            f"{_what_happened(stopped)}, and early_stopping.restore_best is false, so nothing is kept; {_ADVICE}"
        )


@contextlib.contextmanager
def checking_outcome(record: RunRecord) -> Iterator[None]:
    """Refuse what the training inside a ``with`` block left, as :func:`check_outcome` does.

    Weights that are far off also break what looks at them afterwards, and a Trainer without early stopping raises an error of
    its own at a loss that is not finite; the cause replaces both messages.

    Raises:
        TrainingError: see above.
    """
    try:
        yield
    except (EmbtuneError, ValueError) as error:
        check_outcome(record)
        if _HOST_MESSAGE in str(error):
            raise TrainingError(
                f"the loss was not finite, and early_stopping is null, so nothing is kept; {_ADVICE}"
            ) from error
        raise
    check_outcome(record)


def outcome_notes(record: RunRecord) -> tuple[str, ...]:
    """Say what the user of a run must know about how its training ended, for the last lines."""
    stopped = _failed(record)
    if stopped is None:
        return ()
    return (f"training did not run to its end: {_what_happened(stopped)}; {_what_is_kept(record)}; {_ADVICE}",)


def _what_happened(stopped: Mapping[str, Any]) -> str:
    where = f"at step {stopped['step']}"
    if stopped["reason"] == "diverged":
        return f"the loss diverged to {stopped['smoothed_loss']:.3g} {where} (limit {stopped['limit']:.3g})"
    if "parameter" in stopped:
        return f"the parameter {stopped['parameter']} was no longer finite {where}"
    if "metric" in stopped:
        return f"the metric {stopped['metric'].removeprefix('eval_')} was {stopped['value']} {where}"
    return f"the loss was {stopped.get('loss')} {where}"


def _what_is_kept(record: RunRecord) -> str:
    if any(event["kept"] == "average" for event in record.of("averaged")):
        return "the bundle has the average of the weights before it"
    for event in record.of("restored"):
        metric = event["metric"].removeprefix("eval_")
        return f"the bundle has the best weights before it, of step {event['step']} ({metric} {event['value']:.4f})"
    return "the bundle has the last weights, as early_stopping.restore_best is false"
