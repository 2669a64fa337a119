"""Export: bundles are built, changed and proven here, and written for Paddle Inference, ONNX and Triton. Loaded when used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.export._calibration import MIN_CALIBRATION_ROWS as MIN_CALIBRATION_ROWS
    from paddlenlp_embtune.export._engines import exporters_ahead as exporters_ahead
    from paddlenlp_embtune.export._place import bundle_lock as bundle_lock
    from paddlenlp_embtune.export.builder import BundleBuilder as BundleBuilder
    from paddlenlp_embtune.export.bundle_content import BundleContent as BundleContent
    from paddlenlp_embtune.export.bundle_writer import (
        add_engines as add_engines,
        calibrate as calibrate,
        quantize as quantize,
        write_bundle as write_bundle,
    )
    from paddlenlp_embtune.export.from_checkpoint import bundle_checkpoint as bundle_checkpoint
    from paddlenlp_embtune.export.labelled_rows import LabelledRows as LabelledRows
    from paddlenlp_embtune.export.onnx import export_onnx as export_onnx
    from paddlenlp_embtune.export.paddle_inference import export_paddle_inference as export_paddle_inference
    from paddlenlp_embtune.export.quantization import MIN_QUANTIZATION_ROWS as MIN_QUANTIZATION_ROWS
    from paddlenlp_embtune.export.replace_embedding import restore_embedding as restore_embedding
    from paddlenlp_embtune.export.resize_vocabulary import (
        Resized as Resized,
        cut_bundle as cut_bundle,
        extend_bundle as extend_bundle,
    )
    from paddlenlp_embtune.export.task_heads import bundle_of_head as bundle_of_head
    from paddlenlp_embtune.export.transaction import edit_bundle as edit_bundle, new_bundle as new_bundle
    from paddlenlp_embtune.export.triton import write_triton as write_triton
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_calibration": "MIN_CALIBRATION_ROWS",
            "_engines": "exporters_ahead",
            "_place": "bundle_lock",
            "builder": "BundleBuilder",
            "bundle_content": "BundleContent",
            "bundle_writer": "add_engines calibrate quantize write_bundle",
            "from_checkpoint": "bundle_checkpoint",
            "labelled_rows": "LabelledRows",
            "onnx": "export_onnx",
            "paddle_inference": "export_paddle_inference",
            "quantization": "MIN_QUANTIZATION_ROWS",
            "replace_embedding": "restore_embedding",
            "resize_vocabulary": "Resized cut_bundle extend_bundle",
            "task_heads": "bundle_of_head",
            "transaction": "edit_bundle new_bundle",
            "triton": "write_triton",
        },
    )
