"""Tuning: put a recipe on a Trainer; and each callback for itself. Needs Paddle and PaddleNLP."""

from paddlenlp_embtune.models.depth import layerwise_groups
from paddlenlp_embtune.tuning.attach import attach
from paddlenlp_embtune.tuning.average import AverageCallback
from paddlenlp_embtune.tuning.cached import CachedLayersCallback
from paddlenlp_embtune.tuning.callback import EmbtuneCallback
from paddlenlp_embtune.tuning.clip import ClipCallback, GlobalNormClipCallback, clip_norm, clip_rows
from paddlenlp_embtune.tuning.early_stopping import EarlyStoppingCallback, StopReason
from paddlenlp_embtune.tuning.freeze import FreezeCallback
from paddlenlp_embtune.tuning.groups import ParameterGroup, group_table, match_parameters, optimizer_groups, resolve_groups
from paddlenlp_embtune.tuning.health import EmbeddingHealthCallback
from paddlenlp_embtune.tuning.identity import VocabularyCallback
from paddlenlp_embtune.tuning.rates import RateCallback
from paddlenlp_embtune.tuning.record import RunRecord
from paddlenlp_embtune.tuning.regularize import RegularizationCallback, regularize
from paddlenlp_embtune.tuning.replicas import ReplicaCallback
from paddlenlp_embtune.tuning.resume import ResumeCallback
from paddlenlp_embtune.tuning.rows import RowsCallback
from paddlenlp_embtune.tuning.seals import SealCallback
from paddlenlp_embtune.tuning.sparse import SparseCallback
from paddlenlp_embtune.tuning.speed import SpeedCallback
from paddlenlp_embtune.tuning.watched import Watched
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint

__all__ = [
    "AverageCallback",
    "CachedLayersCallback",
    "ClipCallback",
    "EarlyStoppingCallback",
    "EmbeddingHealthCallback",
    "EmbtuneCallback",
    "FreezeCallback",
    "GlobalNormClipCallback",
    "ParameterGroup",
    "RateCallback",
    "RegularizationCallback",
    "ReplicaCallback",
    "ResumeCallback",
    "RowsCallback",
    "RunRecord",
    "SealCallback",
    "SparseCallback",
    "SpeedCallback",
    "StopReason",
    "VocabularyCallback",
    "Watched",
    "attach",
    "clip_norm",
    "clip_rows",
    "group_table",
    "last_checkpoint",
    "layerwise_groups",
    "match_parameters",
    "optimizer_groups",
    "regularize",
    "resolve_groups",
]
