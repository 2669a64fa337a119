"""Regularization of the training step: R-Drop, adversarial perturbation, label smoothing, embedding dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.training.regularization.apply import (
        RegularizationCallback as RegularizationCallback,
        regularize as regularize,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "apply": "RegularizationCallback regularize",
        },
    )
