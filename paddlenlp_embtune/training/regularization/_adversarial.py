"""Adversarial training of the embedding: FGM and FreeLB."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import generator_state, restore_generator_state, without_gradient_sync
from paddlenlp_embtune.training.regularization._embedding_hooks import EmbeddingHooks, Perturbations

paddle = compat.require_paddle()

__all__ = ["fgm", "freelb", "project", "random_start", "unit"]

Pass = Callable[[], Any]


def fgm(once: Pass, model: Any, lookups: EmbeddingHooks, *, epsilon: float) -> Any:
    """Make the two passes of a step: over the text, and over the text moved by epsilon along its gradient.

    Args:
        once: one pass, forward and backward; returns its loss.
        model: as wrapped for training.
        lookups: what the passes look up.
        epsilon: Euclidean length of the change of a text, above 0.
    Returns:
        The loss of the first pass, so that it compares with that of plain training; not finite where one of the two is not.
    Source:
        Miyato, Dai and Goodfellow 2017, "Adversarial Training Methods for Semi-Supervised Text Classification", equations 5
        to 7
    """
    lookups.changes = changes = Perturbations(_no_start)
    state = generator_state()
    with without_gradient_sync(model, lookups.layers):
        loss = once()
    changes.move(lambda _, gradient: unit(gradient) * epsilon, last=True)
    restore_generator_state(state)
    # Nothing is added, but a loss that is not finite must not get into the weights unseen.
    return loss + once() * 0.0


def freelb(once: Pass, model: Any, lookups: EmbeddingHooks, *, epsilon: float, step_size: float, steps: int) -> Any:
    """Make the passes of a step, each after a step uphill, from a random start and within a ball around the text.

    Args:
        once: one pass, forward and backward, whose loss is divided by ``steps``; returns that.
        model: as wrapped for training.
        lookups: what the passes look up.
        epsilon: greatest Euclidean length of the change of a text, above 0.
        step_size: length of a step uphill, above 0.
        steps: passes, 1 or more.
    Returns:
        The mean loss of the passes.
    Source:
        Zhu et al. 2020, "FreeLB: Enhanced Adversarial Training for Natural Language Understanding", algorithm 1; the dropout
        masks stay the same, section 3.3
    """
    lookups.changes = changes = Perturbations(lambda rows, mask: random_start(rows, mask, epsilon=epsilon))
    state = generator_state()
    total = None
    for left in reversed(range(steps)):
        if total is not None:
            changes.move(lambda change, gradient: project(change + unit(gradient) * step_size, epsilon=epsilon), last=not left)
            restore_generator_state(state)
        with without_gradient_sync(model, lookups.layers) if left else contextlib.nullcontext():
            loss = once()
        total = loss if total is None else total + loss
    return total


def random_start(rows: Any, mask: Any, *, epsilon: float) -> Any:
    """Draw a change for each text: uniform between -epsilon and epsilon, divided by the root of its number of values.

    Shapes:
        rows: (B, ..., D); mask: (B, ..., 1), 1 for tokens and 0 for padding; returns: (B, ..., D) float32
    """
    drawn = paddle.uniform(rows.shape, dtype="float32", min=-epsilon, max=epsilon)
    values = _by_text(mask).sum(axis=1).clip(min=1) * rows.shape[-1]
    return drawn * mask / values.sqrt().reshape([-1] + [1] * (rows.ndim - 1))


def unit(gradient: Any) -> Any:
    """Scale each text's (..., D) part of a (B, ..., D) gradient to the Euclidean length 1; 0 where it is 0 or not finite."""
    norms = _norms(gradient)
    usable = (norms > 0) & paddle.isfinite(norms)
    scaled = gradient / paddle.where(usable, norms, paddle.ones_like(norms))
    return paddle.where(usable, scaled, paddle.zeros_like(scaled))


def project(change: Any, *, epsilon: float) -> Any:
    """Put each text's part of a (B, ..., D) change that is longer than epsilon back onto that length."""
    return change * (epsilon / _norms(change).clip(min=epsilon))


def _no_start(rows: Any, _mask: Any) -> Any:
    return paddle.zeros(rows.shape, dtype="float32")


def _by_text(values: Any) -> Any:
    return values.reshape([values.shape[0], -1])


def _norms(values: Any) -> Any:
    """Euclidean norm of each text's part, shaped to multiply with: (B, 1, ..., 1)."""
    return _by_text(values).square().sum(axis=1).sqrt().reshape([-1] + [1] * (values.ndim - 1))
