"""Export: the bundle writer, exporters for Paddle Inference and ONNX, the parity gate, quantization. Loaded when used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paddlenlp_embtune.export.parity import parity_batches, verify_parity
    from paddlenlp_embtune.export.quantization import quantize
    from paddlenlp_embtune.export.writer import BundleContent, add_engines, write_bundle

__all__ = ["BundleContent", "add_engines", "parity_batches", "quantize", "verify_parity", "write_bundle"]

# Quantization needs no Paddle, and the others do.
_LAZY = {
    "BundleContent": "writer",
    "add_engines": "writer",
    "parity_batches": "parity",
    "quantize": "quantization",
    "verify_parity": "parity",
    "write_bundle": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
