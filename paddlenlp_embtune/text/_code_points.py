"""The characters of many texts as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["code_points"]


def code_points(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """Return the code points of all texts, one behind the other, lone surrogates included.

    Shapes:
        returns: (sum of the lengths of the texts,) uint32
    """
    return np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
