"""The parts of a recipe about monitoring: early stopping, weight averaging, alarms and embedding health."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from paddlenlp_embtune.config.optimization import MODES
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most, require_name

__all__ = ["AlarmSpec", "AverageSpec", "EarlyStoppingSpec", "HealthSpec"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlyStoppingSpec:
    """Stop when a metric no longer improves, and bring the best weights back.

    Args:
        metric: name of an evaluation metric, with or without ``eval_``.
        mode: ``max`` or ``min``; never guessed from the name.
        min_delta: an improvement counts when it is larger than this.
        patience_evals: stop after this many evaluations without improvement, 1 or more; None takes a third of the epochs, 4 at
            least; for the text CNN whose rate falls to 0 all of them, as its passes are few and it learns most at the end.
        standard_errors: of evaluations that are behind the best by no more than so many standard errors of a share of the
            development rows, the last one counts as the best, 0 or more. Few rows order evaluations mostly by chance. None
            takes 1 for the text CNN whose rate falls to 0, else 0, and for metrics that are no share, such as ``loss``, 0.
        start_delay_evals: this many first evaluations count for the best weights but not against patience. Evaluations
            while groups still wait for their release never count against it, nor for this delay.
        divergence_ratio: stop when the training loss stays above this many times what it was in the first steps, or what a
            guess has (ln C for C classes) if that is more; above 1; None never does. A loss that is not finite always stops.
        restore_best: put the best weights back into the model at the end.
    """

    metric: str = "f1_macro"
    mode: str = "max"
    min_delta: float = 0.0
    patience_evals: int | None = None
    standard_errors: float | None = None
    start_delay_evals: int = 0
    divergence_ratio: float | None = 5.0
    restore_best: bool = True

    MODES = MODES

    def __post_init__(self) -> None:
        check_types(self, where="early_stopping", error=RecipeError)
        require_name("early_stopping.mode", self.mode, MODES)
        patience, ratio = self.patience_evals, self.divergence_ratio
        require(patience is None or patience >= 1, "early_stopping.patience_evals", patience, "1 or more")
        errors = self.standard_errors
        require(errors is None or errors >= 0, "early_stopping.standard_errors", errors, "0 or more, or null")
        require(self.start_delay_evals >= 0, "early_stopping.start_delay_evals", self.start_delay_evals, "0 or more")
        require(ratio is None or ratio > 1, "early_stopping.divergence_ratio", ratio, "above 1, or null")
        require(self.min_delta >= 0, "early_stopping.min_delta", self.min_delta, "0 or more")
        for name in ("patience_evals", "start_delay_evals"):
            require_at_most(f"early_stopping.{name}", getattr(self, name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AverageSpec:
    """Average the weights along the run; the average is evaluated beside the last weights and kept where it is better.

    Args:
        kind: ``ema``, an exponential moving average of the steps, or ``swa``, the plain mean of the ends of epochs.
        decay: for ``ema``, how much of the average one step keeps, above 0 and below 1.
        every_steps: for ``ema``, steps between two updates (each with decay to this power), 1 or more.
        start_epoch: the 0-based epoch from which weights are averaged; None means 0 for ``ema`` and the last quarter of the
            epochs for ``swa``.
        metric, mode: what decides whether the average is better; None takes those of early stopping, or else ``f1_macro`` and
            ``max``.
    """

    kind: str = "ema"
    decay: float = 0.99
    every_steps: int = 10
    start_epoch: int | None = None
    metric: str | None = None
    mode: str | None = None

    KINDS = ("ema", "swa")

    def __post_init__(self) -> None:
        check_types(self, where="average", error=RecipeError)
        require_name("average.kind", self.kind, self.KINDS)
        if self.mode is not None:
            require_name("average.mode", self.mode, MODES)
        require(self.metric is not None or self.mode is None, "average.mode", self.mode, "null without average.metric")
        require(0 < self.decay < 1, "average.decay", self.decay, "above 0 and below 1")
        require(self.every_steps >= 1, "average.every_steps", self.every_steps, "1 or more")
        for name in ("every_steps", "start_epoch"):
            require_at_most(f"average.{name}", getattr(self, name))
        require(self.start_epoch is None or self.start_epoch >= 0, "average.start_epoch", self.start_epoch, "0 or more")

    def resolved(self, stopping: EarlyStoppingSpec | None) -> AverageSpec:
        """Return the same with a metric and a mode: its own, or else those of early stopping."""
        metric, mode = self.metric, self.mode or "max"
        if metric is None:
            metric, mode = (stopping.metric, stopping.mode) if stopping is not None else ("f1_macro", "max")
        return dataclasses.replace(self, metric=metric, mode=mode)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlarmSpec:
    """A threshold on a measure of health, and what to do when it is crossed.

    Args:
        measure: name of a number in a health check.
        above: the alarm is raised above this; None does not look upwards.
        below: the alarm is raised below this; None does not look downwards.
        clear: the alarm is armed again when the measure is back beyond this; None takes the threshold less (or plus) a tenth.
        after_evals: wait for this many evaluations.
        action: ``log`` only says so; ``lower_rate`` multiplies the rate of the embedding's group by ``factor``; ``freeze``
            freezes the embedding for the rest of the run; ``restore_rows`` puts the rows that have turned further than
            ``row_drift`` back to where they started; ``stop`` ends the training.
        factor: for ``lower_rate``, above 0 and below 1.
        row_drift: for ``restore_rows``, a cosine drift above 0 and at most 2.
        advice: what the message adds.
    """

    measure: str
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    after_evals: int = 0
    action: str = "log"
    factor: float = 0.3
    row_drift: float = 0.5
    advice: str = ""

    ACTIONS = ("freeze", "log", "lower_rate", "restore_rows", "stop")

    def __post_init__(self) -> None:
        check_types(self, where="alarm", error=RecipeError)
        require_name("alarm.action", self.action, self.ACTIONS)
        require(bool(self.measure), "alarm.measure", self.measure, "the name of a measure")
        given = [bound for bound in (self.above, self.below) if bound is not None]
        if len(given) != 1:
            raise RecipeError(f"alarm on {shorten(self.measure)} has {len(given)} thresholds; give it either above or below")
        require(math.isfinite(given[0]), f"threshold of the alarm on {shorten(self.measure)}", given[0], "finite")
        require(self.after_evals >= 0, "alarm.after_evals", self.after_evals, "0 or more")
        require_at_most("alarm.after_evals", self.after_evals)
        require(0 < self.factor < 1, "alarm.factor", self.factor, "above 0 and below 1")
        require(0 < self.row_drift <= 2, "alarm.row_drift", self.row_drift, "above 0 and at most 2")
        if self.clear is not None:
            allowed = self.clear <= self.above if self.above is not None else self.clear >= (self.below or 0.0)
            side = "at most" if self.above is not None else "at least"
            require(allowed, "alarm.clear", self.clear, f"{side} the threshold, {given[0]}")

    def crossed(self, value: float) -> bool:
        """Whether a value sets the alarm off; one that is not finite always does."""
        if not math.isfinite(value):
            return True
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    def cleared(self, value: float) -> bool:
        """Whether a value arms the alarm again."""
        if not math.isfinite(value):
            return False
        if self.above is not None:
            return value <= (self.clear if self.clear is not None else self.above - abs(self.above) / 10)
        bound = self.below or 0.0
        return value >= (self.clear if self.clear is not None else bound + abs(bound) / 10)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthSpec:
    """Monitor the health of the embedding.

    Args:
        every_epochs: epochs between two checks, 1 or more; epochs with fewer steps than a hundredth of the
            monitored rows are skipped, so that monitoring takes at most a hundredth of the time. The last is always checked.
        geometry_every_steps: the costlier measures (isotropy, rank, neighbours, term groups) are part of a check when this many
            steps have passed since the last time, 1 or more; None takes a tenth of the watched rows, 400 at least. The last
            check of a run always has them.
        gradient_every_steps: steps between two samples of gradients and batches, 1 or more.
        drift_alarm: the threshold of the alarm ``drift``, a mean cosine drift above 0 and at most 2.
        alarms: alarms by name, over those in the box and those of plugins; null takes one away.
    """

    every_epochs: int = 1
    geometry_every_steps: int | None = None
    gradient_every_steps: int = 32
    drift_alarm: float = 0.5
    alarms: Mapping[str, AlarmSpec | None] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self, where="health", error=RecipeError)
        for name in ("every_epochs", "geometry_every_steps", "gradient_every_steps"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"health.{name}", value, "1 or more")
            require_at_most(f"health.{name}", value)
        require(0 < self.drift_alarm <= 2, "health.drift_alarm", self.drift_alarm, "above 0 and at most 2")
