"""The baseline of a run, fitted beside the training."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.evaluation.baselines import FittedBaselines, compare_with_baseline, fit_baselines
from paddlenlp_embtune.training._baseline_process import fit_in_process
from paddlenlp_embtune.training._prepare import Prepared

__all__ = ["BaselineFit", "fitting_baseline"]

_MOST_CHARACTERS = 20_000_000
_WORTH_A_PROCESS = 50_000  # characters; importing scikit-learn alone holds a run up for more than a second
_log = logging.getLogger(__name__)


class BaselineFit:
    """The baseline of a run, or why there is none.

    Args:
        fitting: what gives the answers; None where nothing is fitted.
        left_out: why nothing is fitted; empty where the recipe asks for no baseline.
    """

    def __init__(self, fitting: Future[FittedBaselines] | None, left_out: str = "") -> None:
        self._fitting, self._left_out = fitting, left_out

    def compare(self, truth: Any, predicted: Any, labels: Sequence[str], *, chosen_on_them: bool) -> dict[str, Any]:
        """Return what :func:`evaluation.baselines.compare_with_baseline` does, ``left_out`` with the reason, or nothing.

        A baseline that fails does not end the run that it stands beside.
        """
        if self._fitting is None:
            return {"left_out": self._left_out} if self._left_out else {}
        try:
            return compare_with_baseline(self._fitting.result(), truth, predicted, labels, chosen_on_them=chosen_on_them)
        except MissingDependencyError as error:
            return {"left_out": str(error)}
        except Exception as error:
            _log.warning("the baseline failed", exc_info=error)
            return {"left_out": f"it failed with {type(error).__name__}: {error}"}


@contextlib.contextmanager
def fitting_baseline(prepared: Prepared) -> Iterator[BaselineFit]:
    """Fit the recipe's baseline while the block runs: in a process of its own, or for few texts, in a thread.

    It is fitted on the rows of the data, without those that augmentation added.
    """
    choice = prepared.recipe.evaluation.baseline
    if choice is None:
        yield BaselineFit(None)
        return
    characters = sum(map(len, prepared.stated.texts))
    if characters > _MOST_CHARACTERS:
        yield BaselineFit(
            None, f"the training texts have {characters:,} characters, more than the {_MOST_CHARACTERS:,} of a quick baseline"
        )
        return
    fit = fit_in_process
    if characters < _WORTH_A_PROCESS:
        fit = fit_baselines
        for module in ("sklearn.linear_model", "sklearn.svm"):  # here, so that no thread imports while another does
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(module)
    with ThreadPoolExecutor(1, thread_name_prefix="baseline") as thread:
        stated = prepared.stated
        rows = stated.texts, stated.label_sets if stated.label_sets is not None else stated.labels
        yield BaselineFit(thread.submit(fit, choice, *rows, prepared.dev.texts, seed=prepared.recipe.seed))
