"""Version files: the self-verifying metadata of one table in a store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.metrics.sampling import Table
from paddlenlp_embtune.embeddings.store._row_packs import Pack
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import parse_json, read_bounded, shorten
from paddlenlp_embtune.utils.schema import build

__all__ = [
    "INDICES",
    "LATEST",
    "PACKS",
    "STORE_FILE",
    "TOKENS",
    "StoreSize",
    "Version",
    "check_save",
    "check_store_file",
    "read_version",
    "table_sha256",
    "write_store_file",
    "write_version",
]

STORE_FILE = "store.json"
LATEST = "latest"
_SCHEMA_VERSION = 1
PACKS, INDICES, TOKENS = "packs", "indices", "tokens"
_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
_SHA256 = re.compile("[0-9a-f]{64}")
_MAX_SIZE = 1 << 40
_BREAKING = re.compile(r"[\r\n\ud800-\udfff]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Version:
    """One table in a store.

    Args:
        id: SHA-256 of everything below.
        number: from 1, in the order of saving.
        name: unique in its store.
        created: time in UTC, ISO 8601.
        note: what its author says about it.
        source: where the table came from.
        parent: id of the version it came from; None if there is none.
        rows: V.
        dimension: D.
        dtype: float32.
        vocabulary_sha256: fingerprint of its tokens.
        table_sha256: of the bytes of the whole table.
        index_sha256: of the file that says where its rows are.
        packs: files that hold them.
        new_rows: rows that no earlier version held.
        groups: terms that belong together, by the name of a group; may be empty.
    """

    id: str
    number: int
    name: str
    created: str
    note: str = ""
    source: str = ""
    parent: str | None = None
    rows: int
    dimension: int
    dtype: str = "float32"
    vocabulary_sha256: str
    table_sha256: str
    index_sha256: str
    packs: tuple[Pack, ...]
    new_rows: int
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def files(self) -> list[str]:
        """Return the files that it needs, relative to the store."""
        return [
            f"{TOKENS}/{self.vocabulary_sha256}.txt",
            f"{INDICES}/{self.index_sha256}.index",
            *(f"{PACKS}/{pack.sha256}.rows" for pack in self.packs),
        ]


@dataclasses.dataclass(frozen=True)
class StoreSize:
    """The size of a store.

    Args:
        versions: how many there are.
        bytes: on the disk, everything counted.
        table_bytes: what the tables of all versions would take side by side.
        rows: of all versions.
        rows_stored: of them, those that are kept.
    """

    versions: int
    bytes: int
    table_bytes: int
    rows: int
    rows_stored: int


def write_store_file(mark: Path) -> None:
    """Write the file that makes a folder a store."""
    write_text(mark, json.dumps({"schema_version": _SCHEMA_VERSION}) + "\n")


def check_store_file(mark: Path) -> None:
    """Refuse a folder that is no store, or one of another schema.

    Raises:
        VectorError: the file is missing, damaged or of another schema.
    """
    try:
        content = read_bounded(mark, error=VectorError)
    except (FileNotFoundError, NotADirectoryError):
        raise VectorError(
            f"{mark.parent} is no store of vectors: it has no {mark.name}; make one with: embtune vectors save RUN --name NAME "
            f"--store {mark.parent}"
        ) from None
    try:
        found = parse_json(content, f"{mark} is damaged: it", error=VectorError)
    except VectorError as error:
        raise VectorError(f'{error}: {{"schema_version": {_SCHEMA_VERSION}}}') from None
    if not isinstance(found, dict) or found.get("schema_version") != _SCHEMA_VERSION:
        raise VectorError(f"{mark} says {shorten(found)}; this release reads the schema version {_SCHEMA_VERSION}")


def write_version(file: Path, plain: Mapping[str, Any]) -> None:
    """Write a version's file.

    Args:
        file: ``NAME.json``.
        plain: the fields of a version but ``id``.
    """
    document = {"schema_version": _SCHEMA_VERSION, "id": _id_of(plain), "version": plain}
    write_text(file, json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def read_version(file: Path) -> Version:
    """Read a version's file.

    Raises:
        VectorError: it is damaged, or of another schema.
    """
    try:
        document = parse_json(read_bounded(file, error=VectorError), f"{file} is damaged: it", error=VectorError)
        version, known = document["version"], document["schema_version"] == _SCHEMA_VERSION
        whole = known and document["id"] == _id_of(version) and version["name"] == file.stem
    except (OSError, LookupError, TypeError) as error:
        raise VectorError(f"{file} is damaged: {type(error).__name__}: {error}") from None
    if not known:
        raise VectorError(
            f"{file} has the schema version {shorten(document['schema_version'])}; this release reads {_SCHEMA_VERSION}"
        )
    if not whole:
        raise VectorError(f"{file} is damaged: its id or its name is not that of its content")
    found = build(Version, {**version, "id": document["id"]}, where=file.name, error=VectorError)
    _check_fields(found, file)
    return found


def _check_fields(version: Version, file: Path) -> None:
    """Refuse sizes that no table has, and names of files that would lie elsewhere.

    Raises:
        VectorError: a field has a value that this package never writes.
    """
    digests = (version.vocabulary_sha256, version.table_sha256, version.index_sha256, *(pack.sha256 for pack in version.packs))
    sizes = (version.rows, version.dimension, *(pack.rows for pack in version.packs))
    if odd := next((digest for digest in digests if not _SHA256.fullmatch(digest)), None):
        raise VectorError(f"{file} is damaged: {shorten(odd)} is no SHA-256")
    if not version.packs or not all(0 < size <= _MAX_SIZE for size in sizes) or not 0 < version.number <= _MAX_SIZE:
        raise VectorError(f"{file} is damaged: its number and its sizes are {shorten((version.number, *sizes))}")


def _id_of(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def table_sha256(table: Table) -> str:
    """Return the SHA-256 of the bytes of a table, row after row, little-endian."""
    digest = hashlib.sha256()
    for at in range(0, len(table), 8_192):
        digest.update(np.ascontiguousarray(table[at : at + 8_192], dtype="<f4").data)
    return digest.hexdigest()


def check_save(name: str, tokens: Sequence[str], table: Table) -> None:
    """Reject a name, tokens or a table that cannot be saved.

    Raises:
        VectorError: the name is not valid, or tokens and table do not belong together.
    """
    if name == LATEST or not _NAME.fullmatch(name) or len(name.encode()) > 200:
        raise VectorError(
            f"the name of a version is {name!r}; expected letters, digits, '.', '_' and '-', at most 64, a letter or digit "
            f"first, and not {LATEST!r}, which stands for the last one"
        )
    if not isinstance(table, np.ndarray) or table.dtype != np.float32 or table.ndim != 2 or not table.size:
        kind = f"{getattr(table, 'dtype', type(table).__name__)} of shape {np.shape(table)}"
        raise VectorError(f"the table is {kind}; expected a numpy array, float32 of (rows, width), not empty")
    if len(tokens) != len(table):
        raise VectorError(f"{len(tokens)} tokens for {len(table)} rows; expected one token for each row")
    for row, token in enumerate(tokens):
        if _BREAKING.search(token):
            raise VectorError(f"the token {token!r} of row {row} holds a line break or a lone surrogate, and cannot be kept")
