"""Operators of encoders and text CNNs, forward and backward, for training on a CPU: Paddle's own results in less time.

Paddle 3.3 on a CPU multiplies matrices well and wastes the time beside it: sums over rows (the gradient of every bias) and the
gradient of layer norms run at a tenth of the memory's speed, heads are copied one value at a time, adding a mask that is
broadcast takes longer than the product of queries and keys, and dropout draws 32 bits for every value. Here Paddle or
oneDNN multiplies (see :mod:`paddlenlp_embtune.compat.onednn`), and the rest is done by oneDNN, or by numpy
on the same memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.compat.functional._attention import attention as attention
    from paddlenlp_embtune.compat.functional._dropout import (
        dropout as dropout,
        dropout_steps as dropout_steps,
    )
    from paddlenlp_embtune.compat.functional._encoder_layer import (
        ENCODER_LAYER_PARTS as ENCODER_LAYER_PARTS,
        EncoderLayerSettings as EncoderLayerSettings,
        encoder_layer as encoder_layer,
    )
    from paddlenlp_embtune.compat.functional._gelu import gelu as gelu
    from paddlenlp_embtune.compat.functional._layer_norm import layer_norm as layer_norm
    from paddlenlp_embtune.compat.functional._linear import linear as linear
    from paddlenlp_embtune.compat.functional._tied_linear import tied_linear as tied_linear
    from paddlenlp_embtune.compat.functional._window_maxima import (
        distinct_tokens as distinct_tokens,
        has_window_maxima as has_window_maxima,
        window_maxima as window_maxima,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_attention": "attention",
            "_dropout": "dropout dropout_steps",
            "_encoder_layer": "ENCODER_LAYER_PARTS EncoderLayerSettings encoder_layer",
            "_gelu": "gelu",
            "_layer_norm": "layer_norm",
            "_linear": "linear",
            "_tied_linear": "tied_linear",
            "_window_maxima": "distinct_tokens has_window_maxima window_maxima",
        },
    )
