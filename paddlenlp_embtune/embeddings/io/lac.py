"""The embedding of Baidu's LAC model, which ships with the package jieba.

20,941 rows of 128: characters, in simplified and traditional script, with a few rows for classes of unknown tokens. The
files are located through jieba's metadata and read byte by byte; no code of jieba or Paddle runs.
"""

from __future__ import annotations

import importlib.metadata
import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io.options import ReadOptions
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.errors import MissingDependencyError, VectorError
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.protobuf import read_fields

__all__ = ["read_lac", "read_paddle_tensor"]

_TENSOR = "jieba/lac_small/model_baseline/word_emb"
_WORDS = "jieba/lac_small/word.dic"
_UNKNOWN = "OOV"
_FLOAT32 = 5
_MAX_DIMENSIONS = 8


def read_lac(_source: str = "lac", options: ReadOptions | None = None) -> VectorTable:
    """Read the LAC embedding from the installed jieba; there is only one, so the source is ignored.

    Args:
        options: only ``keep`` is used; the row for unknown tokens is always kept.
    Raises:
        MissingDependencyError: jieba is not installed.
        VectorError: its files are damaged or unexpected.
    """
    table = read_paddle_tensor(_locate(_TENSOR))
    rows: dict[str, int] = {}
    words = _locate(_WORDS)
    try:
        lines = words.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise VectorError(f"{words} is not UTF-8 ({error.reason}); install jieba 0.42.1 again") from None
    for number, line in enumerate(lines, start=1):
        index, tab, word = line.partition("\t")
        if not line:
            continue
        if not tab or not re.fullmatch("[0-9]{1,9}", index) or int(index) >= len(table):
            raise VectorError(
                f"line {number} of {words} is {shorten(line)}; expected a row number below {len(table)}, a tab, a word"
            )
        rows.setdefault(word, int(index))
    unknown_row = rows.pop(_UNKNOWN, None)
    rows = {word: row for word, row in rows.items() if not word.startswith(f"{_UNKNOWN}_")}
    source = f"LAC, in jieba {importlib.metadata.version('jieba')}"
    if options is None or options.keep is None:
        return VectorTable(rows, table, source, unknown_row)
    kept = {word: row for word, row in rows.items() if options.keep(word)}
    if not kept:
        raise VectorError(f"nothing was read from {source}: none of its {len(rows):,} tokens is wanted; check the tokens")
    chosen = [*kept.values(), *([] if unknown_row is None else [unknown_row])]
    unknown_row = None if unknown_row is None else len(kept)
    return VectorTable(dict(zip(kept, range(len(kept)), strict=True)), table[chosen], source, unknown_row)


def read_paddle_tensor(path: Path) -> npt.NDArray[np.float32]:
    """Read one float32 tensor in Paddle's legacy file format.

    The layout: uint32 version 0, uint64 number of LoD levels 0, uint32 tensor version 0, int32 length of a protobuf
    description (field 1 the data type, field 2 the dimensions), the description, then the values, all little endian.

    Shapes:
        returns: as the file says, float32
    Raises:
        VectorError: the file is truncated, or is not such a tensor.
    """
    data = path.read_bytes()
    if len(data) < 20 or data[:16] != bytes(16):
        raise VectorError(f"{path} is not a Paddle tensor of version 0: its first 16 bytes are {data[:16].hex(' ')}")
    length = int.from_bytes(data[16:20], "little")
    start = 20 + length
    kind, shape = _describe(data[20:start], path)
    if kind != _FLOAT32:
        raise VectorError(f"{path} holds values of Paddle's type {kind}; expected {_FLOAT32} (float32)")
    expected = math.prod(shape) * 4
    if len(data) - start != expected:
        raise VectorError(
            f"{path} says that it holds {shape} float32 values, {expected} bytes, but {len(data) - start} bytes follow "
            f"its header at byte {start}; the file is damaged, install its package again"
        )
    return np.frombuffer(data, dtype="<f4", offset=start).reshape(shape).astype(np.float32)


def _describe(description: bytes, path: Path) -> tuple[int, tuple[int, ...]]:
    """Parse type and dimensions from a tensor description."""
    kind, shape = -1, list[int]()
    try:
        fields = list(read_fields(description))
    except (ValueError, LookupError):
        raise VectorError(f"the header of {path} is truncated or damaged") from None
    for field, value, whole in fields:
        if field == 1 and whole[0] == 0x08:
            kind = value
        elif field == 2 and whole[0] == 0x10:
            shape.append(value)
        else:
            raise VectorError(f"{path} has an unknown field {whole[0]:#x} in its description; it is not a plain tensor")
    if not shape or len(shape) > _MAX_DIMENSIONS:
        raise VectorError(f"{path} states {len(shape)} dimensions; expected 1 to {_MAX_DIMENSIONS}")
    if not all(shape):
        raise VectorError(f"{path} states the dimensions {shape}, expected none of 0")
    return kind, tuple(shape)


def _locate(name: str) -> Path:
    try:
        distribution = importlib.metadata.distribution("jieba")
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependencyError(
            "the LAC vectors ship with jieba, which is not installed; install it with: pip install jieba"
        ) from None
    path = Path(str(distribution.locate_file(name)))
    if not path.is_file():
        raise VectorError(f"jieba {distribution.version} has no file {name}; install jieba 0.42.1")
    return path
