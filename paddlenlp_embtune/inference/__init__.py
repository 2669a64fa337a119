"""Inference: the predictor, engines, batching and explanations. With the engine onnxruntime it needs no Paddle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.inference import triton_backend as triton_backend
    from paddlenlp_embtune.inference.batching import (
        TOKENS_PER_BATCH as TOKENS_PER_BATCH,
        BatchRunner as BatchRunner,
        form_batches as form_batches,
    )
    from paddlenlp_embtune.inference.engines import (
        Engine as Engine,
        EngineOptions as EngineOptions,
        OnnxRuntimeEngine as OnnxRuntimeEngine,
        PaddleInferenceEngine as PaddleInferenceEngine,
        gpu_providers as gpu_providers,
        open_session as open_session,
        refuse_forked as refuse_forked,
        require_cpu_fp32 as require_cpu_fp32,
    )
    from paddlenlp_embtune.inference.explain import (
        Attribution as Attribution,
        Explanation as Explanation,
        given_labels as given_labels,
    )
    from paddlenlp_embtune.inference.inputs import as_list as as_list
    from paddlenlp_embtune.inference.label_kinds import (
        MULTI as MULTI,
        ORDERED as ORDERED,
        SINGLE as SINGLE,
        LabelKind as LabelKind,
        SeveralLabels as SeveralLabels,
        kind_named as kind_named,
        kind_of as kind_of,
        refuse_several_labels as refuse_several_labels,
    )
    from paddlenlp_embtune.inference.postprocessing import (
        above_threshold as above_threshold,
        probabilities_of as probabilities_of,
        softmax as softmax,
        thresholds_of as thresholds_of,
        without_scores as without_scores,
    )
    from paddlenlp_embtune.inference.predictor import Predictor as Predictor
    from paddlenlp_embtune.inference.sentence_vectors import check_dimensions as check_dimensions, unit_vectors as unit_vectors
    from paddlenlp_embtune.inference.text_index import TextIndex as TextIndex
    from paddlenlp_embtune.inference.vector_index import EXACT_ROWS as EXACT_ROWS, VectorIndex as VectorIndex
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "batching": "BatchRunner TOKENS_PER_BATCH form_batches",
            "engines": "Engine EngineOptions OnnxRuntimeEngine PaddleInferenceEngine gpu_providers open_session refuse_forked "
            "require_cpu_fp32",
            "explain": "Attribution Explanation given_labels",
            "inputs": "as_list",
            "label_kinds": "MULTI ORDERED SINGLE LabelKind SeveralLabels kind_named kind_of refuse_several_labels",
            "postprocessing": "above_threshold probabilities_of softmax thresholds_of without_scores",
            "predictor": "Predictor",
            "sentence_vectors": "check_dimensions unit_vectors",
            "text_index": "TextIndex",
            "vector_index": "EXACT_ROWS VectorIndex",
        },
        modules=("triton_backend",),
    )
