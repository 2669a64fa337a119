"""Varied copies of training rows that keep their labels: one module for each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.data.augmentation._mask_filling import Guesses as Guesses, MaskFiller as MaskFiller
    from paddlenlp_embtune.data.augmentation.augmenter import (
        AugmentationReport as AugmentationReport,
        augment_examples as augment_examples,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__, {"_mask_filling": "Guesses MaskFiller", "augmenter": "AugmentationReport augment_examples"}
    )
