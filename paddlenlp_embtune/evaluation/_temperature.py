"""A temperature for the logits of a classifier, as far as the rows that it is fitted on support it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.evaluation._scipy import import_scipy

__all__ = [
    "FEW_ERRORS",
    "HIGHEST",
    "LOWEST",
    "TemperatureFit",
    "cross_fit_probabilities",
    "fit_temperature",
    "fit_validated_temperature",
    "folds",
    "negative_log_likelihood",
]

LOWEST, HIGHEST = 0.05, 20.0
FEW_ERRORS = 10
"""Wrong rows below which a fit is called weak: ten events for each parameter that is fitted."""

_UNSEEN_ERRORS = 4
"""Errors that rows of the same kind are taken to hold beside those that were seen."""
_MANY_ERRORS = 500
_FOLDS = 5

Floats = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.int64]
AtTemperature = Callable[[float], npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class TemperatureFit:
    """A temperature, and what supports it.

    Args:
        temperature: 1 where the rows do not support another one.
        errors: rows whose label was wrong.
        held_out: (N, C) probabilities of each row at a temperature that was not fitted on it.
        note: why the temperature is 1, or weakly supported; None where neither holds.
    """

    temperature: float
    errors: int
    held_out: npt.NDArray[np.float32]
    note: str | None


def negative_log_likelihood(probabilities: Floats, truth: Ids) -> float:
    """Return the mean of -ln of the right label's probability; (N, C) probabilities and (N,) class numbers."""
    # By hand: sklearn's log_loss clips float32 at 1e-7 and takes 40 times as long for 2,000 rows.
    chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def fit_temperature(at: AtTemperature, truth: Ids) -> float:
    """Find the temperature that makes the right labels likeliest, as far as the rows support it.

    Without errors there is no such temperature: the likelihood grows for ever as the temperature falls. So the targets are
    smoothed, and it is 1 where no row is wrong. Below 1 it falls only as far as the mean score of the answers stays below the
    share that would be right with four more errors, as long as there are fewer than 500; with fewer than ten, its logarithm
    is that share of what it would be. It never makes the right labels less likely than 1 does.

    Args:
        at: gives (N, C) probabilities at a temperature.
        truth: (N,) class numbers.
    Returns:
        0.05 to 20: below 1 where the model was too timid, above 1 where it was too sure.
    Raises:
        MissingDependencyError: scipy is not installed.
    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2; Platt 1999, "Probabilistic Outputs for
        Support Vector Machines", section 2.2, for the targets (n + 1) / (n + 2)
    """
    before = at(1.0)
    right = int((before.argmax(axis=1) == truth).sum())
    optimize = import_scipy("optimize", what="calibration")
    if right == len(truth):
        return 1.0
    found = optimize.minimize_scalar(
        lambda logarithm: _smoothed_likelihood(at(float(np.exp(logarithm))), truth),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    logarithm = float(found.x)
    if logarithm < 0 and len(truth) - right < _MANY_ERRORS:
        logarithm = _held_back(at, logarithm, most=right / (len(truth) + _UNSEEN_ERRORS))
        logarithm *= min(1.0, (len(truth) - right) / FEW_ERRORS)
    temperature = round(float(np.exp(logarithm)), 4)
    better = negative_log_likelihood(at(temperature), truth) < negative_log_likelihood(before, truth)
    return temperature if better else 1.0


def _held_back(at: AtTemperature, logarithm: float, *, most: float) -> float:
    """Return the logarithm of a temperature below 1, or the one nearest to it at which the mean score is at most so high."""

    def excess(at_logarithm: float) -> float:
        return float(at(float(np.exp(at_logarithm))).max(axis=1).mean(dtype=np.float64)) - most

    if excess(logarithm) <= 0:
        return logarithm
    if excess(0.0) >= 0:
        return 0.0
    return float(import_scipy("optimize", what="calibration").brentq(excess, logarithm, 0.0, xtol=1e-5))


def fit_validated_temperature(at: AtTemperature, truth: Ids) -> TemperatureFit:
    """Fit a temperature, and keep it if it does no worse than 1 on rows that it was not fitted on.

    Args:
        at: gives (N, C) probabilities at a temperature.
        truth: (N,) class numbers.
    Raises:
        MissingDependencyError: scipy is not installed.
    """
    before = at(1.0)
    errors, rows = int((before.argmax(axis=1) != truth).sum()), len(truth)
    temperature, held_out = fit_temperature(at, truth), before
    if temperature != 1.0:
        held_out = cross_fit_probabilities(at, truth)
        if negative_log_likelihood(held_out, truth) > negative_log_likelihood(before, truth):
            note = f"the temperature {temperature:g} is worse than 1 on rows that it was not fitted on, so it is 1"
            return TemperatureFit(1.0, errors, before, note)
    return TemperatureFit(temperature, errors, held_out, _few(errors, rows))


def _few(errors: int, rows: int) -> str | None:
    if errors == 0:
        return f"all {rows} rows are right, but a temperature is fitted to errors, so it is 1; give more rows, or harder"
    if errors < FEW_ERRORS:
        return f"{errors} of {rows} rows are wrong, few to fit a temperature to; give more rows, or harder"
    return None


def cross_fit_probabilities(at: AtTemperature, truth: Ids) -> npt.NDArray[np.float32]:
    """Return the probabilities of each fifth of the rows, (N, C), at the temperature fitted on the others."""
    result: npt.NDArray[np.float32] = at(1.0).copy()
    for rest, own in folds(len(truth)):

        def others(temperature: float, rest: npt.NDArray[np.bool_] = rest) -> npt.NDArray[np.float32]:
            return at(temperature)[rest]

        result[own] = at(fit_temperature(others, truth[rest]))[own]
    return result


def folds(rows: int) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Split rows in five at random, always the same way; yield for each part which rows are not in it, and which are."""
    part = np.random.default_rng(0).permutation(rows) % _FOLDS
    for number in range(_FOLDS):
        yield part != number, part == number


def _smoothed_likelihood(probabilities: Floats, truth: Ids) -> float:
    """The mean cross-entropy with (n + 1) / (n + 2) on the right label and the rest spread over the others."""
    rows, classes = probabilities.shape
    logs = np.log(np.maximum(probabilities.astype(np.float64), 1e-12))
    chosen = logs[np.arange(rows), truth]
    rest = 1 / (rows + 2)
    return float(-((1 - rest) * chosen + rest / (classes - 1) * (logs.sum(axis=1) - chosen)).mean())
