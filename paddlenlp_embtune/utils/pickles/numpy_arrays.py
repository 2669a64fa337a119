"""A safe reader for pickled numpy arrays: types, shapes and sizes are checked before an array is built."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.pickles.reader import PickleReader
from paddlenlp_embtune.utils.pickles.values import Global, PickleError, Span

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["MAX_DIMENSIONS", "check_shape", "read_arrays", "read_values"]

MAX_DIMENSIONS = 32
"""Maximum number of dimensions of an array, the limit of numpy 1."""

_MAX_SIZE = 1 << 40
"""Maximum size of one dimension, and of the product of all dimensions that are not 0."""

_MAX_DEPTH = 64
_TYPES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16"))
_NEXT_STEP = "save the model again with save_pretrained"


def read_arrays(file: Path, *, error: type[EmbtuneError]) -> dict[str, Any]:
    """Read pickled arrays by name, as PaddleNLP saves parameters; other content of the file is skipped.

    Memory use stays within four times the file size plus 128 MB.

    Args:
        file: a ``.pdparams`` file.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; the file is damaged, contains more than arrays, or contains no named arrays.
    """
    state = _load(file, error)
    if not isinstance(state, dict):
        raise error(f"{file} contains no named parameters; pass the folder that save_pretrained wrote")
    arrays = {name: value for name, value in state.items() if isinstance(value, _Array) and isinstance(name, str)}
    if empty := [name for name, value in arrays.items() if value.values is None]:
        raise error(f"{file} cannot be read as arrays: {shorten(empty[0])} has no values; {_NEXT_STEP}")
    return {name: value.values for name, value in arrays.items()}


def read_values(file: Path, *, error: type[EmbtuneError]) -> Any:
    """Read a pickle of nested arrays and plain values, as Paddle saves the state of an optimizer or a schedule.

    Memory use stays within four times the file size, plus a few hundred MB for plain values.

    Args:
        file: such as ``optimizer.pdopt`` or ``scheduler.pdparams``.
        error: the exception to raise.
    Returns:
        Dictionaries, lists, tuples, strings, bytes, numbers, booleans, None, and arrays that own their memory. The pair of
        name and array that Paddle saves for a tensor becomes the array alone. Repeated values may share one object.
    Raises:
        EmbtuneError: of the type given; the file is damaged, contains more than arrays and plain values, nests deeper than 64
            levels, or exceeds a million values.
    """
    return _load(file, error, whole=True)


def _load(file: Path, error: type[EmbtuneError], *, whole: bool = False) -> Any:
    try:
        with file.open("rb") as stream:
            reader = _ArrayReader(stream, stream.seek(0, 2))
            stream.seek(0)
            state = reader.load()
            return reader.finish(state) if whole else state
    except (PickleError, OSError, ValueError) as fault:  # ValueError: a path with a null character
        raise error(f"{file} cannot be read as arrays: {_reason(fault)}; {_NEXT_STEP}") from None
    except MemoryError:
        raise error(
            f"{file} cannot be read as arrays: there is not enough memory for it; {_NEXT_STEP} as safetensors"
        ) from None


def _reason(fault: Exception) -> str:
    return str(getattr(fault, "strerror", None) or fault)


def check_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape after checking that numpy can use it.

    Raises:
        PickleError: it is not a tuple of integers, has too many dimensions, or has one that is negative or too large.
    """
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS or any(type(size) is not int for size in shape):
        raise PickleError(f"the shape of an array is {shorten(shape)}")
    if min(shape, default=0) < 0 or math.prod(size for size in shape if size) > _MAX_SIZE:
        raise PickleError(f"the shape of an array is {shorten(shape)}")
    return shape


class _Dtype:
    """A dtype as the pickle declares it: one of numpy's two- or three-letter codes, and the byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, ""

    def __repr__(self) -> str:
        return f"dtype {self.code}"

    def numpy(self) -> np.dtype[Any]:
        import numpy as np

        return np.dtype((self.order if self.order in ("<", ">") else "") + self.code)


class _Array:
    """An array as the pickle declares it; without values until it is complete."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: npt.NDArray[Any] | None = None

    def __repr__(self) -> str:
        return "an array"


class _ArrayReader(PickleReader):
    """Builds numpy arrays from a pickle."""

    WANTED: ClassVar[str] = "arrays"
    GLOBALS: ClassVar = {
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): "dtype",
        ("numpy.core.multiarray", "_reconstruct"): "array",
        ("numpy._core.multiarray", "_reconstruct"): "array",
        ("numpy.core.multiarray", "scalar"): "scalar",
        ("numpy._core.multiarray", "scalar"): "scalar",
        ("_codecs", "encode"): "encode",
        ("collections", "OrderedDict"): "mapping",
        ("builtins", "tuple"): "tuple",
        ("__builtin__", "tuple"): "tuple",
        ("__builtin__", "bytes"): "bytes",
    }

    def __init__(self, stream: Any, size: int) -> None:
        super().__init__(stream, size)
        self._room = 2 * size  # what protocol 2 encodes counts once as bytes and once as an array

    def call(self, role: str, args: tuple[Any, ...]) -> Any:
        match role, args:
            case "array", (Global(role="ndarray"), (0,), b"b" | "b"):
                return _Array()
            case "dtype", (str() as code, *_) if code in _TYPES:
                return _Dtype(code)
            case "dtype", (code, *_):
                raise PickleError(f"an array has the type {shorten(code)}, but only numbers are supported")
            case "scalar", (_Dtype() as dtype, data):
                return self._values(dtype, (), "C", data).item()
            case "encode", (text, "latin1" | "latin-1"):
                return self._encode(text)
        return self._container(role, args)

    def _container(self, role: str, args: tuple[Any, ...]) -> Any:
        match role, args:
            case "bytes", ():  # how protocol 2 writes empty bytes
                return b""
            case "mapping", ():
                return {}
            case "mapping", (list() as pairs,):
                return self._mapping(pairs)
            case "tuple", ((str(), _Array() as array),):
                return array
            case "tuple", (tuple() as items,):
                return items
        raise PickleError(f"it calls {role} with {shorten(args)}")

    def build(self, target: Any, state: Any) -> None:
        match target, state:
            case _Array(values=None), (1, shape, _Dtype() as dtype, bool() | 0 | 1 as fortran, data):
                target.values = self._values(dtype, check_shape(shape), "F" if fortran else "C", data)
            case _Dtype(order=""), (3 | 4, "<" | ">" | "|" | "=" as order, None, None, None, -1, -1, 0, *_):
                target.order = order
            case _Dtype(), _:
                raise PickleError(f"an array has the type {shorten(state)}, but only numbers are supported")
            case _Array(), _:
                raise PickleError(f"an array has the invalid state {shorten(state)}")
            case _:
                super().build(target, state)

    def finish(self, state: Any) -> Any:
        """Return a value with its arrays and strings resolved; see :func:`read_values`."""
        return self._finish(state, 0)

    def _finish(self, value: Any, depth: int) -> Any:
        self.charge(1)
        if depth > _MAX_DEPTH:
            raise PickleError(f"it nests deeper than {_MAX_DEPTH} levels")
        if isinstance(value, _Array):
            if value.values is None:
                raise PickleError("an array in it has no values")
            return value.values
        if isinstance(value, (list, tuple)):
            return type(value)([self._finish(item, depth + 1) for item in value])
        if isinstance(value, dict):
            return {key: self._finish(item, depth + 1) for key, item in value.items()}
        if isinstance(value, Span):
            self._spend(value.size)
            return self.content(value)
        if isinstance(value, (Global, _Dtype)):
            raise PickleError(f"it contains a {type(value).__name__.strip('_').lower()} instead of a value")
        return value

    def _spend(self, size: int) -> None:
        """Count the bytes allocated; they exceed the file's only if one part is used again and again."""
        self._room -= size
        if self._room < 0:
            raise PickleError("it builds more arrays than it has bytes for")

    def _values(self, dtype: _Dtype, shape: tuple[int, ...], order: Any, data: Any) -> npt.NDArray[Any]:
        import numpy as np

        size = math.prod(shape) * dtype.numpy().itemsize
        if type(data) is Span and data.decode is None and data.size != size:
            raise PickleError(f"an array of shape {shape} has {data.size:,} bytes, expected {size:,}")
        self._spend(size)
        raw = self.content(data)
        if type(raw) is str:
            raw = _latin1(raw)
        if type(raw) is not bytes or len(raw) != size:
            found = f"{len(raw):,} bytes" if type(raw) is bytes else shorten(raw)
            raise PickleError(f"an array of shape {shape} has {found}, expected {size:,} bytes")
        values = np.frombuffer(raw, dtype=dtype.numpy() if dtype.code != "b1" else np.dtype("u1"))
        owned = values.astype(dtype.numpy().newbyteorder("="), copy=True)  # for bool, anything but 0 is True
        return owned.reshape(shape, order=order)

    def _encode(self, text: Any) -> Any:
        """Return bytes that protocol 2, which has no opcode for them, writes as a string."""
        if type(text) is Span and text.decode is not None:
            return Span(text.start, text.size, _recode)
        if type(text) is not str:
            raise PickleError(f"it encodes {shorten(text)}")
        self._spend(len(text))
        return _latin1(text)

    def _mapping(self, pairs: list[Any]) -> dict[Any, Any]:
        self.charge(len(pairs))
        if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
            raise PickleError("it builds a dictionary from something other than a list of pairs")
        return {self.key(key): value for key, value in pairs}


def _recode(raw: bytes) -> bytes:
    """Convert UTF-8 to Latin-1 without an intermediate string of four bytes per character."""
    import numpy as np

    if raw and np.frombuffer(raw, np.uint8).max() > 0xC3:  # the first byte of characters beyond Latin-1
        raise PickleError("a string in it that represents bytes contains characters beyond Latin-1")
    return raw.decode("utf-8").encode("latin-1")


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise PickleError("a string in it that represents bytes contains characters beyond Latin-1") from None
