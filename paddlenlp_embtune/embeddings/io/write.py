"""Writing vectors as text, word2vec binary, npz or safetensors."""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import VectorError, expected_names
from paddlenlp_embtune.utils import safetensors_io
from paddlenlp_embtune.utils.files.atomic_io import replace_file
from paddlenlp_embtune.utils.files.locks import exclusive_lock

__all__ = ["write_vectors"]

Table = npt.NDArray[np.float32]
_STEP = 1024


def write_vectors(path: str | Path, tokens: Sequence[str], table: npt.ArrayLike, *, format: str) -> None:  # noqa: A002
    """Write vectors, replacing ``path`` atomically.

    Numbers in text are the shortest that round-trip to the same float32. Array formats can hold any token.

    Args:
        path: the file; text and binary are compressed if it ends in ``.gz``.
        tokens: N unique tokens.
        table: (N, D) float32.
        format: ``word2vec``, ``word2vec-binary``, ``glove``, ``npz`` or ``safetensors``.
    Raises:
        VectorError: the format is unknown or cannot hold a token, tokens and rows do not match, a value is not finite, or
            another process has been writing it for too long.
        OSError: the file cannot be written; the error names it.
    """
    path = Path(path)
    if format not in _WRITERS:
        raise VectorError(f"vectors cannot be written as {format!r}; {expected_names(format, _WRITERS)}")
    write, illegal = _WRITERS[format]
    rows = np.ascontiguousarray(table, dtype="<f4")
    _check(tokens, rows)
    if illegal is not None:
        _check_tokens(tokens, illegal, format)
    elif path.suffix == ".gz":
        raise VectorError(f"{path} would be compressed, and {format} is read in place; give a name without .gz")
    with exclusive_lock(path, error=VectorError), replace_file(path) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                write(cast(IO[bytes], packed), tokens, rows)
        else:
            write(file, tokens, rows)


def _check(tokens: Sequence[str], table: Table) -> None:
    if table.ndim != 2 or not table.size or len(tokens) != len(table):
        raise VectorError(f"{len(tokens):,} tokens and a table of shape {table.shape}; expected (rows, width), one token a row")
    broken = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if broken.size:
        raise VectorError(f"the row of {tokens[broken[0]]!r} holds NaN or infinite values; fix it before writing")
    seen: set[str] = set()
    for token in tokens:
        if token in seen or not token or any("\ud800" <= letter <= "\udfff" for letter in token):
            raise VectorError(
                f"{token!r} cannot be written as a token; expected each once, one or more characters, no lone surrogate"
            )
        seen.add(token)


def _check_tokens(tokens: Sequence[str], illegal: re.Pattern[str], name: str) -> None:
    for token in tokens:
        if illegal.search(token):
            raise VectorError(
                f"the token {token!r} cannot stand in the format {name!r}, where spaces and line feeds end tokens; write "
                "'safetensors' or 'npz', which hold any token"
            )


def _write_word2vec(file: IO[bytes], tokens: Sequence[str], table: Table) -> None:
    file.write(b"%d %d\n" % table.shape)
    _write_rows(file, tokens, table)


def _write_rows(file: IO[bytes], tokens: Sequence[str], table: Table) -> None:
    for at in range(0, len(tokens), _STEP):
        rows = zip(tokens[at : at + _STEP], table[at : at + _STEP], strict=True)
        lines = (f"{token} {' '.join(map(str, row))}\n" for token, row in rows)
        file.write("".join(lines).encode("utf-8"))


def _write_binary(file: IO[bytes], tokens: Sequence[str], table: Table) -> None:
    file.write(b"%d %d\n" % table.shape)
    for at in range(0, len(tokens), _STEP):
        rows = zip(tokens[at : at + _STEP], table[at : at + _STEP], strict=True)
        file.write(b"".join(token.encode("utf-8") + b" " + row.tobytes() for token, row in rows))


def _write_npz(file: IO[bytes], tokens: Sequence[str], table: Table) -> None:
    # Like numpy.savez, which on a full disk leaves the archive open until it is garbage-collected.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in (("tokens", np.frombuffer(_json(tokens), dtype=np.uint8)), ("vectors", table)):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                write_array: Any = np.lib.format.write_array
                write_array(entry, array, allow_pickle=False)


def _write_safetensors(file: IO[bytes], tokens: Sequence[str], table: Table) -> None:
    safetensors_io.write_safetensors(file, {"vectors": table, "tokens": np.frombuffer(_json(tokens), dtype=np.uint8)})


def _json(tokens: Sequence[str]) -> bytes:
    return json.dumps(list(tokens), ensure_ascii=False).encode("utf-8")


_Writer = Callable[[IO[bytes], Sequence[str], Table], None]
_WRITERS: dict[str, tuple[_Writer, re.Pattern[str] | None]] = {
    "word2vec": (_write_word2vec, re.compile(r"[ \t\n]")),
    "word2vec-binary": (_write_binary, re.compile(r"[ \n]")),
    "glove": (_write_rows, re.compile(r"[ \t\n]")),
    "npz": (_write_npz, None),
    "safetensors": (_write_safetensors, None),
}
