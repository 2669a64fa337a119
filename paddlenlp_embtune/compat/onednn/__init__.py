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
    from paddlenlp_embtune.compat.onednn.products import matmul as matmul
    from paddlenlp_embtune.compat.onednn.selection import (
        KERNELS_VARIABLE as KERNELS_VARIABLE,
        ONEDNN as ONEDNN,
        PADDLE as PADDLE,
        CpuKernels as CpuKernels,
        cpu_kernels as cpu_kernels,
        use_kernels as use_kernels,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "operators": "gelu gelu_gradient layer_norm layer_norm_gradients",
            "products": "matmul",
            "selection": "KERNELS_VARIABLE ONEDNN PADDLE CpuKernels cpu_kernels use_kernels",
        },
    )
