"""Measurements of an embedding: health, drift, geometry, neighbours and term groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.metrics import health_metrics as health_metrics
    from paddlenlp_embtune.embeddings.metrics._analogies import Analogy as Analogy, read_analogies as read_analogies
    from paddlenlp_embtune.embeddings.metrics.drift import (
        cosine_drift as cosine_drift,
        norm_drift as norm_drift,
        row_norms as row_norms,
    )
    from paddlenlp_embtune.embeddings.metrics.drift_report import describe_drift as describe_drift
    from paddlenlp_embtune.embeddings.metrics.evaluation import evaluate_vectors as evaluate_vectors
    from paddlenlp_embtune.embeddings.metrics.health_metrics import PROBES as PROBES, TermRows as TermRows
    from paddlenlp_embtune.embeddings.metrics.summary import (
        describe_vectors as describe_vectors,
        nearest_tokens as nearest_tokens,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_analogies": "Analogy read_analogies",
            "drift": "cosine_drift norm_drift row_norms",
            "drift_report": "describe_drift",
            "evaluation": "evaluate_vectors",
            "health_metrics": "TermRows PROBES",
            "summary": "nearest_tokens describe_vectors",
        },
        modules=("health_metrics",),
    )
