"""What a bundle may cost where it serves, and what one costs there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from paddlenlp_embtune.utils.schema import require

__all__ = ["Limits", "ServingCost"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingCost:
    """What a bundle costs where it serves.

    Args:
        latency_ms: processor time of one thread for one text of the data's median length, the median of many calls.
        size_mb: of all files of the bundle, in megabytes of 1,000,000 bytes.
        memory_mb: the most memory that a process had which opened the bundle with ONNX Runtime and answered texts.
    """

    latency_ms: float
    size_mb: float
    memory_mb: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a bundle may cost; None sets no limit.

    Args:
        latency_ms, size_mb, memory_mb: see :class:`ServingCost`; above 0.
    Raises:
        RecipeError: a limit is not above 0.
    """

    latency_ms: float | None = None
    size_mb: float | None = None
    memory_mb: float | None = None

    def __post_init__(self) -> None:
        for name in ("latency_ms", "size_mb", "memory_mb"):
            value = getattr(self, name)
            require(value is None or 0 < value < float("inf"), name, value, "above 0")

    def violations(self, cost: ServingCost) -> list[str]:
        """Say which limits a cost breaks, and by what; empty where it breaks none."""
        return [f"{what} {_figure(value)} {unit}, allowed {_figure(limit)}" for what, unit, value, limit in self._broken(cost)]

    def excess(self, cost: ServingCost) -> float:
        """Return how often the worst broken limit is contained in a cost; 1 or less where none is broken."""
        return max((value / limit for *_, value, limit in self._stated(cost)), default=0.0)

    def _broken(self, cost: ServingCost) -> Iterator[tuple[str, str, float, float]]:
        return (each for each in self._stated(cost) if each[2] > each[3])

    def _stated(self, cost: ServingCost) -> Iterator[tuple[str, str, float, float]]:
        for name, what, unit in (("latency_ms", "latency", "ms"), ("size_mb", "size", "MB"), ("memory_mb", "memory", "MB")):
            limit = getattr(self, name)
            if limit is not None:
                yield what, unit, getattr(cost, name), limit


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
