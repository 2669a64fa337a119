"""Skip-gram with negative sampling and subwords, in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.skipgram.train import (
        SkipGramConfig as SkipGramConfig,
        SkipGramResult as SkipGramResult,
        train_skipgram as train_skipgram,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "train": "SkipGramConfig SkipGramResult train_skipgram",
        },
    )
