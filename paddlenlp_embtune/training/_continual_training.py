"""What keeps weights near to those of the former bundle: penalties while they train, and averages when they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import read_bundle_weights
from paddlenlp_embtune.models import head_names
from paddlenlp_embtune.training._continual import check_fisher
from paddlenlp_embtune.training._prepare import Prepared
from paddlenlp_embtune.training._trainer import predict_logits
from paddlenlp_embtune.training._weight_interpolation import choose_new_share, interpolate_weights, set_weights
from paddlenlp_embtune.training.callbacks.quadratic_penalty import QuadraticPenaltyCallback
from paddlenlp_embtune.training.run_log import RunRecord

compat.require_paddle()

__all__ = ["average_with_former", "penalty_of"]


def penalty_of(prepared: Prepared, model: Any) -> list[QuadraticPenaltyCallback]:
    """Return what holds the weights while they train: none, or one callback for ``ewc`` and ``l2sp`` together.

    A head of another label set than the former one is free.

    Raises:
        RecipeError: the former bundle keeps no Fisher information, or that of another architecture.
    """
    continuation = prepared.continuation
    if continuation is None or continuation.bundle is None or not {"ewc", "l2sp"} & set(continuation.spec.methods):
        return []
    spec, former = continuation.spec, _former_weights(prepared)
    free = _other_head(prepared, model)
    held = {name: spec.strength_of(name) for name in ("ewc", "l2sp") if name in spec.methods}
    fisher = check_fisher(continuation, former) if "ewc" in held else None
    anchors = {name: values for name, values in former.items() if values.dtype == np.float32 and name not in free}
    return [
        QuadraticPenaltyCallback(anchors, strength=held.get("l2sp", 0.0), fisher=fisher, fisher_strength=held.get("ewc", 0.0))
    ]


def average_with_former(prepared: Prepared, model: Any, record: RunRecord) -> None:
    """Put weights between the former and the new ones into a model, where the recipe asks for ``average``.

    The share of the new ones is the least that is as good as the best on the development rows, as far as these can tell.
    """
    continuation = prepared.continuation
    if continuation is None or continuation.bundle is None or "average" not in continuation.spec.methods:
        return
    free, dev = _other_head(prepared, model), prepared.dev_dataset()
    former = {name: values for name, values in _former_weights(prepared).items() if name not in free}
    if hasattr(model, "aligned_with"):
        former = model.aligned_with(former)
    new = {name: value.numpy() for name, value in model.state_dict().items()}
    truth, size = np.asarray(dev.truth), int(prepared.recipe.train.eval_batch_size or 32)

    def right(share: float) -> npt.NDArray[np.float64]:
        set_weights(model, interpolate_weights(former, new, share))
        hits: npt.NDArray[np.float64] = predict_logits(model, dev, batch_size=size).argmax(axis=1) == truth
        return hits.astype(np.float64)

    share, accuracies = choose_new_share(right, errors=continuation.spec.strength_of("average"))
    set_weights(model, interpolate_weights(former, new, share))
    record.write("interpolated", new_share=share, accuracies={f"{each:g}": value for each, value in accuracies.items()})


def _other_head(prepared: Prepared, model: Any) -> frozenset[str]:
    """Names of the weights of a head of another label set than the former one; none where the head is the same."""
    if prepared.continuation is None or prepared.continuation.head is None:
        return frozenset()
    return head_names(model, prepared.recipe.model.name)


def _former_weights(prepared: Prepared) -> dict[str, npt.NDArray[np.float32]]:
    if prepared.bundle is None:
        return {}
    weights = dict(read_bundle_weights(prepared.bundle.path))
    prepared.bundle.check_current("weights.safetensors")
    return weights
