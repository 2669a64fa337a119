"""Baselines: classifiers that need no embedding, fitted in seconds, to measure every other one against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.evaluation.baselines.baseline import (
        Baseline as Baseline,
        build_baseline as build_baseline,
        out_of_fold_f1 as out_of_fold_f1,
        out_of_fold_scores as out_of_fold_scores,
        predict_labels as predict_labels,
    )
    from paddlenlp_embtune.evaluation.baselines.comparison import (
        FittedBaselines as FittedBaselines,
        compare_with_baseline as compare_with_baseline,
        fit_baselines as fit_baselines,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "baseline": "Baseline build_baseline out_of_fold_f1 out_of_fold_scores predict_labels",
            "comparison": "FittedBaselines compare_with_baseline fit_baselines",
        },
    )
