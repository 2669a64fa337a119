"""The exporter for ONNX Runtime: Paddle's program, translated by paddle2onnx in a process of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from paddlenlp_embtune.export._onnx_process import started_ahead, translate
from paddlenlp_embtune.export.paddle_inference import export_paddle_inference

__all__ = ["export_onnx"]


def export_onnx(model: Any, folder: Path) -> tuple[str, ...]:
    """Write ``onnx/model.onnx``: opset 17, batch and length left open, input ``input_ids``, output ``logits``.

    Where the layer gives the vectors of texts, they are a second output, ``vectors``.

    paddle2onnx aborts the whole process on an operator that it does not know, and its default optimizer may install
    packages; so it runs as a child process, without that optimizer.

    Args:
        model: maps (B, L) int64 ids to (B, C) float32 logits.
        folder: the bundle that is being written.
    Returns:
        The files written, relative to ``folder``.
    Raises:
        HostError: the layer cannot be traced or translated.
    """
    target = folder / "onnx" / "model.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        files = export_paddle_inference(model, Path(scratch))
        program = next(Path(scratch) / name for name in files if name.endswith((".json", ".pdmodel")))
        translate(program, program.with_suffix(".pdiparams"), target)
    return ("onnx/model.onnx",)


# Looked for before training begins: a run must not fail at its very end for want of a package.
export_onnx.requires = ("paddle2onnx", "onnx", "onnxruntime")  # type: ignore[attr-defined]
# Entered when training has ended: the process imports while the weights are proven and measured.
export_onnx.ahead = started_ahead  # type: ignore[attr-defined]
