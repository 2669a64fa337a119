"""Products of Paddle's tensors, by the kernel that was selected, and in bfloat16."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune.compat.onednn import selection
from paddlenlp_embtune.compat.onednn._tensors import onednn_matmul, onednn_rounding, paddle_matmul
from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["matmul", "to_bfloat16"]


def matmul(left: Any, right: Any, *, transpose_x: bool = False, transpose_y: bool = False, bias: Any | None = None) -> Any:
    """Multiply two float32 or two bfloat16 tensors on a CPU, outside of autograd.

    Those of float32 are multiplied by the kernel that :func:`cpu_kernels` names, those of bfloat16 by oneDNN, with sums in
    float32. Where oneDNN cannot take the tensors (another type or device, no rows, gradients wanted, no fast implementation,
    memory that runs out), Paddle multiplies.

    Shapes:
        left: (..., M, K), or (..., K, M) with transpose_x; right: (..., K, N), or (..., N, K) with transpose_y, with the same
        leading axes; bias: (N,) float32 or None, for matrices without leading axes; returns: (..., M, N) float32
    """
    if selection.multiplies() or left.dtype == require_paddle().bfloat16:
        out = onednn_matmul(left, right, transpose_x=transpose_x, transpose_y=transpose_y, bias=bias)
        if out is not None:
            return out
    return paddle_matmul(left, right, transpose_x=transpose_x, transpose_y=transpose_y, bias=bias)


def to_bfloat16(tensor: Any) -> Any:
    """Round float32 values on a CPU to the nearest bfloat16 ones, outside of autograd; halfway to the even one.

    The result is a copy, which later changes of the tensor do not reach; a bfloat16 tensor is returned as it is. Values below
    2**-126 may become zero.

    Shapes:
        tensor: any; returns: the same
    """
    if tensor.dtype == require_paddle().bfloat16:
        return tensor
    out = onednn_rounding(tensor)
    return tensor.detach().astype("bfloat16") if out is None else out
