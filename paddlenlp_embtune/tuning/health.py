"""Watch the embedding while it trains."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.tuning.callback import EmbtuneCallback
from paddlenlp_embtune.tuning.groups import match_parameters
from paddlenlp_embtune.vectors import cosine_drift, norm_drift, row_norms

__all__ = ["EmbeddingHealthCallback"]

logger = logging.getLogger("paddlenlp_embtune")


class EmbeddingHealthCallback(EmbtuneCallback):
    """Compares the embedding with its start at the end of epochs, and samples its gradient on the way.

    Args:
        parameter: name of the embedding parameter; None finds it.
        every_epochs: a check at the end of every so many epochs.
        drift_alarm: warn when the mean cosine drift of the moved rows exceeds this.
        gradient_every_steps: look at the gradient at every so many steps.
        tokens: the token of each row, so that the worst rows can be named.
        measures: further measures by name, called with ``start=`` and ``now=``, both (V, D) float32.
    """

    def __init__(
        self,
        *,
        parameter: str | None = None,
        every_epochs: int = 1,
        drift_alarm: float = 0.5,
        gradient_every_steps: int = 16,
        tokens: Sequence[str] | None = None,
        measures: Mapping[str, Callable[..., float]] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("every_epochs", every_epochs), ("gradient_every_steps", gradient_every_steps)):
            if value < 1:
                raise RecipeError(f"{name} is {value}; legal: 1 or more")
        self.parameter = parameter
        self.every_epochs = every_epochs
        self.drift_alarm = drift_alarm
        self.gradient_every_steps = gradient_every_steps
        self.tokens = tokens
        self.measures = dict(measures or {})
        self.checks: list[dict[str, Any]] = []
        self._start: npt.NDArray[np.float32] | None = None
        self._embedding: Any = None
        self._gradients: list[tuple[float, float]] = []
        self._epochs = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember where the embedding starts."""
        super().on_train_begin(args, state, control, **kwargs)
        model = kwargs["model"]
        name = self.parameter or embedding_name(model)
        self._embedding = match_parameters(model, [name], what="health")[name]
        if self._start is None:
            self._start = self._embedding.numpy().copy()

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Sample the gradient."""
        gradient = None if state.global_step % self.gradient_every_steps else self._embedding.grad
        if gradient is not None:
            values = gradient.numpy()
            self._gradients.append((float(np.abs(values).mean()), float(np.linalg.norm(values))))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check, record, and raise the alarm."""
        self._epochs += 1
        if self._epochs % self.every_epochs:
            return
        check = {"epoch": state.epoch, "step": state.global_step, **self.check()}
        self.checks.append(check)
        self.record.write("health", **check)
        if check["cosine_drift_mean"] > self.drift_alarm:
            message = (
                f"the embedding has drifted: mean cosine drift {check['cosine_drift_mean']:.3f} of {check['rows_moved']} rows, "
                f"above {self.drift_alarm}; lower its rate, or keep it frozen for longer"
            )
            self.record.write("alarm", epoch=state.epoch, step=state.global_step, message=message)
            logger.warning(message)

    def check(self) -> dict[str, Any]:
        """Measure now; the means are over the rows that have moved.

        Returns:
            ``rows_moved``, ``cosine_drift_mean``, ``cosine_drift_p95``, ``norm_drift_mean``, ``norm_mean``, ``norm_max``,
            ``gradient_mean`` (of absolute values) and ``gradient_norm``, both averaged over the sampled steps since the last
            check and None where nothing was sampled, ``worst`` (token or row number, cosine drift) and the plugins' measures.
        """
        assert self._start is not None  # set in on_train_begin
        now = self._embedding.numpy()
        moved = np.flatnonzero((now != self._start).any(axis=1))
        drift = cosine_drift(self._start[moved], now[moved])
        norms = row_norms(now[1:])
        gradients, self._gradients = np.array(self._gradients), []
        worst = np.argsort(-drift, kind="stable")[:5]
        return {
            "rows_moved": int(moved.size),
            "cosine_drift_mean": _mean(drift),
            "cosine_drift_p95": float(np.percentile(drift, 95)) if moved.size else 0.0,
            "norm_drift_mean": _mean(norm_drift(self._start[moved], now[moved])),
            "norm_mean": _mean(norms),
            "norm_max": float(norms.max()),
            "gradient_mean": float(gradients[:, 0].mean()) if gradients.size else None,
            "gradient_norm": float(gradients[:, 1].mean()) if gradients.size else None,
            "worst": [[self._name(int(moved[i])), round(float(drift[i]), 4)] for i in worst],
            **{name: float(measure(start=self._start, now=now)) for name, measure in self.measures.items()},
        }

    def _name(self, row: int) -> str | int:
        return self.tokens[row] if self.tokens is not None else row

    def state(self) -> Mapping[str, Any]:
        """The start of the embedding, so that drift is still measured from there after a resume."""
        return {"epochs": self._epochs} if self._start is None else {"epochs": self._epochs, "start": self._start}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Measure from the same start again."""
        self._epochs = state["epochs"]
        self._start = state.get("start")


def _mean(values: npt.NDArray[np.float32]) -> float:
    return float(values.mean()) if values.size else 0.0
