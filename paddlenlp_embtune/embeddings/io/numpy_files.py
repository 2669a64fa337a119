"""Reading vectors from ``.npy``, ``.npz`` and safetensors files, with tokens inside the file or in a vocabulary file."""

from __future__ import annotations

import contextlib
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io._row_collector import RowCollector
from paddlenlp_embtune.embeddings.io._streams import Stream, plain_file
from paddlenlp_embtune.embeddings.io.options import ReadOptions, VectorFormat
from paddlenlp_embtune.embeddings.io.safetensors_files import (
    FLOAT_DTYPES,
    TOKENS,
    StoredTensor,
    check_surrogates,
    choose_table,
    collect_rows,
    header_tokens,
    open_safetensors,
    parse_tokens,
    read_vocabulary,
    row_blocks,
    to_float32,
)
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.text import describe_vocabulary_difference
from paddlenlp_embtune.utils.zip_files import MAX_EXPANSION, ZipError, open_zip, read_member

__all__ = ["NPY", "NPZ", "SAFETENSORS"]

_NPY = b"\x93NUMPY"
_STEP = 1 << 22
_FLOATS = (2, 4, 8)
_MAX_TOKENS_BYTES, _TOKENS_FREE = 1 << 31, 64 << 20
_MAX_ZIP_EXPANSION = 1100  # the maximum of deflate: tables are read in parts, and may be mostly zeros
_MAX_DIMENSIONS, _MAX_DIGITS = 32, 18
_ITEM = re.compile(
    rb"""\s*(['"])(descr|fortran_order|shape)\1\s*:\s*"""
    rb"""(?:(['"])([^'"]{1,32})\3|(True|False)|\(([0-9, L]*)\)|(\[[^{}]*\]))\s*(?:,|$)"""
)
_DTYPE = re.compile(r"[<>|=]?[a-zA-Z?][0-9]{0,6}(?:\[[0-9a-zA-Z]{1,8}\])?")
_COMPOUND = "V1"  # stands for structured types, which are not supported


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _detects_npy(_path: Path, head: bytes) -> bool:
    return head.startswith(_NPY)


def _detects_npz(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK"):
        return False
    try:
        with open_zip(path, max_expansion=_MAX_ZIP_EXPANSION) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (ZipError, OSError):
        return path.suffix == ".npz"  # truncated, which its reader reports


def _detects_safetensors(_path: Path, head: bytes) -> bool:
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000 and b'"dtype"' in head


def _read_npy(source: str, options: ReadOptions) -> VectorTable:
    path = Path(source)
    with Stream(path, options.progress) as stream:
        shape, dtype, fortran, length = _npy_header(stream, source)
        rows, width = _table_shape(shape, source)
        _check_floats(dtype, source)
        need = length + rows * width * dtype.itemsize
        if stream.plain_size is not None and stream.plain_size != need:
            raise VectorError(
                f"{path} says {rows:,} rows of {width:,} {dtype}, so it should end at byte {need:,}, and it ends at byte "
                f"{stream.plain_size:,}; fetch it again"
            )
        tokens = read_vocabulary(options.vocabulary, rows, source)
        certain = rows if stream.plain_size is not None else None
        collector = RowCollector(source, options, width=width, expected=certain)
        collect_rows(collector, tokens, _npy_rows(stream, shape, dtype, fortran=fortran, source=source), size=stream.size)
    return collector.finish()


def _read_npz(source: str, options: ReadOptions) -> VectorTable:
    path = plain_file(source, "an .npz")
    with _broken_zip(source), open_zip(path, max_expansion=_MAX_ZIP_EXPANSION) as archive:
        infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")}
        headers = {}
        for name, info in infos.items():
            with archive.open(info) as member:
                headers[name] = _npy_header(member, f"{source}, array {name!r}")
        floats = {name: header[0] for name, header in headers.items() if header[1].kind == "f"}
        name = choose_table(floats, options, source)
        shape, dtype, fortran, length = headers[name]
        rows, width = _table_shape(shape, source)
        _check_floats(dtype, source)
        if infos[name].file_size != length + rows * width * dtype.itemsize:
            raise VectorError(
                f"{source}, array {name!r}, says {rows:,} rows of {width:,} {dtype}, and has "
                f"{infos[name].file_size - length:,} bytes of them; fetch it again"
            )
        tokens = _npz_tokens(archive, infos, headers, rows, options, source)
        collector = RowCollector(source, options, width=width, expected=rows)
        with archive.open(infos[name]) as member:
            member.read(length)
            parts = _npy_rows(member, shape, dtype, fortran=fortran, source=source)
            collect_rows(collector, tokens, parts, size=path.stat().st_size)
    return collector.finish()


def _read_safetensors(source: str, options: ReadOptions) -> VectorTable:
    path = plain_file(source, "safetensors")
    tensors = open_safetensors(path)
    shapes = {name: tensor.shape for name, tensor in tensors.items() if tensor.dtype in FLOAT_DTYPES}
    table = tensors[choose_table(shapes, options, source)]
    rows, width = _table_shape(table.shape, source)
    tokens: list[Any] = _stored_tokens(tensors, rows, options, source)
    collector = RowCollector(source, options, width=width, expected=rows)
    halves = table.dtype == "BF16"
    collect_rows(
        collector, tokens, row_blocks(table.map()), lambda part: to_float32(part, bfloat16=halves), size=path.stat().st_size
    )
    return collector.finish()


def _stored_tokens(tensors: dict[str, StoredTensor], rows: int, options: ReadOptions, source: str) -> list[Any]:
    name = next((name for name in TOKENS if name in tensors and tensors[name].dtype == "U8"), None)
    trained = header_tokens(Path(source)) if name is None else None
    if trained is not None and len(trained) == rows:
        return _trained_tokens(trained, options, source)
    if options.vocabulary is not None or name is None:
        return list(read_vocabulary(options.vocabulary, rows, source))
    return _as_many(parse_tokens(tensors[name].map().tobytes(), f"{source}, tensor {name!r}"), rows, source)


def _trained_tokens(trained: list[str], options: ReadOptions, source: str) -> list[Any]:
    """Return the training tokens recorded in weights of this package; reject a different vocabulary."""
    if options.vocabulary is not None:
        given = list(read_vocabulary(options.vocabulary, len(trained), source))
        if difference := describe_vocabulary_difference(trained, [str(token) for token in given]):
            raise VectorError(
                f"{source} was trained with another vocabulary than {options.vocabulary}: {difference}; leave the vocabulary "
                "out, for the file has its own"
            )
    return list(trained)


def _npz_tokens(
    archive: zipfile.ZipFile,
    infos: dict[str, zipfile.ZipInfo],
    headers: dict[str, Any],
    rows: int,
    options: ReadOptions,
    source: str,
) -> list[Any]:
    name = next((name for name in TOKENS if name in headers and headers[name][1].kind in "uU"), None)
    if options.vocabulary is not None or name is None:
        return list(read_vocabulary(options.vocabulary, rows, source))
    where = f"{source}, array {name!r}"
    limit = min(_MAX_TOKENS_BYTES, max(_TOKENS_FREE, MAX_EXPANSION * Path(source).stat().st_size))
    if infos[name].file_size > limit:
        raise VectorError(f"{where} has {infos[name].file_size:,} bytes; expected up to {limit:,}; give a vocabulary file")
    shape, dtype, _, length = headers[name]
    fits = len(shape) == 1 and infos[name].file_size == length + shape[0] * dtype.itemsize
    if not fits or (dtype.kind == "u" and dtype.itemsize != 1):
        raise VectorError(f"{where} is {dtype} of shape {shape}; expected strings, or a JSON list as uint8, of one dimension")
    data = read_member(archive, infos[name], max_bytes=_MAX_TOKENS_BYTES)[length:]
    return _as_many(_strings(data, dtype, where) if dtype.kind == "U" else parse_tokens(data, where), rows, source)


def _strings(data: bytes, dtype: np.dtype[Any], where: str) -> list[str]:
    try:
        tokens: list[str] = np.frombuffer(data, dtype=dtype).tolist()
    except ValueError as error:  # a number that is not a character
        raise VectorError(f"{where} holds no text: {error}; give a vocabulary file") from None
    return check_surrogates(tokens, where)


def _as_many(tokens: list[str], rows: int, source: str) -> list[str]:
    if len(tokens) != rows:
        raise VectorError(f"{source} has {len(tokens):,} tokens and {rows:,} rows; expected as many; fetch it again")
    return tokens


def _npy_header(file: _Readable, source: str) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Return shape, type, whether the order is Fortran's, and the length of the header.

    Raises:
        VectorError: the header is damaged, or the array holds Python objects, which would need a pickle.
    """
    start = file.read(8)
    size = 2 if start[6:7] == b"\1" else 4
    if start[:6] != _NPY or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise VectorError(f"{source} begins with {start!r}; expected numpy's .npy, version 1 to 3")
    count = file.read(size)
    text = file.read(min(1 << 16, int.from_bytes(count, "little")))
    kind, fortran, shape = _npy_items(text, source)
    try:
        dtype = np.dtype(kind)
    except (TypeError, ValueError) as error:
        raise VectorError(f"{source} has a damaged header: {error}; fetch it again") from None
    if dtype.hasobject:
        raise VectorError(
            f"{source} holds Python objects as a pickle, and nothing is unpickled; save it again with "
            "numpy.save(path, array.astype('float32'), allow_pickle=False), tokens as an array of strings"
        )
    return shape, dtype, fortran, 8 + size + len(text)


def _npy_items(text: bytes, source: str) -> tuple[str, bool, tuple[int, ...]]:
    """Parse type, order and shape from a header, a Python dictionary literal, without evaluating it."""
    whole = re.fullmatch(rb"\s*\{(.*)\}\s*", text, re.DOTALL)
    at, found, body = 0, dict[bytes, re.Match[bytes]](), whole[1].rstrip() if whole else b""
    while at < len(body) and (item := _ITEM.match(body, at)) and item[2] not in found:
        found[item[2]], at = item, item.end()
    try:
        if at < len(body) or len(found) < 3:
            raise ValueError(f"it is {text[:60]!r}")
        order, sizes = found[b"fortran_order"][5], found[b"shape"][6]
        kind = _COMPOUND if found[b"descr"][7] is not None else found[b"descr"][4].decode("ascii")
        shape = tuple(_size(size) for size in sizes.split(b",") if size.strip())
        if order is None or not _DTYPE.fullmatch(kind) or len(shape) > _MAX_DIMENSIONS:
            raise ValueError(f"its values are {kind!r}, of {len(shape)} dimensions")
    except (ValueError, AttributeError, TypeError) as error:
        raise VectorError(f"{source} has a damaged header: {str(error)[:200]}; fetch it again") from None
    return kind, order == b"True", shape


def _size(text: bytes) -> int:
    digits = text.strip().removesuffix(b"L")  # as written by Python 2
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise ValueError(f"a size is {text[:40]!r}")
    return int(digits)


def _npy_rows(
    file: _Readable, shape: tuple[int, ...], dtype: np.dtype[Any], *, fortran: bool, source: str
) -> Iterator[npt.NDArray[Any]]:
    """Yield rows, a few megabytes at a time; all at once for Fortran order."""
    rows, width = shape
    step = rows if fortran else max(1, _STEP // (width * dtype.itemsize))
    for at in range(0, rows, step):
        count = min(step, rows - at)
        data = _read_fully(file, count * width * dtype.itemsize)
        if len(data) < count * width * dtype.itemsize:
            raise VectorError(f"{source} is cut off after {at + len(data) // (width * dtype.itemsize):,} of {rows:,} rows")
        part = np.frombuffer(data, dtype=dtype)
        yield part.reshape(width, count).T if fortran else part.reshape(count, width)


def _read_fully(file: _Readable, size: int) -> bytes:
    """Read in steps, so that a bogus size in a header is not allocated at once."""
    parts: list[bytes] = []
    while size > 0 and (data := file.read(min(size, _STEP))):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _table_shape(shape: tuple[int, ...], source: str) -> tuple[int, int]:
    if len(shape) != 2 or not math.prod(shape):
        raise VectorError(f"{source} has the shape {shape}; expected (rows, width), not empty")
    return shape[0], shape[1]


def _check_floats(dtype: np.dtype[Any], source: str) -> None:
    if dtype.kind != "f" or dtype.itemsize not in _FLOATS:
        raise VectorError(f"{source} holds {dtype}; expected float16, float32, float64")


@contextlib.contextmanager
def _broken_zip(source: str) -> Iterator[None]:
    try:
        yield
    except (ZipError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise VectorError(f"{source} is a damaged or cut off .npz: {str(error)[:200]}; fetch it again") from None


NPY = VectorFormat(_read_npy, _detects_npy)
NPZ = VectorFormat(_read_npz, _detects_npz)
SAFETENSORS = VectorFormat(_read_safetensors, _detects_safetensors)
