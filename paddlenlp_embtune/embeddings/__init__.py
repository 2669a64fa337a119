"""Vectors: where the rows of an embedding come from, and how they have moved. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.resize import (
        extended as extended,
        read_terms as read_terms,
        terms_from_pieces as terms_from_pieces,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "resize": "extended read_terms terms_from_pieces",
        },
    )
