"""Reading what PyTorch's ``save`` wrote, without PyTorch, and without letting the pickle in it do anything."""

from __future__ import annotations

import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import EmbtuneError

__all__ = ["read_torch_arrays"]

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_NEXT_STEP = "save the model as safetensors, or give one that PyTorch 1.6 or later saved"


class _Storage:
    """Stands for a storage class of PyTorch, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name


def read_torch_arrays(file: Path, *, error: type[EmbtuneError]) -> dict[str, Any]:
    """Read tensors by name, as PyTorch saves the state of a model; what else the file holds is left out.

    Args:
        file: such as ``pytorch_model.bin``.
        error: the exception to raise.
    Returns:
        Arrays by name, of their own types; bfloat16 as float32.
    Raises:
        EmbtuneError: of the type given; the file is damaged, asks for more than tensors, or holds no names.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(file) as archive:
            (entry,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            with archive.open(entry) as stream:
                state = _TensorsOnly(stream, archive, entry.removesuffix("data.pkl")).load()
    except Exception as fault:  # a damaged file may raise anything
        raise error(f"{file} cannot be read as tensors: {fault}; {_NEXT_STEP}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise error(f"{file} holds no tensors by name; {_NEXT_STEP}")
    return {str(name): value for name, value in state.items() if isinstance(value, np.ndarray)}


class _TensorsOnly(pickle.Unpickler):
    """Reads pickled tensors by name, and refuses whatever else a pickle could make Python do."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for one of the few names that tensors are made of.

        Raises:
            pickle.UnpicklingError: the pickle asks for something else.
        """
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _Storage(name)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if (module, name) == ("collections", "OrderedDict"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only tensors are read")

    def persistent_load(self, pid: Any) -> Any:
        """Return the values of a storage, all of them, in one dimension."""
        import numpy as np

        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not str(key).isdecimal():
            raise pickle.UnpicklingError(f"it asks for a {kind!r}, and only tensors are read")
        values: Any = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype=_STORAGES[storage.name])
        if values.size < int(count):
            raise pickle.UnpicklingError(f"the storage {key} has {values.size} values, expected {count}")
        if storage.name == "BFloat16Storage":
            values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return values


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    """Make an array of its own out of a part of a storage, in C order."""
    import numpy as np

    if min((offset, *size, *stride)) < 0:
        raise pickle.UnpicklingError(f"a tensor has the shape {size} with steps {stride}")
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if math.prod(size) and (last >= storage.size or math.prod(size) > storage.size):
        raise pickle.UnpicklingError(f"a tensor of shape {size} goes beyond its storage of {storage.size} values")
    steps = tuple(step * storage.itemsize for step in stride)
    return np.array(np.lib.stride_tricks.as_strided(storage[offset:], shape=size, strides=steps, writeable=False), order="C")
