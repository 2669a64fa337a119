"""Put the regularisation of a recipe on a Trainer."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from paddlenlp_embtune.compat import wrap_loss, wrap_step
from paddlenlp_embtune.config import RegularizationSpec
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback
from paddlenlp_embtune.training.regularization._adversarial import fgm, freelb
from paddlenlp_embtune.training.regularization._embedding_hooks import EmbeddingHooks
from paddlenlp_embtune.training.regularization._label_smoothing import smoothed
from paddlenlp_embtune.training.regularization._mixup import Mixing, check_mixable
from paddlenlp_embtune.training.regularization._r_drop import consistent_loss
from paddlenlp_embtune.training.run_log import RunRecord
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["RegularizationCallback", "regularize"]

logger = logging.getLogger("paddlenlp_embtune")

_SAME = 1e-9
"""Two passes whose divergence is not above this have drawn nothing at random; a trained model's is above 1e-6."""


def regularize(trainer: Any, spec: RegularizationSpec, *, record: RunRecord | None = None) -> list[Any]:
    """Regularise the training steps of a PaddleNLP ``Trainer``, before ``trainer.train()``.

    Model, criterion and evaluation stay as they are: while a step runs, and only then, the loss is another and what the model
    looks up in its embedding is changed. All random numbers come from Paddle's generator, whose state the Trainer keeps in its
    checkpoints, so a resumed run ends as one that was never cut.

    Args:
        trainer: with a model.
        spec: what to switch on.
        record: where events go; None keeps them in memory.
    Returns:
        Callbacks to add to the Trainer: one, or none where nothing is switched on.
    Raises:
        RecipeError: label smoothing with another loss than cross-entropy; the model looks nothing up by an ``nn.Embedding``, or
            gives no vectors of texts that could be mixed.
        HostError: the Trainer is regularised already, runs a pipeline, has no criterion to mix labels with, or the embedding of
            its model is not known.
    """
    if spec.is_empty:
        return []
    if hasattr(trainer, "embtune_regularized"):
        raise HostError("the Trainer is regularised already; build a new one for another specification")
    steps = _Steps(trainer, spec, record if record is not None else RunRecord())
    wrap_step(trainer, steps.around_step)
    wrap_loss(trainer, steps.around_loss)
    trainer.embtune_regularized = True
    return [steps.callback]


class RegularizationCallback(EmbtuneCallback):
    """Tells the record what is switched on, and refuses a checkpoint that was made with something else.

    Args:
        spec: what is switched on, by :func:`regularize`.
    """

    def __init__(self, spec: RegularizationSpec) -> None:
        super().__init__()
        self.spec = spec

    def settings(self) -> Mapping[str, Any]:
        """What is switched on."""
        plain: dict[str, Any] = to_plain(self.spec)
        return plain

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record what is switched on."""
        super().on_train_begin(args, state, control, **kwargs)
        self.record.write("regularization", **self.settings())


class _Steps:
    """What is done around a Trainer's steps and losses."""

    def __init__(self, trainer: Any, spec: RegularizationSpec, record: RunRecord) -> None:
        self.trainer = trainer
        self.spec = spec
        self.callback = RegularizationCallback(spec)
        self.callback.record = record
        self.criterion: Any = None
        if spec.label_smoothing:
            self.criterion = smoothed(trainer.criterion, share=spec.label_smoothing)
        self.lookups: EmbeddingHooks | None = None
        self.mixing: Mixing | None = None
        if spec.mixup is not None:
            check_mixable(trainer, at=spec.mixup.at)
            self.mixing = Mixing(spec.mixup.alpha)
        if spec.embedding_dropout or spec.adversarial is not None or self._mixes_at("embedding"):
            self.lookups = EmbeddingHooks(trainer.model, chance=spec.embedding_dropout)
            self.lookups.passes = 2 if spec.r_drop else 1
            self.lookups.mix = self.mixing.mix if self.mixing is not None and self._mixes_at("embedding") else None
        self._running = False
        self._compared = False

    def around_step(self, once: Callable[[], Any], model: Any) -> Any:
        """Make the passes of a step with everything that is switched on, and leave nothing of it behind."""
        plain = self.trainer.criterion
        self._running = True
        try:
            if self.criterion is not None:
                self.trainer.criterion = self.criterion
            with self._mixed():
                return self._passes(once, model)
        finally:
            self.trainer.criterion = plain
            self._running = False

    def _passes(self, once: Callable[[], Any], model: Any) -> Any:
        """Make the passes of a step with what it looks up changed."""
        if self.lookups is None:
            return once()
        with self.lookups.changed():
            adversarial = self.spec.adversarial
            if adversarial is None:
                return once()
            return (fgm if adversarial.kind == "fgm" else freelb)(once, model, self.lookups, **adversarial.options)

    def _mixes_at(self, place: str) -> bool:
        return self.spec.mixup is not None and self.spec.mixup.at == place

    @contextlib.contextmanager
    def _mixed(self) -> Iterator[None]:
        """Mix texts and labels, if that is switched on."""
        if self.mixing is None:
            yield
            return
        self.trainer.criterion = self.mixing.criterion(self.trainer.criterion)
        vectors = self.mixing.features(self.trainer.model) if self._mixes_at("features") else contextlib.nullcontext()
        with self.mixing.one_pass(), vectors:
            yield

    def around_loss(self, compute: Callable[[Any], tuple[Any, Any]], inputs: Any) -> tuple[Any, Any] | None:
        """Compute the loss of a pass; leave it to the Trainer outside of steps."""
        if not self._running:
            return None
        if self.spec.r_drop:
            loss, outputs, divergence = consistent_loss(compute, inputs, alpha=self.spec.r_drop)
            self._compare(divergence)
        else:
            loss, outputs = compute(inputs)
        adversarial = self.spec.adversarial
        if adversarial is not None and adversarial.kind == "freelb":
            loss = loss / adversarial.steps
        return loss, outputs

    def _compare(self, divergence: Any) -> None:
        """Warn, once, where both passes give the same."""
        if not self._compared and float(divergence) <= _SAME:
            why = "both passes give the same: the model drops nothing in training, so r_drop costs a pass and changes nothing"
            logger.warning("regularization.r_drop: %s", why)
            self.callback.record.write("r_drop", used=False, why=why)
        self._compared = True
