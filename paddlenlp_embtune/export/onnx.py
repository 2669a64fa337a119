"""The exporter for ONNX Runtime: Paddle's program, translated by paddle2onnx in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.export import _onnx_worker
from paddlenlp_embtune.export.paddle_inference import export_paddle_inference

__all__ = ["export_onnx"]

_TIMEOUT_SECONDS = 600


def export_onnx(model: Any, folder: Path) -> tuple[str, ...]:
    """Write ``onnx/model.onnx``: opset 17, batch and length left open, input ``input_ids``, output ``logits``.

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
        _translate(program, program.with_suffix(".pdiparams"), target)
    return ("onnx/model.onnx",)


# Looked for before training begins: a run must not fail at its very end for want of a package.
export_onnx.requires = ("paddle2onnx", "onnx", "onnxruntime")  # type: ignore[attr-defined]


def _translate(program: Path, weights: Path, target: Path) -> None:
    command = [sys.executable, "-m", _onnx_worker.__name__, str(program), str(weights), str(target)]
    environment = {**os.environ, "POLYGRAPHY_AUTOINSTALL_DEPS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise HostError(f"paddle2onnx did not finish within {_TIMEOUT_SECONDS} seconds") from None
    if done.returncode != 0 or not target.is_file():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if "ERROR" in line or "Error" in line] or lines[-1:]
        raise HostError(f"paddle2onnx failed with exit code {done.returncode}: {' | '.join(errors[:3])}")
