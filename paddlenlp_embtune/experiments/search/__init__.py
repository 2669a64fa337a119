"""Hyperparameter search with Optuna over any field of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.experiments.search.run import (
        SearchResult as SearchResult,
        SearchSpec as SearchSpec,
        search as search,
    )
    from paddlenlp_embtune.experiments.search.space import Dimension as Dimension, Space as Space
    from paddlenlp_embtune.experiments.search.study import TrialRecord as TrialRecord
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "run": "SearchResult SearchSpec search",
            "space": "Dimension Space",
            "study": "TrialRecord",
        },
    )
