"""Products of Paddle's tensors, by the kernel that was selected."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune.compat.onednn import selection
from paddlenlp_embtune.compat.onednn._tensors import onednn_matmul, paddle_matmul

__all__ = ["matmul"]


def matmul(left: Any, right: Any, *, transpose_x: bool = False, transpose_y: bool = False, bias: Any | None = None) -> Any:
    """Multiply two float32 tensors on a CPU, outside of autograd, by the kernel that :func:`cpu_kernels` names.

    Where oneDNN is selected and cannot take the tensors (another type or device, no rows, gradients wanted, no fast
    implementation, memory that runs out), Paddle multiplies.

    Shapes:
        left: (..., M, K), or (..., K, M) with transpose_x; right: (..., K, N), or (..., N, K) with transpose_y, with the same
        leading axes; bias: (N,) or None, for matrices without leading axes; returns: (..., M, N)
    """
    if selection.multiplies():
        out = onednn_matmul(left, right, transpose_x=transpose_x, transpose_y=transpose_y, bias=bias)
        if out is not None:
            return out
    return paddle_matmul(left, right, transpose_x=transpose_x, transpose_y=transpose_y, bias=bias)
