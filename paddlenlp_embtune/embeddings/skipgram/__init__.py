"""Skip-gram with negative sampling and subwords, in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.skipgram.train import (
        SkipGram as SkipGram,
        Trained as Trained,
        train_skipgram as train_skipgram,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "train": "SkipGram Trained train_skipgram",
        },
    )
