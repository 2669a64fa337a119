"""The part of a recipe about evaluation: what the trained model is compared with."""

from __future__ import annotations

import dataclasses

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require_name

__all__ = ["AUTO_BASELINE", "BASELINES", "EvaluationSpec"]

AUTO_BASELINE = "auto"
BASELINES = ("tfidf", "tfidf-svm", "fasttext")
"""Names of the classifiers that need no embedding and seconds to fit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """What the trained model is compared with on the development rows.

    Args:
        baseline: ``tfidf`` (characters 1-2, logistic regression), ``tfidf-svm`` (characters 1-3, linear SVM) or ``fasttext``,
            fitted on the same training rows; ``auto`` takes that of the first two which is better out of fold; null fits none.
    """

    baseline: str | None = AUTO_BASELINE

    def __post_init__(self) -> None:
        check_types(self, where="evaluation", error=RecipeError)
        if self.baseline is not None:
            require_name("evaluation.baseline", self.baseline, (AUTO_BASELINE, *BASELINES))
