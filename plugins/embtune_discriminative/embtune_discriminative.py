"""Discriminative learning rates: one group for each layer, each rate smaller than that of the layer above it.

Source:
    Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.2, with its factor 2.6
"""

from __future__ import annotations

from typing import Any

import paddlenlp_embtune as embtune

__all__ = ["FACTOR", "TOP_RATE", "embtune_register_group_rules"]

FACTOR = 2.6
TOP_RATE = 2e-3


@embtune.hookimpl
def embtune_register_group_rules(model: Any) -> list[embtune.GroupSpec]:
    """Order layers as the model defines them, the first the deepest; the embedding keeps the name that recipes freeze."""
    layers = list(dict.fromkeys(name.split(".")[0] for name, _ in model.named_parameters()))
    groups = []
    for height, layer in enumerate(reversed(layers)):
        rate = TOP_RATE / FACTOR**height
        groups.append(embtune.GroupSpec(name=layer, parameters=(f"{layer}.*",), rate=rate, weight_decay=0.01))
    return groups
