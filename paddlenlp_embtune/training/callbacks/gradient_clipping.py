"""Gradient clipping: rows, groups, and all gradients together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import ClipSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback
from paddlenlp_embtune.training.parameter_groups import match_parameters
from paddlenlp_embtune.utils.schema import to_plain

paddle = compat.require_paddle()

__all__ = ["GlobalNormClippingCallback", "GradientClippingCallback", "clip_norm", "clip_rows"]


@paddle.no_grad()  # type: ignore[untyped-decorator]
def clip_norm(gradients: Sequence[Any], limit: float) -> float:
    """Scale gradients down in place, all by the same factor, if their Euclidean norm together is above a limit.

    Returns:
        The norm before. Gradients are left alone when it is not finite.
    Source:
        Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks", algorithm 1
    """
    if not gradients:
        return 0.0
    squares = paddle.add_n([compat.squared_norm(gradient) for gradient in gradients])
    norm = math.sqrt(squares.item())
    if limit < norm < float("inf"):
        for gradient in gradients:
            gradient.scale_(limit / (norm + 1e-6))
    return norm


@paddle.no_grad()  # type: ignore[untyped-decorator]
def clip_rows(gradient: Any, limit: float) -> int:
    """Scale every row of a gradient whose Euclidean norm is above a limit down to it, in place.

    Shapes:
        gradient: (V, D) floating point
    Returns:
        The number of rows that were scaled; those whose norm is not finite are left alone.
    """
    norms = np.sqrt(compat.row_dots(gradient, gradient))
    above = np.flatnonzero((norms > limit) & np.isfinite(norms))
    if above.size:
        rows = paddle.to_tensor(above)
        scales = paddle.to_tensor(limit / norms[above]).unsqueeze(1).astype(gradient.dtype)
        paddle.scatter_(gradient, rows, paddle.gather(gradient, rows) * scales)
    return int(above.size)


class GradientClippingCallback(EmbtuneCallback):
    """Clips gradients just before the optimizer's step: rows of the embedding first, then groups, then all together.

    Gradients are clipped after accumulation and after replicas were averaged. Use it with ``max_grad_norm=0`` in the training
    arguments, or both clip (``attach`` sees to that).

    Args:
        spec: the limits.
        groups: patterns of parameter names by the name of a group, for ``spec.group_norms``.
        parameter: name of the embedding parameter, for ``spec.row_norm``; None finds it.
    Raises:
        RecipeError: a limit names a group that is not among ``groups``.
    """

    def __init__(
        self, spec: ClipSpec, *, groups: Mapping[str, Sequence[str]] | None = None, parameter: str | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.groups = {name: tuple(patterns) for name, patterns in (groups or {}).items()}
        self.parameter = parameter
        for name in spec.group_norms:
            if name not in self.groups:
                raise RecipeError(
                    f"clip.group_norms names the group {name!r}; expected {', '.join(self.groups) or 'none given'}"
                )
        self._members: dict[str, list[Any]] = {}
        self._embedding: Any = None
        self._parameters: list[Any] = []

    def settings(self) -> Mapping[str, Any]:
        """The limits for rows, groups and all gradients together."""
        plain: dict[str, Any] = to_plain(self.spec)
        return plain

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Find the parameters of the model that the limits apply to."""
        super().on_train_begin(args, state, control, **kwargs)
        model = kwargs["model"]
        self._parameters = list(model.parameters())
        self._members = {
            name: list(match_parameters(model, self.groups[name], what=f"clip of group {name!r}").values())
            for name in self.spec.group_norms
        }
        if self.spec.row_norm is not None:
            name = self.parameter or embedding_name(model)
            self._embedding = match_parameters(model, [name], what="clip.row_norm")[name]

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Clip rows, then groups, then everything, just before the optimizer's step."""
        scaler = kwargs.get("scaler")
        # Under fp16 the gradients still carry the loss scale here; so do the limits, then.
        loss_scale = 1.0 if scaler is None or scaler._scale is None else float(scaler._scale.item())
        if self._embedding is not None and (found := _gradients([self._embedding])):
            clip_rows(found[0], self.spec.row_norm * loss_scale)  # type: ignore[operator]
        for name, limit in self.spec.group_norms.items():
            clip_norm(_gradients(self._members[name]), limit * loss_scale)
        if self.spec.global_norm is not None:
            clip_norm(_gradients(self._parameters), self.spec.global_norm * loss_scale)


class GlobalNormClippingCallback(GradientClippingCallback):
    """Clips all gradients together.

    Args:
        global_norm: the largest norm, above 0.
    """

    def __init__(self, global_norm: float) -> None:
        super().__init__(ClipSpec(global_norm=global_norm))


def _gradients(parameters: Sequence[Any]) -> list[Any]:
    return [compat.gradient_values(p) for p in parameters if not p.stop_gradient and p.grad is not None]
