"""Soft targets: the predictions of a teacher that a student learns from."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

__all__ = ["SoftTargets"]


@dataclasses.dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's answers to training rows, unlabelled texts and development rows, in this order, N in all.

    Args:
        logits: logarithms of its probabilities of the student's labels, at temperature 1.
        vectors: its vectors of the texts, centred, with a mean square of 1; None where they are not needed.
        unlabelled: the texts without labels, U of them.
        rows: how many training rows and how many development rows there are.
    Shapes:
        logits: (N, C) float32; vectors: (N, H) float16
    """

    logits: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float16] | None
    unlabelled: tuple[str, ...]
    rows: tuple[int, int]

    @property
    def train_count(self) -> int:
        """How many of the answers are to training rows and unlabelled texts."""
        return self.rows[0] + len(self.unlabelled)

    @property
    def train(self) -> npt.NDArray[np.float32]:
        """The logits of training rows and unlabelled texts."""
        return self.logits[: self.train_count]

    @property
    def train_vectors(self) -> npt.NDArray[np.float16] | None:
        """The vectors of training rows and unlabelled texts."""
        return None if self.vectors is None else self.vectors[: self.train_count]

    @property
    def dev(self) -> npt.NDArray[np.float32]:
        """The logits of development rows."""
        return self.logits[self.train_count :]

    @property
    def nbytes(self) -> int:
        """The memory that the arrays take."""
        return self.logits.nbytes + (0 if self.vectors is None else self.vectors.nbytes)
