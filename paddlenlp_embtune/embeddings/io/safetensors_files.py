"""Finding a table and its tokens in files of arrays, conversion to float32, and safetensors headers."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io._row_collector import RowCollector
from paddlenlp_embtune.embeddings.io.options import ReadOptions
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.utils.json_yaml import parse_json, read_bounded, shorten
from paddlenlp_embtune.utils.text_files.line_reader import read_lines, split_byte_lines

__all__ = [
    "FLOAT_DTYPES",
    "TOKENS",
    "Shape",
    "StoredTensor",
    "check_surrogates",
    "choose_table",
    "collect_rows",
    "header_tokens",
    "open_safetensors",
    "parse_tokens",
    "read_vocabulary",
    "row_blocks",
    "to_float32",
]

Shape = tuple[int, ...]

TOKENS = ("tokens", "vocab", "vocabulary", "words")
"""Names of token arrays."""

FLOAT_DTYPES = ("F16", "BF16", "F32", "F64")
"""Supported safetensors types of a table."""

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "U8": "|u1"}
_MAX_HEADER_BYTES = 100_000_000
_MAX_DIMENSIONS, _MAX_SIZE, _MAX_BYTES = 32, 1 << 40, 1 << 62
_SURROGATE = re.compile("[\ud800-\udfff]")
_STEP = 1 << 20


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file.

    Args:
        path: the file.
        dtype: safetensors' name of it.
        shape: its dimensions.
        offset: byte of the file that it begins at.
    """

    path: Path
    dtype: str
    shape: Shape
    offset: int

    def map(self) -> npt.NDArray[Any]:
        """Memory-map the tensor; bfloat16 as uint16, for :func:`to_float32`.

        Raises:
            VectorError: the type is not supported.
        """
        if self.dtype not in _DTYPES:
            raise VectorError(f"{self.path} holds a table of {self.dtype}; expected {', '.join(FLOAT_DTYPES)}")
        if not math.prod(self.shape):
            return np.empty(self.shape, dtype=_DTYPES[self.dtype])
        return np.asarray(
            np.memmap(self.path, dtype=_DTYPES[self.dtype], mode="r", offset=self.offset, shape=self.shape, order="C")
        )


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Read the header of a safetensors file and check it against the file size.

    Raises:
        VectorError: the header is damaged, or the file is cut off.
    """
    header, start, size = _read_header(path)
    entries = {name: _entry(name, value, path) for name, value in header.items() if name != "__metadata__"}
    tensors = {}
    for name, (dtype, shape, begin, end) in entries.items():
        if not 0 <= begin <= end <= size - start:
            raise VectorError(
                f"{path} is cut off or damaged: {shorten(name)} lies at bytes {start + begin:,} to {start + end:,}, and the "
                f"file ends at byte {size:,}; fetch it again"
            )
        if dtype in _DTYPES and math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize != end - begin:
            raise VectorError(f"{path} gives {shorten(name)}, {dtype} of shape {shape}, {end - begin:,} bytes; fetch it again")
        tensors[name] = StoredTensor(path, dtype, shape, start + begin)
    _check_overlaps(entries, path)
    return tensors


def header_tokens(path: Path) -> list[str] | None:
    """Return the row tokens in the header of a safetensors file, as written by this package; None if there are none."""
    metadata = _read_header(path)[0].get("__metadata__")
    text = metadata.get("tokens") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        return None
    try:
        return parse_tokens(text, f"the header of {path}")
    except VectorError:
        return None


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header of a safetensors file, the offset after it, and the file size.

    Raises:
        VectorError: it is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
            raise VectorError(f"{path} says that its header has {length:,} bytes, and the file has {size:,}; fetch it again")
        header = parse_json(file.read(length), f"{path} has a damaged header: it", error=VectorError)
    if not isinstance(header, dict):
        raise VectorError(f"{path} has a damaged header: it is {shorten(header)}, no mapping; fetch it again")
    return header, 8 + length, size


def _entry(name: str, value: Any, path: Path) -> tuple[str, Shape, int, int]:
    match value:
        case {"dtype": str() as dtype, "shape": list() as shape, "data_offsets": [begin, end]} if all(
            type(number) is int and abs(number) <= _MAX_BYTES for number in (*shape, begin, end)
        ):
            if (
                min(shape, default=0) >= 0
                and len(shape) <= _MAX_DIMENSIONS
                and math.prod(number for number in shape if number) <= _MAX_SIZE
            ):
                return dtype, tuple(shape), begin, end
    raise VectorError(f"{path} has a damaged header: {shorten(name)} is {shorten(value)}; fetch it again")


def _check_overlaps(entries: Mapping[str, tuple[str, Shape, int, int]], path: Path) -> None:
    """Reject tensors that share bytes: reading them could take any multiple of the file size."""
    last, before = 0, ""
    for begin, end, name in sorted((begin, end, name) for name, (_, _, begin, end) in entries.items() if begin < end):
        if begin < last:
            raise VectorError(f"{path} has a damaged header: {shorten(before)} and {shorten(name)} overlap; fetch it again")
        last, before = end, name


def choose_table(shapes: Mapping[str, Shape], options: ReadOptions, source: str, *, guess: Iterable[str] = ()) -> str:
    """Choose the table: the declared one, or else the only candidate.

    Args:
        shapes: of all tensors by name.
        options: with the declared name, if any.
        source: for messages.
        guess: preferred candidates among the two-dimensional tensors.
    Raises:
        VectorError: the declared one is missing or not two-dimensional, or there is no single candidate.
    """
    tables = [name for name, shape in shapes.items() if len(shape) == 2]
    listed = ", ".join(f"{name} {shapes[name]}" for name in (tables or list(shapes))[:12]) or "(none)"
    if options.tensor is not None:
        if options.tensor not in tables:
            raise VectorError(f"the tensor {options.tensor!r} is no table of {source}; expected {listed}")
        return options.tensor
    found = list(guess) or tables
    if len(found) != 1:
        raise VectorError(f"{source} has {len(found)} tensors that could be the table; declare one as tensor: {listed}")
    return found[0]


def to_float32(values: npt.NDArray[Any], *, bfloat16: bool = False) -> npt.NDArray[np.float32]:
    """Convert values to float32."""
    if bfloat16:
        widened: npt.NDArray[np.float32] = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return widened
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32, copy=False)


def parse_tokens(data: str | bytes, where: str) -> list[str]:
    """Parse tokens stored as a JSON list in UTF-8, as by :func:`write_vectors`.

    Raises:
        VectorError: the data is not a list of strings.
    """
    tokens = parse_json(data, f"the list of tokens in {where}", error=VectorError)
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise VectorError(f"the tokens in {where} are no list of strings; give a vocabulary file instead")
    return check_surrogates(tokens, where)


def check_surrogates(tokens: list[str], where: str) -> list[str]:
    """Return the tokens after checking that UTF-8 can encode them.

    Raises:
        VectorError: a token has a lone surrogate.
    """
    if broken := next((token for token in tokens if not token.isascii() and _SURROGATE.search(token)), None):
        raise VectorError(f"the token {shorten(broken)} in {where} holds a lone surrogate; give a vocabulary file instead")
    return tokens


def read_vocabulary(path: Path | None, rows: int, source: str) -> list[str | None]:
    """Read one token per line; None for a line that is not valid UTF-8.

    Raises:
        VectorError: there is no vocabulary, or it does not have ``rows`` lines.
    """
    if path is None:
        raise VectorError(
            f"{source} holds {rows:,} vectors and no tokens; give the tokens as vocabulary, a file with one a line"
        )
    try:
        tokens = _tokens_of(path)
    except OSError as error:
        raise VectorError(f"the vocabulary {path} cannot be read: {error.strerror}") from None
    if len(tokens) != rows:
        raise VectorError(
            f"the vocabulary {path} has {len(tokens):,} lines, and {source} {rows:,} rows; expected one line a row"
        )
    return tokens


def _tokens_of(path: Path) -> list[str | None]:
    try:
        return list(read_lines(path, error=VectorError))
    except VectorError:
        content = read_bounded(path, error=VectorError)
    tokens: list[str | None] = []
    for line in split_byte_lines(content.removeprefix(b"\xef\xbb\xbf")):
        try:
            tokens.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            tokens.append(None)
    return tokens


def collect_rows(
    collector: RowCollector,
    tokens: Sequence[str | None],
    parts: Iterable[npt.NDArray[Any]],
    convert: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]] = to_float32,
    *,
    size: int = 0,
) -> None:
    """Pass the rows of an array to a collector, part by part.

    Args:
        collector: receives the rows.
        tokens: of all rows; None if not decodable.
        parts: consecutive rows, (n, D) each.
        convert: converts the wanted rows to float32.
        size: bytes of the file, for progress.
    """
    at = 0
    for part in parts:
        chosen: list[int] = []
        for row, token in enumerate(tokens[at : at + len(part)]):
            if token:
                if collector.wants(token):
                    chosen.append(row)
            else:
                kind = "whose token is not UTF-8" if token is None else "without a token"
                collector.damaged(
                    kind, f"row {at + row}: its token, line {at + row + 1}, is {'not UTF-8' if token is None else 'empty'}"
                )
        if chosen:
            names = [str(tokens[at + row]) for row in chosen]
            values = convert(part if len(chosen) == len(part) else part[chosen])
            collector.add(names, values, lambda row: f"row {at + chosen[row]}")  # noqa: B023  called at once
        at += len(part)
        if collector.options.progress is not None:
            collector.options.progress(size * at // max(1, len(tokens)), size)


def row_blocks(table: npt.NDArray[Any]) -> Iterable[npt.NDArray[Any]]:
    """Yield consecutive rows, about a million values at a time."""
    step = max(1, _STEP // max(1, table.shape[1]))
    return (table[at : at + step] for at in range(0, len(table), step))
