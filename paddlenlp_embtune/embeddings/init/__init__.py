"""Where the rows of an embedding start: vectors of elsewhere aligned to a vocabulary, or random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.init._initialise import initialise as initialise, initialise_random as initialise_random
    from paddlenlp_embtune.embeddings.init.alignment import Match as Match, account as account, align as align
    from paddlenlp_embtune.embeddings.init.coverage import Coverage as Coverage, Origin as Origin
    from paddlenlp_embtune.embeddings.init.new_rows import extend_table as extend_table
    from paddlenlp_embtune.embeddings.init.projection import (
        LinearMap as LinearMap,
        fit_linear as fit_linear,
        fit_orthonormal as fit_orthonormal,
        fit_pca as fit_pca,
    )
    from paddlenlp_embtune.embeddings.init.token_variants import (
        DEFAULT_FALLBACKS as DEFAULT_FALLBACKS,
        FALLBACKS as FALLBACKS,
        wanted as wanted,
    )
    from paddlenlp_embtune.embeddings.init.transfer import initialise_into as initialise_into
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "alignment": "Match account align",
            "coverage": "Coverage Origin",
            "_initialise": "initialise initialise_random",
            "new_rows": "extend_table",
            "projection": "LinearMap fit_linear fit_orthonormal fit_pca",
            "token_variants": "DEFAULT_FALLBACKS FALLBACKS wanted",
            "transfer": "initialise_into",
        },
    )
