"""The baseline of a training run: fitted on the same rows, and compared with the model on the development rows."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from paddlenlp_embtune.config import AUTO_BASELINE
from paddlenlp_embtune.evaluation.baselines._several import NAME as SEVERAL, compare_several, fit_several
from paddlenlp_embtune.evaluation.baselines.baseline import build_baseline, out_of_fold_f1, predict_labels
from paddlenlp_embtune.evaluation.comparison import Comparison, Figure, compare, verdict
from paddlenlp_embtune.evaluation.metrics import classification_report
from paddlenlp_embtune.inference import MULTI

__all__ = ["FittedBaselines", "compare_with_baseline", "fit_baselines"]

_AUTO = ("tfidf", "tfidf-svm")
_LEVEL = 0.05
_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class FittedBaselines:
    """What baselines answer on the development rows.

    Args:
        name: the baseline that the model is compared with.
        out_of_fold: the macro-F1 on training rows by which it was chosen, by name; empty where a recipe names it.
        answers: the labels of the development rows, by name of the baseline; of rows that may have several, collections of
            them.
        seconds: of all that was fitted.
    """

    name: str
    out_of_fold: Mapping[str, float]
    answers: Mapping[str, Sequence[str] | Sequence[Sequence[str]]]
    seconds: float


def fit_baselines(
    choice: str,
    texts: Sequence[str],
    labels: Sequence[str] | Sequence[Sequence[str]],
    dev_texts: Sequence[str],
    *,
    seed: int = 0,
) -> FittedBaselines:
    """Fit the baselines of a run, and label its development rows; the labels of these are not needed.

    Args:
        choice: a baseline, or ``auto`` for the one that is better out of fold. Of rows that may have several labels, the only
            one is ``tfidf``, with a logistic regression of each label against the rest.
        texts: N training texts.
        labels: their labels, two different ones at least; collections of them where a text may have several.
        dev_texts: the development texts.
        seed: seeds folds and fits.
    Raises:
        MissingDependencyError: a package is not installed.
    """
    started = time.perf_counter()
    if any(not isinstance(label, str) for label in labels):
        known = sorted({label for own in labels for label in own})
        given, _, f1 = fit_several(texts, MULTI.encode(labels, known), dev_texts, seed=seed)
        answered = tuple(tuple(known[each] for each in np.flatnonzero(row).tolist()) for row in given)
        return FittedBaselines(SEVERAL, {SEVERAL: f1}, {SEVERAL: answered}, time.perf_counter() - started)
    labels = cast("Sequence[str]", labels)
    names = _AUTO if choice == AUTO_BASELINE else (choice,)
    scores: dict[str, float] = {}
    if len(names) > 1:
        scores = {name: out_of_fold_f1(functools.partial(build_baseline, name, seed=seed), texts, labels) for name in names}
    answers = {
        name: tuple(predict_labels(build_baseline(name, texts, labels, seed=seed).fit(texts, labels), dev_texts))
        for name in names
    }
    best = max(names, key=lambda name: scores.get(name, 0.0))
    return FittedBaselines(best, scores, answers, time.perf_counter() - started)


def compare_with_baseline(
    found: FittedBaselines, truth: Any, predicted: Any, labels: Sequence[str], *, chosen_on_them: bool
) -> dict[str, Any]:
    """Compare a model with its baseline on the development rows.

    Args:
        found: what the baselines answer.
        truth: N class numbers, or (N, C) of 0 and 1 where rows may have several labels.
        predicted: the same of the model.
        labels: the class names, C.
        chosen_on_them: whether the weights of the model were chosen on these rows, which favours it.
    Returns:
        ``name``, ``seconds``, ``accuracy`` and ``f1_macro`` of the baseline; ``candidates``, the same of all that were fitted,
        with ``out_of_fold_f1_macro``; ``difference`` by metric, of the model to the baseline, with its ``interval`` and
        ``p``; ``ahead``, ``model``, ``baseline`` or None where that is not known; and ``summary``, the same in a sentence.
    """
    if np.ndim(truth) == 2:
        ours = MULTI.encode(found.answers[found.name], labels)
        both = np.asarray(truth), ours, np.asarray(predicted)
        return compare_several(found.name, found.seconds, *both, labels, chosen_on_them=chosen_on_them)
    number = {label: index for index, label in enumerate(labels)}
    answers = {name: [number[label] for label in cast("Sequence[str]", labelled)] for name, labelled in found.answers.items()}
    candidates = {}
    for name, answered in answers.items():
        report = classification_report(truth, answered, labels)
        candidates[name] = {key: report[key] for key in ("accuracy", "f1_macro")}
        if name in found.out_of_fold:
            candidates[name]["out_of_fold_f1_macro"] = found.out_of_fold[name]
    right, ours, theirs = (np.asarray(each, dtype=np.int64) for each in (truth, answers[found.name], predicted))
    compared = compare(right, ours, theirs, len(labels), resamples=_RESAMPLES)
    ahead = _ahead(compared)
    return {
        "name": found.name,
        "seconds": round(found.seconds, 2),
        **{key: candidates[found.name][key] for key in ("accuracy", "f1_macro")},
        "candidates": candidates,
        "difference": {"accuracy": _difference(compared.accuracy), "f1_macro": _difference(compared.f1_macro)},
        "ahead": ahead,
        "summary": _summary(found, compared, ahead, chosen_on_them=chosen_on_them),
    }


def _difference(figure: Figure) -> dict[str, Any]:
    return {"value": figure.difference, "interval": list(figure.interval), "p": figure.p}


def _ahead(compared: Comparison) -> str | None:
    """Who is better in accuracy or macro-F1 beyond chance, and in neither worse beyond chance."""
    better = [figure.difference > 0 for figure in (compared.accuracy, compared.f1_macro) if figure.p < _LEVEL]
    if not better or len(set(better)) > 1:
        return None
    return "model" if better[0] else "baseline"


def _summary(found: FittedBaselines, compared: Comparison, ahead: str | None, *, chosen_on_them: bool) -> str:
    said = verdict(compared, (f"the baseline {found.name}", "the model"))
    favoured = "; the weights of the model were chosen on these rows, which favours it" if chosen_on_them else ""
    if ahead == "baseline":
        first = f"the baseline {found.name} (fitted in {found.seconds:.1f} s) is ahead of the model"
    elif ahead == "model":
        first = f"the model is ahead of the baseline {found.name}"
    else:
        first = f"the difference between the model and the baseline {found.name} is within noise"
    return f"{first}: {said}{favoured}"
