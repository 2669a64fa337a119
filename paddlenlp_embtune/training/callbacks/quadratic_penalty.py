"""Holds weights near to where they were, all alike or each by its Fisher information."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.models import grown
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

paddle = compat.require_paddle()

__all__ = ["QuadraticPenaltyCallback"]

Arrays = Mapping[str, npt.NDArray[np.float32]]


class QuadraticPenaltyCallback(EmbtuneCallback):
    """Adds the gradient of ``1/2 * sum((strength + fisher_strength * fisher) * (weight - anchor)**2)`` before each step.

    It is added after gradients have been clipped, and stands in no loss that is logged. Parameters without an anchor are free,
    and so is what has grown behind one: rows of new tokens, columns of new labels.

    Args:
        anchors: where weights are held, by the names of parameters.
        strength: of what holds all alike, as in L2-SP; 0 for none.
        fisher: Fisher information, by the same names; None for none.
        fisher_strength: its factor, as in elastic weight consolidation.
    Source:
        Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", equation
        2; Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", equation 3
    """

    def __init__(
        self, anchors: Arrays, *, strength: float = 0.0, fisher: Arrays | None = None, fisher_strength: float = 0.0
    ) -> None:
        super().__init__()
        self.strength = strength
        self.fisher_strength = fisher_strength
        self._arrays = {name: self._coefficients(name, values, fisher) for name, values in anchors.items()}
        self._held: list[tuple[Any, Any, Any]] = []

    def settings(self) -> Mapping[str, Any]:
        """What a checkpoint must have been made with: the factors of the penalty."""
        return {"strength": self.strength, "fisher_strength": self.fisher_strength}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Find the parameters that are held."""
        super().on_train_begin(args, state, control, **kwargs)
        self._held = []
        for name, parameter in kwargs["model"].named_parameters():
            if name not in self._arrays:
                continue
            shape = tuple(parameter.shape)
            anchor, coefficients = (grown(values, shape) for values in self._arrays[name])
            self._held.append((parameter, paddle.to_tensor(anchor), paddle.to_tensor(coefficients)))

    @paddle.no_grad()  # type: ignore[untyped-decorator]
    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the gradient of the penalty to that of the loss.

        Raises:
            HostError: a gradient is by rows.
        """
        for parameter, anchor, coefficients in self._held:
            if parameter.stop_gradient or parameter.grad is None:
                continue
            if compat.gradient_rows(parameter) is not None:
                raise HostError("ewc and l2sp need dense gradients; set sparse to null in the recipe")
            compat.gradient_values(parameter).add_((parameter - anchor) * coefficients)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record what the penalty is at the end."""
        self.record.write("penalty", step=int(state.global_step), value=self.value())

    def value(self) -> float:
        """Return the penalty as the weights stand."""
        parts = (
            float((coefficients.numpy() * np.square(parameter.numpy() - anchor.numpy(), dtype=np.float64)).sum())
            for parameter, anchor, coefficients in self._held
        )
        return sum(parts) / 2

    def _coefficients(self, name: str, anchor: npt.NDArray[np.float32], fisher: Arrays | None) -> tuple[Any, Any]:
        coefficients = np.full(anchor.shape, self.strength, dtype=np.float32)
        if fisher is not None and name in fisher:
            coefficients += np.float32(self.fisher_strength) * fisher[name]
        return anchor, coefficients
