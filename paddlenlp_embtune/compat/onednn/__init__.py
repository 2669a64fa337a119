"""The oneDNN library inside Paddle's wheel, called directly where that is faster than Paddle's own kernels and numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.compat.onednn.operators import (
        gelu as gelu,
        gelu_gradient as gelu_gradient,
        layer_norm as layer_norm,
        layer_norm_gradients as layer_norm_gradients,
    )
    from paddlenlp_embtune.compat.onednn.products import matmul as matmul, to_bfloat16 as to_bfloat16
    from paddlenlp_embtune.compat.onednn.selection import (
        BF16 as BF16,
        FP32 as FP32,
        KERNELS_VARIABLE as KERNELS_VARIABLE,
        ONEDNN as ONEDNN,
        PADDLE as PADDLE,
        CpuKernels as CpuKernels,
        cpu_kernels as cpu_kernels,
        require_bf16 as require_bf16,
        restore_kernels as restore_kernels,
        use_kernels as use_kernels,
        use_precision as use_precision,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "operators": "gelu gelu_gradient layer_norm layer_norm_gradients",
            "products": "matmul to_bfloat16",
            "selection": "BF16 FP32 KERNELS_VARIABLE ONEDNN PADDLE CpuKernels cpu_kernels require_bf16 "
            "restore_kernels use_kernels use_precision",
        },
    )
