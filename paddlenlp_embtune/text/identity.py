"""Whether ids mean now what they meant when weights were trained."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["describe_vocabulary_difference"]


def describe_vocabulary_difference(trained: Sequence[str], now: Sequence[str], *, most: int = 3) -> str:
    """Say where two vocabularies differ first; empty where they are the same.

    Args:
        trained: tokens in the order of their ids, as the weights know them.
        now: as they are here.
        most: ids to show.
    """
    both = min(len(trained), len(now))
    different = [number for number in range(both) if trained[number] != now[number]]
    parts = [f"id {number} was {trained[number]!r} and is {now[number]!r}" for number in different[:most]]
    if len(different) > most:
        parts.append(f"{len(different)} of {both} ids differ")
    if len(trained) > both:
        parts.append(f"{len(trained) - both} tokens are missing at the end, {trained[both]!r} first")
    if len(now) > both:
        parts.append(f"{len(now) - both} tokens are new at the end, {now[both]!r} first")
    return "; ".join(parts)
