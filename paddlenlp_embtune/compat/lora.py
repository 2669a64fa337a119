"""PaddleNLP's low-rank adaptation, put into a network in place and folded back."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

from paddlenlp_embtune.compat.paddle import quiet, require_paddle

__all__ = ["insert_lora", "lora_layers", "merge_lora"]


def insert_lora(network: Any, names: Sequence[str], *, rank: int, alpha: float, dropout: float) -> None:
    """Replace linear layers by PaddleNLP's ``LoRALinear`` over the same weight and bias.

    PaddleNLP's wrapper around the network is not kept, so that the names of all other parameters stay as they are. It leaves
    every parameter of the network but the new ones frozen.

    Args:
        network: a ``PretrainedModel``, changed in place.
        names: whole names of its linear layers.
        rank: inner width of the product.
        alpha: the product is multiplied by alpha / rank.
        dropout: share of the product's inputs that are dropped in training.
    """
    with quiet():
        peft = importlib.import_module("paddlenlp.peft")
    options = peft.LoRAConfig(
        target_modules=[re.escape(name) for name in names],
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        tensor_parallel_degree=network.config.tensor_parallel_degree,
    )
    peft.LoRAModel(network, options)


def lora_layers(network: Any) -> dict[str, Any]:
    """Return the ``LoRALinear`` layers of a network by name; none if PaddleNLP's adapters were never imported."""
    return {name: layer for name, layer in network.named_sublayers() if type(layer).__name__ == "LoRALinear"}


def merge_lora(network: Any) -> list[str]:
    """Turn every ``LoRALinear`` back into a plain ``Linear``, its product added to the weight; return their names."""
    paddle = require_paddle()
    folded = lora_layers(network)
    for name, layer in folded.items():
        with paddle.no_grad():
            if not layer.merged:
                product = paddle.matmul(layer.lora_A.astype("float64"), layer.lora_B.astype("float64")) * layer.scaling
                layer.weight.set_value((layer.weight.astype("float64") + product).astype(layer.weight.dtype))
        rows, columns = layer.weight.shape
        plain = paddle.nn.Linear(rows, columns, bias_attr=False if layer.bias is None else None)
        plain.weight = layer.weight
        if layer.bias is not None:
            plain.bias = layer.bias
        plain.training = layer.training
        path, _, last = name.rpartition(".")
        parent = network
        for part in path.split(".") if path else ():
            parent = getattr(parent, part)
        setattr(parent, last, plain)
    return list(folded)
