"""Export: the bundle writer, exporters for Paddle Inference and ONNX, and the parity gate. Needs Paddle."""

from paddlenlp_embtune.export.parity import parity_batches, verify_parity
from paddlenlp_embtune.export.writer import BundleContent, add_engines, write_bundle

__all__ = ["BundleContent", "add_engines", "parity_batches", "verify_parity", "write_bundle"]
