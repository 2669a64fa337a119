"""The domain "reviews": three ordered levels, and a health measure of its own."""

from __future__ import annotations

import numpy as np

import paddlenlp_embtune as embtune

__all__ = ["embtune_register_domains", "embtune_register_health_metrics"]


@embtune.hookimpl
def embtune_register_domains() -> list[embtune.Domain]:
    """Shop, hotel and restaurant reviews, from bad to good."""
    terms = {"praise": ("好评", "满意", "推荐"), "blame": ("差评", "失望", "退货")}
    return [embtune.Domain(name="reviews", labels=("差评", "中评", "好评"), term_groups=terms)]


@embtune.hookimpl
def embtune_register_health_metrics() -> dict:
    """How far the centre of the embedding has moved, in units of its mean norm."""

    def centre_shift(*, start: np.ndarray, now: np.ndarray) -> float:
        return float(np.linalg.norm(now.mean(axis=0) - start.mean(axis=0)) / np.linalg.norm(start, axis=1).mean())

    return {"centre_shift": centre_shift}
