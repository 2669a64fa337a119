"""Pairs of sentences that differ in one place, the first the better for the shareholders: does a bundle put them in order?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paddlenlp_embtune.inference import Predictor

__all__ = ["PAIRS", "read", "share_in_order"]

PAIRS = Path(__file__).parent / "minimal_pairs.txt"


def read(path: Path = PAIRS) -> list[tuple[str, str]]:
    """The better and the worse sentence of every line."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [(_side(line, 1), _side(line, 2)) for line in lines]


def share_in_order(predictor: Predictor, pairs: Sequence[tuple[str, str]]) -> float:
    """Share of the pairs whose first sentence has the higher level, in the mean over the probabilities."""
    better, worse = (
        predictor.probabilities(list(side)) @ np.arange(len(predictor.labels)) for side in zip(*pairs, strict=True)
    )
    return float((better > worse).mean())


def _side(line: str, number: int) -> str:
    return re.sub(r"\{([^{}|]*)\|([^{}|]*)\}", lambda match: match[number] or "", line)
