"""Plugins: the hooks they may implement, loading them, and looking up what they registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.plugin import manager as manager, registry as registry
    from paddlenlp_embtune.plugin._loader import provide as provide
    from paddlenlp_embtune.plugin.contracts import cause as cause
    from paddlenlp_embtune.plugin.manager import owners as owners
    from paddlenlp_embtune.plugin.registry import Lazy as Lazy
    from paddlenlp_embtune.plugin.spec import hookimpl as hookimpl
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_loader": "provide",
            "contracts": "cause",
            "manager": "owners",
            "registry": "Lazy",
            "spec": "hookimpl",
        },
        modules=(
            "manager",
            "registry",
        ),
    )
