"""The exporter for Paddle Inference: a traced program and its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import INPUT_NAME
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.models import LogitsAndVectors, vector_output

paddle = compat.require_paddle()

__all__ = ["export_paddle_inference"]


def export_paddle_inference(model: Any, folder: Path) -> tuple[str, ...]:
    """Trace a layer with batch and length left open and save it below ``paddle/``.

    Where the layer gives the vectors of texts, they are a second output.

    Args:
        model: maps (B, L) int64 ids to (B, C) float32 logits; its mode is left as it was.
        folder: the bundle that is being written.
    Returns:
        The files written, relative to ``folder``.
    Raises:
        HostError: the layer cannot be traced.
    """
    target = folder / "paddle" / "model"
    target.parent.mkdir(parents=True, exist_ok=True)
    training = model.training
    model.eval()
    layer = model if vector_output(model) is None else LogitsAndVectors(model)
    layer.eval()
    specification = [paddle.static.InputSpec([None, None], "int64", INPUT_NAME)]
    try:
        with compat.quiet():
            traced = paddle.jit.to_static(layer, input_spec=specification, full_graph=True)
            paddle.jit.save(traced, str(target))
    except OSError:
        raise
    except Exception as error:
        raise HostError(f"Paddle cannot trace {type(model).__name__}: {type(error).__name__}: {error}") from error
    finally:
        compat.untrace(layer)
        compat.untrace(model)
        if training:
            model.train()
    return tuple(sorted(f"paddle/{file.name}" for file in target.parent.iterdir()))
