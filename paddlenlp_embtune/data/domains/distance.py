"""How well a classifier tells two domains apart, on texts that it was not fitted on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.data.validation import text_key
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation.baselines import build_baseline, out_of_fold_scores
from paddlenlp_embtune.text import clean

__all__ = ["LEAST_TEXTS", "DomainDistance", "domain_distance"]

LEAST_TEXTS = 20
_MOST_TEXTS = 4000
_FOLDS = 3
_NAMES = ("a", "b")


@dataclasses.dataclass(frozen=True)
class DomainDistance:
    """What a domain classifier says out of fold.

    Args:
        texts: how many of each side were answered; copies count once, and both sides have as many.
        accuracy: share that were assigned to their own side; .5 by chance.
        a_distance: 2 (1 - 2 error), from 0 (the same) to 2 (separated without error); not below 0.
        auc: chance that a text of the second side is thought likelier to be of it than one of the first.
    """

    texts: int
    accuracy: float
    a_distance: float
    auc: float


def domain_distance(first: Sequence[str], second: Sequence[str], *, seed: int = 0) -> DomainDistance:
    """Measure the proxy A-distance of two sets with TF-IDF of characters and a logistic regression.

    Both sides are drawn to the same number, so that chance is a half. A text that both sides have is of both.

    Args:
        first: texts of the source, 20 different ones or more.
        second: texts of the target, likewise.
        seed: of the draw and the folds.
    Raises:
        DataError: there are too few different texts.
        MissingDependencyError: scikit-learn is not installed.
    Source:
        Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation", section 4; the linear classifier as in
        Blitzer et al. 2007, "Biographies, Bollywood, Boom-boxes and Blenders"
    """
    sides = [_distinct(texts) for texts in (first, second)]
    if (fewest := min(map(len, sides))) < LEAST_TEXTS:
        raise DataError(
            f"one side has only {fewest} different texts; expected {LEAST_TEXTS} or more on each, so that a classifier can be "
            "fitted and tried on others"
        )
    count = min(fewest, _MOST_TEXTS)
    generator = np.random.default_rng(seed)
    drawn = [[texts[row] for row in np.sort(generator.permutation(len(texts))[:count])] for texts in sides]
    scores = out_of_fold_scores(
        lambda: build_baseline("tfidf", seed=seed),
        [*drawn[0], *drawn[1]],
        [*[_NAMES[0]] * count, *[_NAMES[1]] * count],
        folds=_FOLDS,
        groups=_groups([*drawn[0], *drawn[1]]),
        seed=seed,
    )[:, 1]
    found = np.nan_to_num(scores, nan=0.5)
    truth = np.repeat([False, True], count)
    half = 0.5 * (found == 0.5)
    accuracy = float(np.where(truth, (found > 0.5) + half, (found < 0.5) + half).mean())
    return DomainDistance(
        texts=count,
        accuracy=round(accuracy, 4),
        a_distance=round(max(0.0, 2 * (1 - 2 * (1 - accuracy))), 4),
        auc=round(_auc(found[~truth], found[truth]), 4),
    )


def _distinct(texts: Sequence[str]) -> list[str]:
    """Return the cleaned texts, each once, in order."""
    found = {text_key(text): clean(text, lowercase=True) for text in reversed(texts)}
    return list(reversed(found.values()))


def _groups(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return a number for each text; equal ones, of both sides, have the same and stay in one fold."""
    numbers: npt.NDArray[np.int64] = np.unique(np.array([text_key(text) for text in texts]), return_inverse=True)[1]
    return numbers


def _auc(below: npt.NDArray[np.float64], above: npt.NDArray[np.float64]) -> float:
    """Return the area under the ROC curve; ties count a half."""
    ordered = np.sort(below)
    wins = np.searchsorted(ordered, above, side="left") + np.searchsorted(ordered, above, side="right")
    return float(wins.mean() / (2 * len(below)))
