"""GELU and layer norms by oneDNN, in one pass over memory and by every thread; None where it cannot, or where doubt remains."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.compat.onednn import _primitives, _tasks, selection
from paddlenlp_embtune.errors import HostError

__all__ = ["gelu", "gelu_gradient", "layer_norm", "layer_norm_gradients"]

Array = npt.NDArray[np.float32]
_CLOSE = 1e-3
"""How far a first result may be from what is expected, in its largest value: more than rounding, less than any mistake."""


def gelu(values: Array, expected: Callable[[], Array]) -> Array | None:
    """Return the exact Gaussian error linear unit of every value.

    Args:
        values: any shape.
        expected: computes it otherwise, for the first values of a size.
    """
    return _first(_run(_tasks.GeluForward(values.size), (values,), (values.shape,), lambda: (expected(),)))


def gelu_gradient(values: Array, gradient: Array, expected: Callable[[], Array]) -> Array | None:
    """Return the gradient of the values."""
    return _first(_run(_tasks.GeluBackward(values.size), (values, gradient), (values.shape,), lambda: (expected(),)))


def layer_norm(
    rows: Array, scale: Array, shift: Array, epsilon: float, expected: Callable[[], Array]
) -> tuple[Array, Array, Array] | None:
    """Normalise every row, scale and shift; return the result, the means and the variances of the rows.

    Shapes:
        rows: (R, D); scale, shift: (D,); returns: (R, D), (R,), (R,)
    """
    count, width = rows.shape
    task = _tasks.NormForward(count, width, float(epsilon))
    found = _run(task, (rows, scale, shift), (rows.shape, (count,), (count,)), lambda: (expected(),))
    return None if found is None else (found[0], found[1], found[2])


def layer_norm_gradients(
    rows: Array, scale: Array, moments: tuple[Array, Array], epsilon: float, gradient: Array, expected: Callable[[], Any]
) -> tuple[Array, Array, Array] | None:
    """Return the gradients of rows, scale and shift.

    Args:
        rows: what :func:`layer_norm` was given.
        scale: what it was given.
        epsilon: what it was given.
        moments: the means and variances that it returned.
        gradient: what arrives.
        expected: computes the three otherwise, for the first rows of a shape.
    """
    count, width = rows.shape
    task = _tasks.NormBackward(count, width, float(epsilon))
    # The shift is asked for and does not count.
    found = _run(task, (rows, scale, scale, *moments, gradient), (rows.shape, (width,), (width,)), expected)
    return None if found is None else (found[0], found[1], found[2])


def _run(
    task: _primitives.Task, given: tuple[Array, ...], shapes: tuple[tuple[int, ...], ...], expected: Callable[[], Any]
) -> tuple[Array, ...] | None:
    """Do a task; None where nobody selected oneDNN, or it cannot, or a result is not finite or not what is expected.

    What is not finite is left to others, as the library turns the largest values and infinities into NaN at times.
    """
    if not selection.runs_operators() or not given[0].size:
        return None
    try:
        primitive = _primitives.primitive_for(task)
    except HostError:
        return None
    if primitive is None or primitive.proven is False:
        return None
    held = [np.ascontiguousarray(values, dtype=np.float32) for values in given]
    made = tuple(np.empty(shape, np.float32) for shape in shapes)
    if primitive.proven is None:
        for values in made:
            values.fill(np.nan)
    if not primitive.run(*(values.ctypes.data for values in (*held, *made))):
        return None
    if not all(math.isfinite(values.sum()) for values in made):
        return None
    if primitive.proven is None:
        primitive.proven = all(_close(ours, theirs) for ours, theirs in zip(made, expected(), strict=False))
    return made if primitive.proven else None


def _close(ours: Array, theirs: Array) -> bool:
    return bool(np.abs(ours - theirs).max() <= _CLOSE * np.abs(theirs).max())


def _first(found: tuple[Array, ...] | None) -> Array | None:
    return None if found is None else found[0]
