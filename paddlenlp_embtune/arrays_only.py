"""Reading pickled arrays without letting the pickle do anything else."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import EmbtuneError

__all__ = ["ArraysOnly", "read_arrays"]

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


def read_arrays(file: Path, *, error: type[EmbtuneError]) -> dict[str, Any]:
    """Read pickled arrays by name, as PaddleNLP saves parameters; what else the file holds is left out.

    Args:
        file: a ``.pdparams`` file.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; the file is damaged, asks for more than arrays, or holds no names.
    """
    import numpy as np

    try:
        with file.open("rb") as stream:
            state = ArraysOnly(stream).load()
    except Exception as fault:  # a damaged pickle may raise anything
        raise error(f"{file} cannot be read as arrays: {fault}; save the model again with save_pretrained") from None
    if not isinstance(state, dict):
        raise error(f"{file} holds no parameters by name; give the folder that save_pretrained wrote")
    return {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
