"""Training on mixtures of two texts and of their labels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError, RecipeError

paddle = compat.require_paddle()

__all__ = ["Mixing", "check_mixable"]


class Mixing:
    """Mixes each row of a batch with another one, by a share that is drawn for every pass.

    Args:
        alpha: both parameters of the beta distribution of the shares, above 0.
    Source:
        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1, with one share a batch as in section 3; Guo,
        Mao and Zhang 2019, "Augmenting Data with Mixup for Sentence Classification", section 3, for what is mixed
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self._share = 1.0
        self._order: Any = None

    def draw(self, rows: int) -> None:
        """Draw the share of a pass over a batch, and the other row of each row.

        One number of Paddle's generator seeds both, so that a run that continues draws the same.
        """
        seed = int(paddle.randint(0, 2**31 - 1, [1], dtype="int64").item())
        generator = np.random.default_rng(seed)
        self._share = float(generator.beta(self.alpha, self.alpha))
        self._order = paddle.to_tensor(generator.permutation(rows))

    def mix(self, rows: Any) -> Any:
        """Mix what belongs to the rows of a batch, the first axis, each with that of its other row."""
        if self._order is None:
            self.draw(rows.shape[0])
        return rows * self._share + paddle.gather(rows, self._order) * (1.0 - self._share)

    def criterion(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Return a loss of logits, labels and any weights of rows that takes both labels of each mixture, by their shares."""

        def mixed(logits: Any, labels: Any, *weights: Any) -> Any:
            if self._order is None:
                raise HostError("nothing was mixed in the pass over a batch; set regularization.mixup to null for this model")
            others = (paddle.gather(each, self._order) for each in (labels, *weights))
            return plain(logits, labels, *weights) * self._share + plain(logits, *others) * (1.0 - self._share)

        return mixed

    @contextlib.contextmanager
    def features(self, model: Any) -> Iterator[None]:
        """Mix what a model's ``features(input_ids)`` returns, for the time being."""
        former, compute = model.__dict__.get("features"), model.features
        model.features = lambda *arguments, **options: self.mix(compute(*arguments, **options))
        try:
            yield
        finally:
            del model.features
            if former is not None:
                model.features = former

    @contextlib.contextmanager
    def one_pass(self) -> Iterator[None]:
        """Forget afterwards what was drawn."""
        self._order = None
        try:
            yield
        finally:
            self._order = None


def check_mixable(trainer: Any, *, at: str) -> None:
    """Refuse to mix in a Trainer whose loss or model does not allow it.

    Raises:
        HostError: the Trainer has no criterion of its own.
        RecipeError: vectors of texts are to be mixed, and the model gives none.
    """
    if trainer.criterion is None:
        raise HostError(
            "regularization.mixup needs the loss of the mixed labels, but the Trainer has no criterion; pass one to the Trainer"
        )
    if at == "features" and not hasattr(trainer.model, "features"):
        raise RecipeError(
            f"regularization.mixup.at is 'features', but {type(trainer.model).__name__} gives no vector of a text (it has no "
            "features(input_ids)); expected textcnn or model.encoder, or at: embedding"
        )
