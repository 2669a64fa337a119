"""The best model within a budget of time and the limits of its user: arms by successive halving, one bundle at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.experiments.auto.budget import parse_duration as parse_duration
    from paddlenlp_embtune.experiments.auto.leaderboard import Entry as Entry
    from paddlenlp_embtune.experiments.auto.limits import Limits as Limits
    from paddlenlp_embtune.experiments.auto.result import AutoResult as AutoResult
    from paddlenlp_embtune.experiments.auto.run import AutoSpec as AutoSpec, choose_model as choose_model
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "budget": "parse_duration",
            "leaderboard": "Entry",
            "limits": "Limits",
            "result": "AutoResult",
            "run": "AutoSpec choose_model",
        },
    )
