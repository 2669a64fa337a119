"""Tuning: put a recipe on a Trainer; and each callback for itself. Needs Paddle and PaddleNLP."""

from paddlenlp_embtune.tuning.attach import attach
from paddlenlp_embtune.tuning.callback import EmbtuneCallback
from paddlenlp_embtune.tuning.clip import GlobalNormClipCallback
from paddlenlp_embtune.tuning.early_stopping import EarlyStoppingCallback, StopReason
from paddlenlp_embtune.tuning.freeze import FreezeCallback
from paddlenlp_embtune.tuning.groups import ParameterGroup, group_table, match_parameters, resolve_groups
from paddlenlp_embtune.tuning.health import EmbeddingHealthCallback
from paddlenlp_embtune.tuning.rates import RateCallback
from paddlenlp_embtune.tuning.record import RunRecord
from paddlenlp_embtune.tuning.resume import ResumeCallback

__all__ = [
    "EarlyStoppingCallback",
    "EmbeddingHealthCallback",
    "EmbtuneCallback",
    "FreezeCallback",
    "GlobalNormClipCallback",
    "ParameterGroup",
    "RateCallback",
    "ResumeCallback",
    "RunRecord",
    "StopReason",
    "attach",
    "group_table",
    "match_parameters",
    "resolve_groups",
]
