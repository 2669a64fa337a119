"""One trial: a recipe of the space, trained while the study compares it with others, and ended early where it is behind."""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat import TrainerCallback
from paddlenlp_embtune.config import EvaluationSpec, Recipe
from paddlenlp_embtune.errors import RecipeError, StudyError
from paddlenlp_embtune.experiments.search.study import DEFAULT, EPOCHS, ERROR, REASON, SAME, SECONDS, Study

__all__ = ["OUT_OF_TIME", "PRUNED", "run_trial", "watched_metric"]

PRUNED, OUT_OF_TIME = "pruned", "out_of_time"
"""Why a trial ended before the recipe would have ended it; early stopping's own reasons stand beside these."""


def watched_metric(recipe: Recipe) -> tuple[str, str]:
    """Return the metric that trials are compared by, without ``eval_``, and whether more (``max``) or less of it is better."""
    stop = recipe.early_stopping
    return ("f1_macro", "max") if stop is None else (stop.metric.removeprefix("eval_"), stop.mode)


class TrialCallback(TrainerCallback):  # type: ignore[misc]
    """Reports the metric to the study at every evaluation, and ends the training where the study prunes it or time is up.

    Args:
        trial: of Optuna.
        study: that it belongs to.
        metric: without ``eval_``.
        ends_at: when time is up, as ``time.time`` counts it; None for never.
        keep: never prune: this is what all others are compared with.
    """

    def __init__(self, trial: Any, study: Study, *, metric: str, ends_at: float | None, keep: bool) -> None:
        self._trial, self._study, self._metric, self._ends_at, self._keep = trial, study, metric, ends_at, keep
        self.reason: str | None = None
        self.values: list[float] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Report, and ask whether to go on."""
        metrics = kwargs.get("metrics") or {}
        name = f"eval_{self._metric}"
        if name not in metrics or not state.global_step or self.reason is not None:
            return control
        value = float(metrics[name])
        if not math.isfinite(value):
            return control  # early stopping ends such a run
        self.values.append(value)
        if self._study.report(self._trial, value, len(self.values)) and not self._keep:
            self._stop(control, PRUNED)
        return control

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """End when time is up."""
        if self._ends_at is not None and self.reason is None and time.time() >= self._ends_at:
            self._stop(control, OUT_OF_TIME)
        return control

    def _stop(self, control: Any, reason: str) -> None:
        self.reason = reason
        control.should_training_stop = True


def run_trial(study: Study, trial: Any, recipe: Recipe, folder: Path, *, ends_at: float | None = None) -> None:
    """Train what a trial suggests, and tell the study what became of it; an interrupt gives the trial back.

    A trial of the parameters of an earlier one that ran to its end gets its value: the seed is the same, and so are the bits.

    Args:
        study: to ask and to tell.
        trial: of Optuna, as the study gave it.
        recipe: what the space changes.
        folder: for files; what a trial leaves in it is removed.
        ends_at: when time is up, as ``time.time`` counts it.
    Raises:
        EmbtuneError: the recipe as it stands cannot be trained, or the storage cannot be used.
    """
    default, started = bool(trial.user_attrs.get(DEFAULT)), time.perf_counter()
    place = folder / f"trial-{trial.number:05d}"
    try:
        changed = study.suggest(trial, recipe)
        if (earlier := study.same_as(trial)) is not None:
            study.tell(trial, value=earlier.value, about={SAME: earlier.number, SECONDS: 0.0, EPOCHS: earlier.epochs})
            return
        _train(study, trial, changed, place, ends_at=ends_at, default=default, started=started)
    except (KeyboardInterrupt, SystemExit):
        study.give_back(trial, "interrupted")
        raise
    except StudyError:
        raise
    except Exception as error:
        # One that cannot be trained must not end the others; what is the same for all of them must.
        told = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        study.tell(trial, about={ERROR: told, SECONDS: round(time.perf_counter() - started, 2)})
        if default:
            raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(place.with_name(f"{place.name}.checkpoints"), ignore_errors=True)


def _train(
    study: Study, trial: Any, recipe: Recipe, place: Path, *, ends_at: float | None, default: bool, started: float
) -> None:
    from paddlenlp_embtune.training import train

    metric, mode = watched_metric(recipe)
    callback = TrialCallback(trial, study, metric=metric, ends_at=ends_at, keep=default)
    events: dict[str, Mapping[str, Any]] = {}
    place.parent.mkdir(parents=True, exist_ok=True)
    train(
        _without_export(recipe),
        place,
        overwrite=True,
        listeners=[lambda event: events.update({event["event"]: event})],
        callbacks=[callback],
    )
    about = {
        SECONDS: round(time.perf_counter() - started, 2),
        EPOCHS: events.get("trained", {}).get("epochs"),
        REASON: callback.reason or events.get("stopped", {}).get("reason"),
    }
    if callback.reason is not None:
        study.tell(trial, pruned=True, about=about)
        return
    shipped = events.get("shipped", {})
    if shipped.get("metric") == metric:
        value: float | None = float(shipped["value"])
    else:
        value = (max if mode == "max" else min)(callback.values, default=None)
    if value is None:
        raise RecipeError(f"no evaluation gave {metric!r}, which trials are compared by; see early_stopping.metric")
    study.tell(trial, value=value, about=about)


def _without_export(recipe: Recipe) -> Recipe:
    """Leave out what costs time after the training and changes nothing in it."""
    return dataclasses.replace(
        recipe,
        vectors=dataclasses.replace(recipe.vectors, versions=False),
        train=dataclasses.replace(recipe.train, checkpoint_seconds=None),
        evaluation=EvaluationSpec(baseline=None),
        export=dataclasses.replace(recipe.export, engines=(), calibrate=False, target_precision=None, int8=None),
    )
