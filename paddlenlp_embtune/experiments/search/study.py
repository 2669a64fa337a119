"""The study of a search in its storage: what it is of, which trials count, and what is known of them."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.experiments.search._optuna import (
    describe_storage,
    import_optuna,
    make_pruner,
    make_sampler,
    open_storage,
    storage_errors,
)
from paddlenlp_embtune.experiments.search.space import Space
from paddlenlp_embtune.utils.schema import differences

__all__ = ["Study", "TrialRecord"]

DEFAULT, SECONDS, REASON, EPOCHS, ERROR, SAME, WORKER = "default", "seconds", "reason", "epochs", "error", "same_as", "worker"
_SETTLE_SECONDS = 5.0
_IDENTITY, _VOID, _REPEATS = "identity", "void", "repeats"


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One trial that counts.

    Args:
        number: 0 is the recipe as it stands, if it was not interrupted.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        value: the metric; of a pruned trial at its last evaluation; None without any.
        values: what it changed, by field; empty for a recipe as it stands that is not in the space.
        default: whether it is the recipe as it stands.
        seconds: it took; None while it runs.
        epochs: it trained.
        reason: why it ended before its last epoch; None if it did not.
        error: of a failed trial.
        curve: the metric at each evaluation.
    """

    number: int
    state: str
    value: float | None
    values: Mapping[str, Any]
    default: bool
    seconds: float | None
    epochs: float | None
    reason: str | None
    error: str | None
    curve: tuple[tuple[int, float], ...]


class Study:
    """A study of Optuna, opened.

    Args:
        storage: path or URL.
        name: of the study in it.
        space: what varies.
        mode: ``max`` or ``min``.
        sampler, pruner: their names.
        seed: of the sampler.
        trials: how many there will be, if that is known.
    Raises:
        StudyError: the storage is locked, damaged, or cannot be reached.
        RecipeError: there is no such sampler or pruner.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        *,
        space: Space,
        mode: str,
        sampler: str,
        pruner: str,
        seed: int,
        trials: int | None = None,
    ) -> None:
        optuna = import_optuna()
        self.storage, self.space, self.mode = storage, space, mode
        pruning, opened = make_pruner(pruner), open_storage(storage)
        with storage_errors(storage):
            existing = name in optuna.get_all_study_names(opened)
            earlier = len(optuna.load_study(study_name=name, storage=opened).trials) if existing else 0
            self.is_new = not existing
            self.optuna = optuna.create_study(
                storage=opened,
                study_name=name,
                # A study that is continued must not draw the same numbers again.
                sampler=make_sampler(sampler, seed=(seed + 1000 * earlier) % 2**32, trials=trials),
                pruner=pruning,
                direction="maximize" if mode == "max" else "minimize",
                load_if_exists=True,
            )

    def claim(self, identity: Mapping[str, Any], *, default: Mapping[str, Any] | None, resume: bool) -> None:
        """Make a new study that of this search, with the recipe as it stands for its first trial; check an earlier one.

        Args:
            identity: plain values: what the search is of.
            default: the parameters of the recipe as it stands; None where it is not in the space.
            resume: whether an earlier study may go on.
        Raises:
            RecipeError: there is an earlier one, which is of something else or shall not go on.
        """
        plain = json.loads(json.dumps(identity))
        study, where = self.optuna, f"the storage {describe_storage(self.storage)} holds the study {self.optuna.study_name!r}"
        with storage_errors(self.storage):
            known = study.user_attrs.get(_IDENTITY)
            trials = study.get_trials(deepcopy=False)
            if known is None and not trials:
                study.set_user_attr(_IDENTITY, plain)
                study.enqueue_trial(dict(default or {}), user_attrs={DEFAULT: True})
                return
        if known is None:
            raise RecipeError(f"{where}, which embtune search did not begin; choose another --study or --storage")
        if rows := differences(known, plain):
            listed = "; ".join(f"{key}: {old!r} there, {new!r} now" for key, old, new in rows[:6])
            raise RecipeError(
                f"{where}, which is of another search ({listed}); choose another --study, --storage or --out, or search what "
                "it is of"
            )
        if not resume:
            raise RecipeError(f"{where} with {len(trials)} trials; go on with --resume, or choose another --out")

    def trials(self) -> list[TrialRecord]:
        """Return the trials that count, in order: not those that were interrupted, which are taken up again."""
        with storage_errors(self.storage):
            found = self.optuna.get_trials(deepcopy=False)
        return [_record(trial, self.space) for trial in found if _counts(trial)]

    def best(self) -> TrialRecord | None:
        """Return the complete trial with the best value, the earlier of two that are alike; None without any."""
        done = [trial for trial in self.trials() if trial.state == "complete" and trial.value is not None]
        sign = 1.0 if self.mode == "max" else -1.0
        return max(done, key=lambda trial: (sign * float(trial.value or 0.0), -trial.number), default=None)

    def ask(self, *, limit: int | None) -> Any:
        """Return the next trial; None when as many as the limit have begun. Exact also between processes."""
        with storage_errors(self.storage):
            if limit is not None and self._begun_before(None) >= limit:
                return None
            trial = self.optuna.ask()
            trial.set_user_attr(WORKER, [socket.gethostname(), os.getpid()])
            # Numbers are given out one by one: of trials that began at the same time, the later ones see the earlier.
            if limit is not None and self._begun_before(trial.number) >= limit:
                trial.set_user_attr(_VOID, "more trials than asked for")
                self.optuna.tell(trial, state=_state("FAIL"))
                return None
        return trial

    def _begun_before(self, number: int | None) -> int:
        trials = self.optuna.get_trials(deepcopy=False)
        return sum(_counts(trial) for trial in trials if number is None or trial.number < number)

    def suggest(self, trial: Any, recipe: Recipe) -> Recipe:
        """Return the recipe that a trial is of; that of the recipe as it stands is not changed."""
        default = bool(trial.user_attrs.get(DEFAULT))
        with storage_errors(self.storage):
            if default and not self._frozen(trial).system_attrs.get("fixed_params"):
                return recipe  # it is not in the space
            values = self.space.suggest(trial)
        return recipe if default else self.space.apply(recipe, values)

    def same_as(self, trial: Any) -> TrialRecord | None:
        """Return an earlier trial with the same parameters that ran to its end."""
        values = self.space.values(trial.params)
        alike = (each for each in self.trials() if each.state == "complete" and each.values == values)
        return next(alike, None) if values else None

    def report(self, trial: Any, value: float, step: int) -> bool:
        """Report the metric at an evaluation, 1 the first; return whether the trial should end."""
        with storage_errors(self.storage):
            trial.report(value, step)
            return bool(trial.should_prune())

    def tell(self, trial: Any, *, about: Mapping[str, Any], value: float | None = None, pruned: bool = False) -> None:
        """Write what became of a trial; without a value and without ``pruned``, it failed."""
        with storage_errors(self.storage):
            for key, known in about.items():
                if known is not None:
                    trial.set_user_attr(key, known)
            state = "PRUNED" if pruned else "FAIL" if value is None else "COMPLETE"
            self.optuna.tell(trial, None if pruned else value, state=_state(state))

    def give_back(self, trial: Any, why: str) -> None:
        """Void a trial that was interrupted, and have it run again by whoever asks next."""
        with storage_errors(self.storage):
            frozen = self._frozen(trial)
        self._give_back(frozen, why)

    def recover(self) -> int:
        """Give back the trials of processes of this machine that have ended; one that was given back before has failed.

        Returns:
            How many there were.
        """
        running = self._running()
        if any(WORKER not in trial.user_attrs for trial in running):
            time.sleep(_SETTLE_SECONDS)  # of a process that has just begun one, or was killed when it did
            running = self._running()
        lost = [trial for trial in running if WORKER not in trial.user_attrs or _is_lost(trial.user_attrs[WORKER])]
        for trial in lost:
            if _REPEATS in trial.user_attrs:
                with storage_errors(self.storage):
                    self.optuna._storage.set_trial_user_attr(trial._trial_id, ERROR, "its process ended twice, without a word")
                    self.optuna.tell(trial.number, state=_state("FAIL"), skip_if_finished=True)
            else:
                self._give_back(trial, "its process ended")
        return len(lost)

    def _running(self) -> list[Any]:
        with storage_errors(self.storage):
            found: list[Any] = self.optuna.get_trials(deepcopy=False, states=(_state("RUNNING"),))
        return found

    def _frozen(self, trial: Any) -> Any:
        return self.optuna._storage.get_trial(trial._trial_id)

    def _give_back(self, trial: Any, why: str) -> None:
        with storage_errors(self.storage):
            storage = self.optuna._storage
            storage.set_trial_user_attr(trial._trial_id, _VOID, why)
            self.optuna.tell(trial.number, state=_state("FAIL"), skip_if_finished=True)
            default = bool(trial.user_attrs.get(DEFAULT))
            # Parameters that a trial was to have stand there before it has asked for them.
            parameters = {**(trial.system_attrs.get("fixed_params") or {}), **trial.params}
            if parameters or default:
                marks = {_REPEATS: trial.number, **({DEFAULT: True} if default else {})}
                self.optuna.enqueue_trial(parameters, user_attrs=marks)

    def seconds(self, trials: Sequence[TrialRecord]) -> float | None:
        """Return the median time of the trials that ran to their end; None without any."""
        known = [trial.seconds for trial in trials if trial.state == "complete" and trial.seconds]
        return statistics.median(known) if known else None

    def importances(self) -> dict[str, float]:
        """Return how much of the spread of good results each field explains, by field; empty where too few trials tell.

        Source:
            Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
            Subspaces", as Optuna computes it
        """
        importance = import_optuna().importance
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                evaluator = importance.PedAnovaImportanceEvaluator()
                found = importance.get_param_importances(self.optuna, evaluator=evaluator)
        except (ValueError, RuntimeError, ZeroDivisionError):
            return {}
        return {field: float(share) for field, share in found.items()}


def _state(name: str) -> Any:
    return getattr(import_optuna().trial.TrialState, name)


def _counts(trial: Any) -> bool:
    return _VOID not in trial.user_attrs and trial.state.name != "WAITING"


def _is_lost(worker: Any) -> bool:
    """Whether the process of a trial is known to have ended."""
    if not isinstance(worker, list) or len(worker) != 2 or worker[0] != socket.gethostname():
        return False
    try:
        os.kill(int(worker[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _record(trial: Any, space: Space) -> TrialRecord:
    about = trial.user_attrs
    curve = tuple(sorted((int(step), float(value)) for step, value in trial.intermediate_values.items()))
    value = trial.value if trial.state.name == "COMPLETE" else curve[-1][1] if curve else None
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return TrialRecord(
        number=trial.number,
        state=states.get(trial.state.name, "running"),
        value=None if value is None else float(value),
        values=space.values(trial.params),
        default=bool(about.get(DEFAULT)),
        seconds=about.get(SECONDS),
        epochs=about.get(EPOCHS),
        reason=about.get(REASON),
        error=about.get(ERROR),
        curve=curve,
    )
