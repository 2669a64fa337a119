"""The learning rate finder: raise the learning rate step by step and measure the loss."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import DataError, HostError, RecipeError
from paddlenlp_embtune.training.callbacks.gradient_clipping import clip_norm
from paddlenlp_embtune.training.divergence import chance_loss
from paddlenlp_embtune.training.parameter_groups import (
    ParameterGroup,
    group_specs,
    groups_named,
    optimizer_groups,
    resolve_groups,
)
from paddlenlp_embtune.utils.schema import require_at_most

paddle = compat.require_paddle()

__all__ = ["LearningRateCurve", "find_learning_rates", "learning_rate_curves", "propose"]

_BLOW_UP = 4.0
_SMOOTHING = 0.9


@dataclasses.dataclass(frozen=True)
class LearningRateCurve:
    """A range test.

    Args:
        group: the group whose rate was raised; None raises all, in the proportions that they have.
        rates: the absolute rate of each step; of the group with the largest rate where all were raised.
        losses: the training loss of each step.
        smoothed: the losses, smoothed.
        steepest: the rate at which the smoothed loss falls fastest; None where it never falls.
        minimum: the rate at which it is lowest.
        blew_up_at: the rate at which the test stopped early, as the smoothed loss was four times its lowest value and four
            times that of a guess, or not finite; None if it did not.
    """

    group: str | None
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float | None
    minimum: float
    blew_up_at: float | None

    @property
    def proposal(self) -> float | None:
        """The steepest rate, but at most a tenth of that of the lowest loss; None where the loss never falls."""
        return None if self.steepest is None else min(self.steepest, self.minimum / 10)


def find_learning_rates(
    trainer: Any,
    groups: Sequence[ParameterGroup],
    *,
    group: str | None = None,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    global_norm: float | None = 1.0,
    progress: Callable[[int, int], object] | None = None,
) -> LearningRateCurve:
    """Train for some steps at rates that grow by the same factor each, then put weights and random state back.

    Args:
        trainer: a PaddleNLP Trainer with a model and training data; its optimizer is not touched.
        groups: the model's groups.
        group: raise only this group's rate and train nothing else; None raises all groups together.
        lowest: the first rate, absolute, above 0.
        highest: the last rate, absolute.
        steps: number of rates, 10 to 1,000,000.
        global_norm: clip gradients to this norm; None does not.
        progress: called with (steps done, steps).
    Raises:
        RecipeError: an invalid value, or an unknown group.
        HostError: everything in the group is frozen.
        DataError: there is no training data.
    Source:
        Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3
    """
    if not 0 < lowest < highest:
        raise RecipeError(f"the range of learning rates is {lowest} to {highest}; expected above 0, the first below the second")
    if steps < 10:
        raise RecipeError(f"steps is {steps}; expected 10 or more")
    require_at_most("steps", steps, 1_000_000)
    chosen = list(groups) if group is None else groups_named(groups, [group], what="the learning rate finder")
    rates = np.geomspace(lowest, highest, steps)
    model = trainer.model
    members = [p for each in chosen for p in each.parameters.values() if not p.stop_gradient]
    if not members:
        raise HostError(f"everything in {group or 'the model'!r} is frozen, so no learning rate can be found for it")
    with _restored(model, [p for p in model.parameters() if not any(p is q for q in members)]):
        losses = list(_losses(trainer, chosen, members, rates, global_norm, progress))
    return _curve(group, rates, losses)


def learning_rate_curves(
    recipe: Recipe,
    *,
    groups: Sequence[str | None] = (None,),
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> list[LearningRateCurve]:
    """Run the learning rate finder on the data and the model of a recipe.

    Args:
        recipe: what would be trained.
        groups: names of groups, a test for each; None stands for all groups together.
        progress: called with (steps done, steps) of each test.
        options: ``lowest``, ``highest`` and ``steps`` of :func:`paddlenlp_embtune.training.lr_finder.find_learning_rates`.
    """
    from paddlenlp_embtune.training._build import build
    from paddlenlp_embtune.training._prepare import check_names, prepare
    from paddlenlp_embtune.training._teacher import with_teacher_answers
    from paddlenlp_embtune.training.run_log import RunRecord

    check_names(recipe)
    prepared = with_teacher_answers(prepare(recipe), RunRecord())
    recipe = prepared.recipe
    with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
        trainer = build(prepared, out=Path(scratch))
        resolved = resolve_groups(trainer.model, group_specs(recipe, trainer.model))
        options |= {"global_norm": recipe.clip.global_norm if recipe.clip is not None else None, "progress": progress}
        return [find_learning_rates(trainer, resolved, group=group, **options) for group in groups]


def _losses(
    trainer: Any,
    groups: Sequence[ParameterGroup],
    members: Sequence[Any],
    rates: npt.NDArray[np.float64],
    global_norm: float | None,
    progress: Callable[[int, int], object] | None,
) -> Iterator[float]:
    base = max(each.spec.rate for each in groups)
    cls, options = type(trainer).get_optimizer_cls_and_kwargs(trainer.args)
    chance = chance_loss(trainer.model, getattr(trainer, "distill", None))
    optimizer = cls(learning_rate=float(rates[0]), parameters=optimizer_groups(groups, base_rate=base), **options)
    trainer.model.train()
    best, average = 0.0, 0.0  # of the steps before, from the second on
    for step, inputs in zip(range(len(rates)), _batches(trainer), strict=False):
        optimizer.set_lr(float(rates[step]))
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(inputs))
        value = float(loss.item())
        yield value
        average = _SMOOTHING * average + (1 - _SMOOTHING) * value
        smoothed = average / (1 - _SMOOTHING ** (step + 1))
        if not math.isfinite(value) or smoothed > _BLOW_UP * max(best, chance):
            return
        best = min(best, smoothed) if step else smoothed
        loss.backward()
        if global_norm is not None:
            clip_norm([p.grad for p in members if p.grad is not None], global_norm)
        optimizer.step()
        optimizer.clear_grad()
        if progress is not None:
            progress(step + 1, len(rates))


def _batches(trainer: Any) -> Iterator[Any]:
    """Go through the training data again and again."""
    loader = trainer.get_train_dataloader()
    while True:
        empty = True
        for inputs in loader:
            empty = False
            yield inputs
        if empty:
            raise DataError("the Trainer has no training rows, so there is nothing to measure a loss on")


@contextlib.contextmanager
def _restored(model: Any, frozen: Sequence[Any]) -> Iterator[None]:
    """Freeze some parameters inside a ``with`` block, and put weights, buffers, rates and random states back after it."""
    held = [parameter for parameter in frozen if not parameter.stop_gradient]
    training = model.training
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = (random.getstate(), np.random.get_state(), paddle.get_rng_state())
    scales = [(parameter, parameter.optimize_attr["learning_rate"]) for parameter in model.parameters()]
    sparse = [layer for layer in model.sublayers(include_self=True) if isinstance(layer, paddle.nn.Embedding) and layer._sparse]
    compat.set_sparse(sparse, sparse=False)  # no AdamW of Paddle takes gradients by rows
    for parameter in held:
        parameter.stop_gradient = True
    try:
        yield
    finally:
        compat.set_sparse(sparse, sparse=True)
        for parameter in held:
            parameter.stop_gradient = False
        for name, tensor in model.state_dict().items():
            tensor.set_value(weights[name])
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.clear_gradient(False)
        for parameter, scale in scales:  # an optimizer writes its multipliers onto the parameters
            parameter.optimize_attr["learning_rate"] = scale
        random.setstate(states[0])
        np.random.set_state(states[1])
        paddle.set_rng_state(states[2])
        (model.train if training else model.eval)()


def _curve(group: str | None, rates: npt.NDArray[np.float64], losses: Sequence[float]) -> LearningRateCurve:
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite:
        raise HostError("the loss is not finite even at the lowest learning rate; look at the data and the model first")
    smoothed, average = [], 0.0
    for step, loss in enumerate(finite):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed.append(average / (1 - _SMOOTHING ** (step + 1)))
    seen = rates[: len(finite)]
    steepest, minimum = propose(seen, np.array(smoothed), noise=_noise(finite))
    blew_up = float(rates[len(losses) - 1]) if len(losses) < len(rates) or len(finite) < len(losses) else None
    return LearningRateCurve(
        group=group,
        rates=tuple(map(float, seen)),
        losses=tuple(finite),
        smoothed=tuple(smoothed),
        steepest=steepest,
        minimum=minimum,
        blew_up_at=blew_up,
    )


def _noise(losses: Sequence[float]) -> float:
    """How far losses of batches are apart at the lowest rates, which change nothing yet: a standard deviation."""
    first = np.asarray(losses[: max(4, len(losses) // 2)])
    return float(np.median(np.abs(np.diff(first)))) if len(first) > 1 else 0.0


def propose(
    rates: npt.NDArray[np.float64], smoothed: npt.NDArray[np.float64], *, noise: float = 0.0
) -> tuple[float | None, float]:
    """Return the rate of the steepest fall before the lowest loss, None if the loss never falls, and that of the lowest loss.

    Args:
        rates: rising.
        smoothed: the losses.
        noise: a fall that is not larger is none.
    Shapes:
        rates: (N,), rising; smoothed: (N,)
    """
    # The first losses are few and noisy; a slope is measured over a stretch, not between two points.
    begin, width = len(rates) // 10, max(4, len(rates) // 10)
    lowest = begin + int(np.argmin(smoothed[begin:]))
    starts = np.arange(begin, max(begin, lowest - width + 1))
    slopes = (smoothed[starts + width] - smoothed[starts]) / (np.log(rates[starts + width]) - np.log(rates[starts]))
    if not slopes.size or slopes.min() >= 0 or smoothed[begin : lowest + 1].max() - smoothed[lowest] <= noise:
        return None, float(rates[int(np.argmin(smoothed))])
    return float(rates[starts[int(np.argmin(slopes))] + width // 2]), float(rates[lowest])
