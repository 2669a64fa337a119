"""A safe reader for files of ``torch.save`` that does not need PyTorch."""

from __future__ import annotations

import io
import math
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.pickles.numpy_arrays import check_shape
from paddlenlp_embtune.utils.pickles.reader import PickleReader
from paddlenlp_embtune.utils.pickles.values import Global, PickleError
from paddlenlp_embtune.utils.zip_files import ZipError, open_zip, read_member, read_member_into

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["read_torch_arrays"]

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "u1",
}
_MAX_PICKLE_BYTES = 64 << 20
_NEXT_STEP = "save the model as safetensors, or pass a file saved by PyTorch 1.6 or later"


def read_torch_arrays(file: Path, *, error: type[EmbtuneError]) -> dict[str, Any]:
    """Read tensors by name, as PyTorch saves a state dict; other content of the file is skipped.

    Memory use stays within four times the unpacked size, which is at most 16 times the file or 64 MB, plus 128 MB.

    Args:
        file: such as ``pytorch_model.bin``.
        error: the exception to raise.
    Returns:
        Arrays by name, with their original types; bfloat16 becomes float32. Names that share one tensor share one array.
    Raises:
        EmbtuneError: of the type given; the file is damaged, contains more than tensors, or contains no named tensors.
    """
    try:
        with open_zip(file) as archive:
            state = _reader(archive).load()
    except (PickleError, ZipError, OSError, ValueError) as fault:  # ValueError: a path with a null character
        reason = getattr(fault, "strerror", None) or fault
        raise error(f"{file} cannot be read as tensors: {reason}; {_NEXT_STEP}") from None
    except MemoryError:
        raise error(
            f"{file} cannot be read as tensors: there is not enough memory for it; save the model as safetensors"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise error(f"{file} contains no named tensors; {_NEXT_STEP}")
    return {str(name): value.values for name, value in state.items() if isinstance(value, _Tensor)}


def _reader(archive: zipfile.ZipFile) -> _TensorReader:
    entries = [member for member in archive.infolist() if member.filename.endswith("/data.pkl")]
    if len(entries) != 1:
        raise PickleError(f"it has {len(entries)} members data.pkl, expected one")
    content = read_member(archive, entries[0], max_bytes=_MAX_PICKLE_BYTES)
    return _TensorReader(content, archive, entries[0].filename.removesuffix("data.pkl"))


class _Storage:
    """All values of a storage, in one dimension; only :meth:`_TensorReader.persistent` creates one."""

    __slots__ = ("key", "kind", "values")

    def __init__(self, key: str, kind: str, values: npt.NDArray[Any]) -> None:
        self.key, self.kind, self.values = key, kind, values

    def __repr__(self) -> str:
        return f"storage {self.key}"


class _Tensor:
    """A finished tensor; the pickle cannot use it as a storage."""

    __slots__ = ("values",)

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values = values

    def __repr__(self) -> str:
        return "a tensor"


class _TensorReader(PickleReader):
    """Builds arrays from a pickle of PyTorch."""

    WANTED: ClassVar[str] = "tensors"
    GLOBALS: ClassVar = {
        **{(module, name): name for module in ("torch", "torch.storage") for name in _STORAGES},
        ("torch._utils", "_rebuild_tensor_v2"): "tensor",
        ("torch._utils", "_rebuild_parameter"): "parameter",
        ("collections", "OrderedDict"): "mapping",
    }

    def __init__(self, content: bytes, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(content), len(content))
        self._archive, self._folder = archive, folder
        self._members = {member.filename: member for member in archive.infolist()}
        self._room = 0  # bytes that tensors may still take: twice those of the storages read so far
        self._order = self._byte_order()
        self._storages: dict[str, _Storage] = {}
        self._tensors: dict[Any, _Tensor] = {}

    def _byte_order(self) -> str:
        member = self._members.get(f"{self._folder}byteorder")
        stated = b"little" if member is None else read_member(self._archive, member, max_bytes=16)
        if stated not in (b"little", b"big"):
            raise PickleError(f"its byte order is {shorten(stated)}")
        return "<" if stated == b"little" else ">"

    def call(self, role: str, args: tuple[Any, ...]) -> Any:
        match role, args:
            case "tensor", (_Storage() as storage, offset, size, stride, bool(), dict(), *_):
                return self._tensor(storage, offset, size, stride)
            case "parameter", (_Tensor() as tensor, *_):
                return tensor
            case "mapping", ():
                return {}
        raise PickleError(f"it calls {role} with {shorten(args)}")

    def persistent(self, pid: Any) -> Any:
        match pid:
            case ("storage", Global(role=kind), str() as key, str(), int() as count) if kind in _STORAGES:
                pass
            case _:
                raise PickleError(f"it refers to {shorten(pid)} outside the pickle, but only tensors are read")
        if not re.fullmatch("[0-9]{1,18}", key) or type(count) is not int:
            raise PickleError(f"it refers to {shorten(pid)} outside the pickle, but only tensors are read")
        known = self._storages.get(key)
        if known is None:
            known = self._storages[key] = _Storage(key, kind, self._stored(key, kind, count))
        if known.kind != kind or known.values.size != count:
            raise PickleError(f"it declares storage {key} both as {count} of {kind} and as {known.values.size} of {known.kind}")
        return known

    def _stored(self, key: str, kind: str, count: int) -> npt.NDArray[Any]:
        import numpy as np

        dtype = np.dtype(self._order + _STORAGES[kind])
        member = self._members.get(f"{self._folder}data/{key}")
        if member is None or member.file_size != count * dtype.itemsize:
            found = "is missing" if member is None else f"has {member.file_size:,} bytes"
            raise PickleError(f"storage {key} {found}, expected {count} values of {dtype.itemsize} bytes")
        values = np.empty(count, dtype)
        self._room += 2 * values.nbytes
        read_member_into(self._archive, member, values.view(np.uint8).data)
        return values.astype(dtype.newbyteorder("="), copy=False)

    def _tensor(self, storage: _Storage, offset: Any, size: Any, stride: Any) -> _Tensor:
        """Copy a part of a storage into an array in C order; the same part always gives the same array."""
        check_shape(size)
        if type(stride) is not tuple or len(stride) != len(size) or any(type(step) is not int for step in (offset, *stride)):
            raise PickleError(
                f"a tensor has the shape {shorten(size)} with strides {shorten(stride)} at offset {shorten(offset)}"
            )
        if min((offset, *stride)) < 0:
            raise PickleError(
                f"a tensor has the shape {shorten(size)} with strides {shorten(stride)} at offset {shorten(offset)}"
            )
        count = math.prod(size)
        last = offset + sum((number - 1) * step for number, step in zip(size, stride, strict=True)) if count else offset - 1
        if last >= storage.values.size or count > storage.values.size:
            raise PickleError(f"a tensor of shape {shorten(size)} exceeds its storage of {storage.values.size} values")
        part = (storage.key, offset, size, stride)
        if part not in self._tensors:
            self._tensors[part] = _Tensor(self._part(storage, offset, size, stride))
        return self._tensors[part]

    def _part(self, storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> npt.NDArray[Any]:
        import numpy as np

        held = storage.values
        self._room -= math.prod(size) * held.itemsize
        if self._room < 0:
            raise PickleError("its tensors take more than twice the bytes of its storages")
        if not math.prod(size):
            return np.empty(size, held.dtype if storage.kind != "BFloat16Storage" else np.float32)
        steps = tuple(step * held.itemsize if number > 1 else 0 for number, step in zip(size, stride, strict=True))
        values = np.lib.stride_tricks.as_strided(held[offset:], shape=size, strides=steps, writeable=False)
        if storage.kind == "BFloat16Storage":
            widened: npt.NDArray[np.float32] = (values.astype(np.uint32, order="C") << np.uint32(16)).view(np.float32)
            return widened
        if storage.kind == "BoolStorage":
            return np.array(values != 0)
        return np.array(values, order="C")
