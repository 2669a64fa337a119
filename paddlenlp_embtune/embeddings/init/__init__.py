"""Initialization of embedding rows: from pretrained vectors aligned to a vocabulary, or at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.init.coverage import Coverage as Coverage, Origin as Origin
    from paddlenlp_embtune.embeddings.init.from_vectors import (
        initialize_from_vectors as initialize_from_vectors,
        initialize_random as initialize_random,
    )
    from paddlenlp_embtune.embeddings.init.new_rows import extend_table as extend_table
    from paddlenlp_embtune.embeddings.init.token_matching import (
        TokenMatch as TokenMatch,
        build_coverage as build_coverage,
        match_tokens as match_tokens,
    )
    from paddlenlp_embtune.embeddings.init.token_variants import (
        DEFAULT_FALLBACKS as DEFAULT_FALLBACKS,
        FALLBACKS as FALLBACKS,
        token_filter as token_filter,
    )
    from paddlenlp_embtune.embeddings.init.transfer import initialize_by_transfer as initialize_by_transfer
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "token_matching": "TokenMatch build_coverage match_tokens",
            "coverage": "Coverage Origin",
            "from_vectors": "initialize_from_vectors initialize_random",
            "new_rows": "extend_table",
            "token_variants": "DEFAULT_FALLBACKS FALLBACKS token_filter",
            "transfer": "initialize_by_transfer",
        },
    )
