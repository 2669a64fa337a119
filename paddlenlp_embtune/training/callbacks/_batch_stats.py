"""What passes through a step: the tokens of batches, and the gradients of groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat

__all__ = ["StepSampler"]


class StepSampler:
    """Counts the tokens of batches, and looks at gradients at every so many steps.

    Args:
        every_steps: 1 or more.
        groups: parameters by name of a group, for the shares of the gradient; None makes two, the embedding and the rest.
    """

    def __init__(self, *, every_steps: int, groups: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.every_steps = every_steps
        self.groups = groups
        self.counts: npt.NDArray[np.int64] | None = None
        self._embedding: Any = None
        self._unknown: int | None = None
        self._members: dict[str, list[Any]] = {}
        self._unknowns = self._tokens = 0
        self._gradients: list[tuple[float, float]] = []
        self._shares: list[dict[str, float]] = []

    def begin(self, model: Any, embedding: Any, unknown: int | None) -> None:
        """Find what is looked at; counts of an earlier part of the run are kept."""
        self._embedding, self._unknown = embedding, unknown
        if self.counts is None:
            self.counts = np.zeros(int(embedding.shape[0]), dtype=np.int64)
        if self.groups is None:
            rest = [parameter for parameter in model.parameters() if parameter is not embedding]
            self._members = {"embedding": [embedding], "rest": rest}
        else:
            self._members = {name: list(members.values()) for name, members in self.groups.items()}

    def clear(self) -> None:
        """Forget what was seen."""
        self.counts = None
        self._unknowns = self._tokens = 0
        self._gradients, self._shares = [], []

    def see_batch(self, inputs: Any) -> None:
        """Count the tokens of a batch that names them ``input_ids``."""
        if not isinstance(inputs, Mapping) or "input_ids" not in inputs or self.counts is None:
            return
        ids = np.asarray(inputs["input_ids"]).ravel()
        ids = ids[(ids > 0) & (ids < len(self.counts))]  # row 0 is padding
        if ids.size and ids.max() > 16 * ids.size:
            np.add.at(self.counts, ids, 1)
        else:  # as long as the highest id, so cheaper where frequent tokens come first
            seen = np.bincount(ids)
            self.counts[: len(seen)] += seen
        self._tokens += ids.size
        if self._unknown is not None:
            self._unknowns += int((ids == self._unknown).sum())

    def see_gradients(self, step: int) -> None:
        """Measure the gradients that the optimizer is about to use."""
        if step % self.every_steps:
            return
        squares = {}
        for name, members in self._members.items():
            found = [p.grad for p in members if not p.stop_gradient and p.grad is not None]
            squares[name] = sum(float(compat.squared_norm(each).item()) for each in found)
        total = sum(squares.values())
        if total > 0:
            self._shares.append({name: value / total for name, value in squares.items()})
        if not self._embedding.stop_gradient and self._embedding.grad is not None:
            gradient = compat.read_only_view(self._embedding.grad)
            norm = float(np.sqrt(np.einsum("ij,ij->", gradient, gradient)))
            self._gradients.append((_absolute_sum(gradient) / max(1, int(self._embedding.size)), norm))

    def take(self) -> dict[str, Any]:
        """Return what was seen since the last call, None for what was not.

        Returns:
            ``gradient_mean`` (of absolute values) and ``gradient_norm`` of the embedding, ``gradient_share`` by group (of the
            squared norm), ``unknown_rate`` of the batches.
        """
        gradients, shares = np.array(self._gradients), self._shares
        found = {
            "gradient_mean": float(gradients[:, 0].mean()) if gradients.size else None,
            "gradient_norm": float(gradients[:, 1].mean()) if gradients.size else None,
            "gradient_share": {name: float(np.mean([each[name] for each in shares])) for name in shares[0]} if shares else None,
            "unknown_rate": self._unknowns / self._tokens if self._tokens and self._unknown is not None else None,
        }
        self._gradients, self._shares = [], []
        self._unknowns = self._tokens = 0
        return found

    def counts_of(self, rows: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        """Return how often the tokens of some rows were seen in training."""
        assert self.counts is not None
        return self.counts if rows is None else self.counts[rows]

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart."""
        gradients = [list(pair) for pair in self._gradients]
        kept = {"unknowns": self._unknowns, "tokens": self._tokens, "gradients": gradients, "shares": self._shares}
        return {"sampler": kept} if self.counts is None else {"sampler": kept, "counts": self.counts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        kept = state["sampler"]
        self._unknowns, self._tokens = kept["unknowns"], kept["tokens"]
        self._gradients = [(mean, norm) for mean, norm in kept["gradients"]]
        self._shares = list(kept["shares"])
        self.counts = np.array(state["counts"]) if "counts" in state else None


def _absolute_sum(values: npt.NDArray[Any], *, block: int = 2_048) -> float:
    """Sum absolute values block by block, so that no copy of the whole is made."""
    return sum(float(np.abs(values[at : at + block]).sum(dtype=np.float64)) for at in range(0, len(values), block))
