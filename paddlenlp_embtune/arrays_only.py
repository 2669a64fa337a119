"""Reading pickled arrays without letting the pickle do anything else."""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["ArraysOnly"]

_ARRAYS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}


class ArraysOnly(pickle.Unpickler):
    """Reads pickled arrays by name, and refuses whatever else a pickle could make Python do."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few names that arrays are made of.

        Raises:
            pickle.UnpicklingError: the pickle asks for something else.
        """
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only arrays are read; save it as safetensors")
        return super().find_class(module, name)
