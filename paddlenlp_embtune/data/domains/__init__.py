"""How far two sets of texts are apart, and what that means for a model that is trained on one and used on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.data.domains.comparison import compare_domains as compare_domains
    from paddlenlp_embtune.data.domains.distance import (
        DomainDistance as DomainDistance,
        domain_distance as domain_distance,
    )
    from paddlenlp_embtune.data.domains.report import DomainReport as DomainReport
    from paddlenlp_embtune.data.domains.rows import DomainRows as DomainRows, read_domain as read_domain
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "comparison": "compare_domains",
            "distance": "DomainDistance domain_distance",
            "report": "DomainReport",
            "rows": "DomainRows read_domain",
        },
    )
