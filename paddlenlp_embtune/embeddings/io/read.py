"""Reading vectors in any format, declared or detected."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from paddlenlp_embtune.embeddings.io._streams import read_head
from paddlenlp_embtune.embeddings.io.checkpoint import BUNDLE, CHECKPOINT
from paddlenlp_embtune.embeddings.io.fasttext import FASTTEXT
from paddlenlp_embtune.embeddings.io.lac import read_lac
from paddlenlp_embtune.embeddings.io.numpy_files import NPY, NPZ, SAFETENSORS
from paddlenlp_embtune.embeddings.io.options import Reader, ReadOptions
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.io.word2vec_binary import WORD2VEC_BINARY
from paddlenlp_embtune.embeddings.io.word2vec_text import GLOVE, WORD2VEC, first_sparse_pair
from paddlenlp_embtune.errors import VectorError, expected_names
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.zip_files import ZipError, open_zip

__all__ = ["FORMATS", "detect_format", "read_vectors"]

# By hand: 1.3 to 9.3 times as fast as gensim with a tenth of its memory, and nothing is unpickled; see docs/benchmarks.md.
FORMATS: Mapping[str, Reader] = MappingProxyType(
    {
        "fasttext": FASTTEXT,
        "safetensors": SAFETENSORS,
        "npz": NPZ,
        "npy": NPY,
        "bundle": BUNDLE,
        "checkpoint": CHECKPOINT,
        "word2vec": WORD2VEC,
        "word2vec-binary": WORD2VEC_BINARY,
        "glove": GLOVE,
        "lac": read_lac,
    }
)
"""The built-in formats, in the order of detection."""

_PICKLE = tuple(b"\x80" + bytes([version]) for version in range(2, pickle.HIGHEST_PROTOCOL + 1))


def read_vectors(
    source: str | Path, options: ReadOptions | None = None, *, formats: Mapping[str, Reader] | None = None
) -> VectorTable:
    """Read pretrained vectors.

    Args:
        source: a file or folder; or the name of a format that needs none, such as ``lac``.
        options: what to read, and how.
        formats: readers by name; None uses the built-in ones. Plugins' are in ``registry.current().of_kind("vector format")``.
    Raises:
        VectorError: there is no such source or format, the format is not recognized or not safe to read, or the content is
            invalid; the message says where.
        MissingDependencyError: the package that ships the vectors is not installed.
    """
    options = options or ReadOptions()
    known = FORMATS if formats is None else formats
    source, path = str(source), Path(source)
    name = options.format
    try:
        if name is None:
            name = source if source in known and not path.exists() else detect_format(path, formats=known)
        if name not in known:
            raise VectorError(f"no format of vectors is called {name!r}; {expected_names(name, known, limit=20)}")
        if path.is_file():
            _refuse_pickle(path)
        return _checked(known[name](source, options), name)
    except MemoryError:
        raise VectorError(
            f"{source} needs more memory than there is; take a subset of the file, or a machine with more"
        ) from None
    except OSError as error:
        raise VectorError(f"{error.filename or source} cannot be read: {error.strerror or error}") from None


def detect_format(path: Path, *, formats: Mapping[str, Reader] | None = None) -> str:
    """Detect the format of a file or folder from its content; readers of plugins come before built-in ones.

    Raises:
        VectorError: there is no such file, its format is unknown, or two plugins claim it.
    """
    known = FORMATS if formats is None else formats
    if not path.exists():
        raise VectorError(
            f"there are no vectors at {path}, and no format is called so; {expected_names(str(path), known, limit=20)}, or the "
            "path of a file or folder"
        )
    if path.is_file():
        _refuse_pickle(path)
    head = read_head(path)
    _refuse_others(path, head)
    guests = {name: reader for name, reader in known.items() if reader is not FORMATS.get(name)}
    claims = [name for name, reader in guests.items() if _claims(reader, path, head)]
    if len(claims) > 1:
        raise VectorError(f"{path} could be of the formats {' and '.join(claims)}; declare one of them as its format")
    own = (name for name, reader in FORMATS.items() if name in known and name not in guests and _claims(reader, path, head))
    name = claims[0] if claims else next(own, None)
    if name is None:
        raise VectorError(_unrecognised(path, head, known))
    return name


def _checked(found: Any, name: str) -> VectorTable:
    """Reject the result of a plugin's reader unless it is a table."""
    if not isinstance(found, VectorTable):
        raise VectorError(f"the reader of the format {name!r} returned {shorten(found)}; expected: a VectorTable")
    return found


def _claims(reader: Reader, path: Path, head: bytes) -> bool:
    detects = getattr(reader, "detects", None)
    return detects is not None and bool(detects(path, head))


def _refuse_pickle(path: Path) -> None:
    """Reject pickles, such as gensim's and PyTorch's own files."""
    head = read_head(path)
    if head[:2] in _PICKLE or (head[:2] == b"PK" and _holds_pickle(path)):
        raise VectorError(
            f"{path} is a pickle, as gensim's save() and torch.save() write, and nothing is unpickled; save the vectors in a "
            "safe format: in gensim vectors.save_word2vec_format(path, binary=True), elsewhere safetensors"
        )


def _refuse_others(path: Path, head: bytes) -> None:
    """Reject files with vectors that are not one dense table, and name the cause."""
    if head[257:262] == b"ustar":
        raise VectorError(f"{path} is a tar archive; unpack it first, with: tar -xf {path.name}, and give the file inside")
    if (pair := first_sparse_pair(head)) is not None:
        raise VectorError(
            f"{path} holds sparse vectors, pairs of a column and a value such as {pair!r}, as PPMI is written; only dense ones "
            "can be read: take a file of the same source that was made with SGNS or GloVe, or reduce it, for example by a "
            "truncated SVD"
        )


def _holds_pickle(path: Path) -> bool:
    try:
        with open_zip(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (ZipError, OSError):
        return False


def _unrecognised(path: Path, head: bytes, known: Mapping[str, Reader]) -> str:
    if path.is_dir():
        names = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        return (
            f"the folder {path}, with {names}, is neither a checkpoint of PaddleNLP nor a bundle; give one of these, or a file"
        )
    if not head:
        return f"{path} is empty; fetch it again"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"{path} begins with the byte order mark of UTF-16; save it as UTF-8"
    if head[:2] == b"PK":
        return f"{path} is a zip without arrays; unpack it first, and give the file inside"
    return (
        f"the format of {path}, which begins with {head[:24]!r}, is not recognised; declare it as format; "
        f"expected {', '.join(sorted(known))}"
    )
