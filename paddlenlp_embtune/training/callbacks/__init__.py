"""Callbacks, one a file: each works on any PaddleNLP Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.training.callbacks.alarms import resolve_alarms as resolve_alarms
    from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback as EmbtuneCallback
    from paddlenlp_embtune.training.callbacks.checkpoint_seals import SealCallback as SealCallback
    from paddlenlp_embtune.training.callbacks.cpu_kernels import SpeedCallback as SpeedCallback
    from paddlenlp_embtune.training.callbacks.early_stopping import (
        EarlyStoppingCallback as EarlyStoppingCallback,
        StopReason as StopReason,
    )
    from paddlenlp_embtune.training.callbacks.embedding_health import EmbeddingHealthCallback as EmbeddingHealthCallback
    from paddlenlp_embtune.training.callbacks.freezing import FreezeCallback as FreezeCallback
    from paddlenlp_embtune.training.callbacks.gradient_clipping import (
        ClipCallback as ClipCallback,
        GlobalNormClipCallback as GlobalNormClipCallback,
        clip_norm as clip_norm,
        clip_rows as clip_rows,
    )
    from paddlenlp_embtune.training.callbacks.layer_cache import CachedLayersCallback as CachedLayersCallback
    from paddlenlp_embtune.training.callbacks.learning_rate import RateCallback as RateCallback
    from paddlenlp_embtune.training.callbacks.monitored_rows import Watched as Watched
    from paddlenlp_embtune.training.callbacks.replica_check import ReplicaCallback as ReplicaCallback
    from paddlenlp_embtune.training.callbacks.resume import ResumeCallback as ResumeCallback
    from paddlenlp_embtune.training.callbacks.row_constraints import RowsCallback as RowsCallback
    from paddlenlp_embtune.training.callbacks.sparse_embedding import SparseCallback as SparseCallback
    from paddlenlp_embtune.training.callbacks.vocabulary_guard import VocabularyCallback as VocabularyCallback
    from paddlenlp_embtune.training.callbacks.weight_averaging import AverageCallback as AverageCallback
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "alarms": "resolve_alarms",
            "base": "EmbtuneCallback",
            "checkpoint_seals": "SealCallback",
            "cpu_kernels": "SpeedCallback",
            "early_stopping": "EarlyStoppingCallback StopReason",
            "embedding_health": "EmbeddingHealthCallback",
            "freezing": "FreezeCallback",
            "gradient_clipping": "ClipCallback GlobalNormClipCallback clip_norm clip_rows",
            "layer_cache": "CachedLayersCallback",
            "learning_rate": "RateCallback",
            "monitored_rows": "Watched",
            "replica_check": "ReplicaCallback",
            "resume": "ResumeCallback",
            "row_constraints": "RowsCallback",
            "sparse_embedding": "SparseCallback",
            "vocabulary_guard": "VocabularyCallback",
            "weight_averaging": "AverageCallback",
        },
    )
