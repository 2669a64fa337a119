"""Callbacks, one a file: each works on any PaddleNLP Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.training.callbacks.alarms import resolve_alarms as resolve_alarms
    from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback as EmbtuneCallback
    from paddlenlp_embtune.training.callbacks.checkpoint_seals import CheckpointSealCallback as CheckpointSealCallback
    from paddlenlp_embtune.training.callbacks.cpu_kernels import CpuKernelsCallback as CpuKernelsCallback
    from paddlenlp_embtune.training.callbacks.early_stopping import (
        EarlyStoppingCallback as EarlyStoppingCallback,
        StopReason as StopReason,
    )
    from paddlenlp_embtune.training.callbacks.embedding_health import EmbeddingHealthCallback as EmbeddingHealthCallback
    from paddlenlp_embtune.training.callbacks.freezing import FreezingCallback as FreezingCallback
    from paddlenlp_embtune.training.callbacks.gradient_clipping import (
        GlobalNormClippingCallback as GlobalNormClippingCallback,
        GradientClippingCallback as GradientClippingCallback,
        clip_norm as clip_norm,
        clip_rows as clip_rows,
    )
    from paddlenlp_embtune.training.callbacks.layer_cache import LayerCacheCallback as LayerCacheCallback
    from paddlenlp_embtune.training.callbacks.learning_rate import LearningRateCallback as LearningRateCallback
    from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows as MonitoredRows
    from paddlenlp_embtune.training.callbacks.replica_check import ReplicaCheckCallback as ReplicaCheckCallback
    from paddlenlp_embtune.training.callbacks.resume import ResumeCallback as ResumeCallback
    from paddlenlp_embtune.training.callbacks.row_constraints import RowConstraintsCallback as RowConstraintsCallback
    from paddlenlp_embtune.training.callbacks.sparse_embedding import SparseEmbeddingCallback as SparseEmbeddingCallback
    from paddlenlp_embtune.training.callbacks.vocabulary_guard import VocabularyGuardCallback as VocabularyGuardCallback
    from paddlenlp_embtune.training.callbacks.weight_averaging import WeightAveragingCallback as WeightAveragingCallback
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "alarms": "resolve_alarms",
            "base": "EmbtuneCallback",
            "checkpoint_seals": "CheckpointSealCallback",
            "cpu_kernels": "CpuKernelsCallback",
            "early_stopping": "EarlyStoppingCallback StopReason",
            "embedding_health": "EmbeddingHealthCallback",
            "freezing": "FreezingCallback",
            "gradient_clipping": "GradientClippingCallback GlobalNormClippingCallback clip_norm clip_rows",
            "layer_cache": "LayerCacheCallback",
            "learning_rate": "LearningRateCallback",
            "monitored_rows": "MonitoredRows",
            "replica_check": "ReplicaCheckCallback",
            "resume": "ResumeCallback",
            "row_constraints": "RowConstraintsCallback",
            "sparse_embedding": "SparseEmbeddingCallback",
            "vocabulary_guard": "VocabularyGuardCallback",
            "weight_averaging": "WeightAveragingCallback",
        },
    )
