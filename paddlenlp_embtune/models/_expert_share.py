"""How much the regression counts in the average with a network, from answers to rows that are held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.models._one_vs_rest import row_f1, several_log_likelihoods
from paddlenlp_embtune.models._softmax_regression import label_log_likelihoods

__all__ = ["SHARES", "choose_share"]

_FEWEST_ROWS = 50
"""Of fewer rows one or two would decide."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def choose_share(
    answers: Sequence[npt.NDArray[np.float32]],
    truth: npt.NDArray[np.int64],
    *,
    score: Callable[[npt.NDArray[np.float32]], float] | None = None,
) -> float:
    """Return the share nearest to a half that is as good as the best, as far as the rows can tell.

    A few hundred rows order the shares mostly by chance. A share is as good as the best if it is behind by no more than the
    standard error of the difference, taken row by row from which of the two is right. Fewer than 50 rows choose nothing: the
    share is a half.

    Args:
        answers: for each of ``SHARES``, the (N, C) logits of the rows.
        truth: (N,) class numbers, or (N, C), 1 for each label of a row that may have several.
        score: how good logits are, more being better; None for accuracy, of several labels the mean F1 of rows. Of two shares
            that are equally near to a half, the one with the higher log-likelihood is taken.
    Source:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3: the rule of one standard error; the paired
        difference and the half are ours
    """
    if len(truth) < _FEWEST_ROWS:
        return SHARES[len(SHARES) // 2]
    several = truth.ndim == 2
    right = [row_f1(each, truth) if several else (each.argmax(axis=1) == truth).astype(np.float64) for each in answers]
    scores = [score(logits) if score is not None else float(hits.mean()) for logits, hits in zip(answers, right, strict=True)]
    likelihood = several_log_likelihoods if several else label_log_likelihoods
    likelihoods = [float(likelihood(logits, truth).mean()) for logits in answers]
    best = max(range(len(SHARES)), key=lambda place: (scores[place], likelihoods[place]))
    errors = [float((right[best] - hits).std()) / math.sqrt(len(truth)) for hits in right]
    close = [place for place in range(len(SHARES)) if scores[best] - scores[place] <= errors[place]]
    return SHARES[min(close, key=lambda place: (abs(place - len(SHARES) // 2), -likelihoods[place]))]
