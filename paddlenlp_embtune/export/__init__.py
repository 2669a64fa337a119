"""Export: the bundle writer, exporters for Paddle Inference and ONNX, the parity gate, quantization. Loaded when used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.export._calibrate import MIN_CALIBRATION_ROWS as MIN_CALIBRATION_ROWS, calibrate as calibrate
    from paddlenlp_embtune.export.bundle_writer import (
        BundleContent as BundleContent,
        add_engines as add_engines,
        write_bundle as write_bundle,
    )
    from paddlenlp_embtune.export.from_checkpoint import bundle_checkpoint as bundle_checkpoint
    from paddlenlp_embtune.export.onnx import export_onnx as export_onnx
    from paddlenlp_embtune.export.paddle_inference import export_paddle_inference as export_paddle_inference
    from paddlenlp_embtune.export.parity import parity_batches as parity_batches, verify_parity as verify_parity
    from paddlenlp_embtune.export.quantization import MIN_QUANTIZATION_ROWS as MIN_QUANTIZATION_ROWS, quantize as quantize
    from paddlenlp_embtune.export.replace_embedding import restore_embedding as restore_embedding
    from paddlenlp_embtune.export.resize_vocabulary import (
        Resized as Resized,
        cut_bundle as cut_bundle,
        extend_bundle as extend_bundle,
    )
    from paddlenlp_embtune.export.seal import (
        best_engine as best_engine,
        bundle_lock as bundle_lock,
        reseal as reseal,
        revising as revising,
    )
    from paddlenlp_embtune.export.triton import write_triton as write_triton
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "bundle_writer": "BundleContent add_engines write_bundle",
            "_calibrate": "MIN_CALIBRATION_ROWS calibrate",
            "from_checkpoint": "bundle_checkpoint",
            "onnx": "export_onnx",
            "paddle_inference": "export_paddle_inference",
            "parity": "parity_batches verify_parity",
            "quantization": "MIN_QUANTIZATION_ROWS quantize",
            "replace_embedding": "restore_embedding",
            "resize_vocabulary": "Resized cut_bundle extend_bundle",
            "seal": "best_engine bundle_lock reseal revising",
            "triton": "write_triton",
        },
    )
