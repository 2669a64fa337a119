"""Writing safetensors files array by array, and reading them with the header fully checked."""

from __future__ import annotations

import dataclasses
import json
import math
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.utils.files.os_errors import naming
from paddlenlp_embtune.utils.json_yaml import parse_json, shorten

__all__ = ["LazyArray", "SafetensorsFile", "StoredArray", "write_safetensors", "write_safetensors_file"]

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "BF16": "<u2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items() if name != "BF16"}
_MAX_HEADER_BYTES = 100_000_000
_METADATA = "__metadata__"


@dataclasses.dataclass(frozen=True)
class LazyArray:
    """An array that is created only when it is written, so that only one is in memory at a time.

    Args:
        dtype: type name in safetensors; bfloat16 is "BF16", and :attr:`read` then returns its bits as uint16.
        shape: its dimensions.
        read: returns the values.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """The header entry of one array.

    Args:
        dtype: type name in safetensors.
        shape: its dimensions.
        begin: offset of its first byte in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int

    @property
    def numpy(self) -> np.dtype[Any]:
        """Return the numpy type used for reading; uint16 for bfloat16, as in Paddle."""
        return np.dtype(_DTYPES[self.dtype])


def write_safetensors_file(
    path: Path, arrays: Mapping[str, npt.NDArray[Any] | LazyArray], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays to a new file; an existing one is unlinked first, so a process that has it mapped keeps its content.

    Args:
        path: the file.
        arrays: by name.
        metadata: strings by name for the header; None writes ``format``.
    Raises:
        OSError: the file cannot be written; the error names it.
    """
    with naming(path):
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            write_safetensors(file, arrays, metadata=metadata)


def write_safetensors(
    file: IO[bytes], arrays: Mapping[str, npt.NDArray[Any] | LazyArray], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays as safetensors, one after another; for the arguments, see :func:`write_safetensors_file`.

    If all arrays have one type, the bytes equal those of the package safetensors, without its second copy in memory.
    """
    lazy = {name: value if isinstance(value, LazyArray) else _loaded(value) for name, value in arrays.items()}
    # Widest types first, so that every array is aligned to its item size.
    names = sorted(lazy, key=lambda name: (-np.dtype(_DTYPES[lazy[name].dtype]).itemsize, name))
    header, at = {}, 0
    for name in names:
        one = lazy[name]
        size = math.prod(one.shape) * np.dtype(_DTYPES[one.dtype]).itemsize
        header[name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [at, at + size]}
        at += size
    stated = {"format": "np"} if metadata is None else dict(metadata)
    text = json.dumps({_METADATA: stated, **header}, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        values = np.ascontiguousarray(lazy[name].read(), dtype=_DTYPES[lazy[name].dtype])
        file.write(values.reshape(-1).view(np.uint8).data)


def _loaded(values: npt.NDArray[Any]) -> LazyArray:
    return LazyArray(_NAMES[values.dtype.newbyteorder("<")], values.shape, lambda: values)


class SafetensorsFile:
    """A safetensors file whose header has been checked against the file size; arrays are read on request.

    Args:
        path: the file.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; it is not a regular file, its header is damaged, or it is truncated or too long.
    """

    def __init__(self, path: Path, *, error: type[EmbtuneError]) -> None:
        self.path = path
        self._error = error
        try:
            self.arrays: dict[str, StoredArray] = self._header()
        except OSError as fault:
            raise error(f"cannot read {path}: {fault.strerror}") from None

    def read(self, name: str) -> npt.NDArray[Any]:
        """Return one array, which owns its memory.

        Raises:
            EmbtuneError: the file cannot be read or was truncated, or there is not enough memory.
        """
        stored = self.arrays[name]
        try:
            values = np.empty(stored.shape, dtype=stored.numpy)
            with self.path.open("rb") as file:
                file.seek(stored.begin)
                got = file.readinto(values.reshape(-1).view(np.uint8).data) if values.size else 0
        except (OSError, MemoryError) as fault:
            raise self._error(f"cannot read {shorten(name)} in {self.path}: {fault or 'not enough memory'}") from None
        if got != values.nbytes:
            raise self._damaged(f"it ends inside {shorten(name)}")
        return values

    def read_all(self) -> dict[str, npt.NDArray[Any]]:
        """Return every array by name."""
        return {name: self.read(name) for name in self.arrays}

    def _header(self) -> dict[str, StoredArray]:
        info = self.path.lstat()
        if not stat.S_ISREG(info.st_mode):
            raise self._damaged("it is not a regular file")
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, info.st_size - 8):
                raise self._damaged(f"its header claims {length:,} bytes, but the file has {info.st_size:,}")
            header = parse_json(file.read(length), f"the header of {self.path}", error=self._error)
        if not isinstance(header, dict):
            raise self._damaged("its header is not a JSON object")
        found = {name: self._entry(name, value, 8 + length) for name, value in header.items() if name != _METADATA}
        at = 8 + length
        for stored in sorted(found.values(), key=lambda stored: (stored.begin, math.prod(stored.shape))):
            if stored.begin != at:
                raise self._damaged("its arrays overlap or leave gaps")
            at += math.prod(stored.shape) * stored.numpy.itemsize
        if at != info.st_size:
            raise self._damaged(f"its header describes {at:,} bytes, but the file has {info.st_size:,}")
        return found

    def _entry(self, name: str, value: Any, start: int) -> StoredArray:
        match value:
            case {"dtype": str() as dtype, "shape": [*shape], "data_offsets": [int() as begin, int() as end]} if (
                dtype in _DTYPES and len(shape) <= 32 and all(type(size) is int and 0 <= size < 1 << 48 for size in shape)
            ):
                if end - begin == math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize and begin >= 0:
                    return StoredArray(dtype, tuple(shape), start + begin)
        raise self._damaged(f"its header has an invalid entry for {shorten(name)}: {shorten(value)}")

    def _damaged(self, what: str) -> EmbtuneError:
        return self._error(f"{self.path} is damaged: {what}")
