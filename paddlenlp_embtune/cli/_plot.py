"""Curves of the learning-rate range test: as text in a terminal, or in a file through matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_embtune.errors import MissingDependencyError

if TYPE_CHECKING:
    from paddlenlp_embtune.training import LearningRateCurve

__all__ = ["draw", "draw_png"]


def draw(learning_rates: Sequence[float], losses: Sequence[float], *, width: int = 64, height: int = 10) -> str:
    """Draw losses against learning rates as text; the axis of learning rates is logarithmic."""
    columns = min(width, len(losses))
    points = [losses[round(column * (len(losses) - 1) / max(1, columns - 1))] for column in range(columns)]
    low, high = min(points), min(max(points), points[0] * 1.5 if points[0] > 0 else max(points))
    span = (high - low) or 1.0
    rows = [[" "] * columns for _ in range(height)]
    for column, value in enumerate(points):
        row = round((min(value, high) - low) / span * (height - 1))
        rows[height - 1 - row][column] = "●"
    lines = ["".join(row) for row in rows]
    lines[0] = f"{high:8.3f} ┤{lines[0]}"
    lines[-1] = f"{low:8.3f} ┤{lines[-1]}"
    lines[1:-1] = [f"{'':8} │{line}" for line in lines[1:-1]]
    foot = f"{'':8} └{'─' * columns}\n{'':10}{learning_rates[0]:<.0e}{learning_rates[-1]:>{max(1, columns - 5)}.0e}"
    return "\n".join(lines) + "\n" + foot


def draw_png(path: Path, curves: Mapping[str, LearningRateCurve]) -> None:
    """Draw range tests into a file whose extension sets the format.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'drawing curves needs matplotlib; install it with: pip install "paddlenlp-embtune[plot]"'
        ) from None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        (line,) = axes.plot(curve.rates, curve.smoothed, label=name)
        axes.plot(curve.rates, curve.losses, color=line.get_color(), alpha=0.25, linewidth=0.8)
        if curve.proposal is not None:
            axes.axvline(curve.proposal, color=line.get_color(), linestyle=":", label=f"{name}: {curve.proposal:.1e}")
    first = next(iter(curves.values()))
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(0, 2 * first.smoothed[0]))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
