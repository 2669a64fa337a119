"""Embedding tables: initialization, file formats, drift metrics, skip-gram training and versions. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.resize import (
        add_tokens as add_tokens,
        fill_terms_from_pieces as fill_terms_from_pieces,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "resize": "add_tokens fill_terms_from_pieces",
        },
    )
