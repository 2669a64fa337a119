"""Row packs: immutable files of rows, named by their SHA-256, and indices that assemble tables from them.

Rows are float32, little-endian, one after another; beside each pack, a file has the keys of its rows for finding rows that are
already stored. A key only suggests a match: two rows are the same if their bytes are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics.sampling import Ids, Table
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.utils.files.atomic_io import write_blocks

__all__ = [
    "Pack",
    "assemble_rows",
    "decode_index",
    "encode_index",
    "find_key_damage",
    "find_rows",
    "open_pack",
    "row_keys",
    "store_rows",
]

_BLOCK_ROWS = 8_192
_KEY_BYTES = 16
_MAX_EXPANSION, _FREE = 1100, 1 << 20  # the maximum of deflate, and a size that is always allowed
Keys = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pack:
    """One file of rows.

    Args:
        sha256: of its bytes, and its name.
        rows: how many it holds.
    """

    sha256: str
    rows: int


def row_keys(table: Table) -> Keys:
    """Return a hash of the bytes of every row.

    Shapes:
        table: (V, D) float32; returns: (V, 2) uint64
    Source:
        Saarinen and Aumasson (2015), RFC 7693: BLAKE2b with 128 bits
    """
    keys = np.empty((len(table), 2), dtype=np.uint64)
    for part in _blocks(len(table)):
        rows = np.ascontiguousarray(table[part])
        digests = b"".join([hashlib.blake2b(row, digest_size=_KEY_BYTES).digest() for row in rows])
        keys[part] = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
    return keys


def find_rows(table: Table, rows: Ids, keys: Keys, known: Table, known_keys: Keys) -> Ids:
    """Find rows of a table among known rows, bit by bit: NaN finds the same NaN, and 0.0 does not find -0.0.

    Args:
        table: (V, D) float32.
        rows: (Q,) row numbers, of those that are sought.
        keys: (V, 2), of the rows of the table.
        known: (N, D) float32; may be the table itself.
        known_keys: (N, 2), of the known rows; a wrong one hides a row and does no more harm.
    Shapes:
        returns: (Q,) int64 row numbers in ``known``, the first that is alike; -1 where there is none
    """
    halves, first = np.unique(known_keys[:, 0], return_index=True)
    sought = keys[rows]
    found: Ids = first[np.minimum(np.searchsorted(halves, sought[:, 0]), len(halves) - 1)].astype(np.int64)
    found[(known_keys[found] != sought).any(axis=1)] = -1
    hits = np.flatnonzero(found >= 0)
    for part in _blocks(len(hits)):
        mine = hits[part]
        alike = (_bits(table[rows[mine]]) == _bits(known[found[mine]])).all(axis=1)
        found[mine[~alike]] = -1
    return found


def store_rows(folder: Path, table: Table, earlier: Iterable[Pack]) -> tuple[Ids, list[Pack], int]:
    """Write the rows of a table that no earlier pack holds, each once.

    A pack or its keys that cannot be read count as not there, and their rows are written again; the keys are made again too.

    Args:
        folder: of packs.
        table: (V, D) float32.
        earlier: packs of rows of the same width, those that are likely to hold the rows first.
    Returns:
        Where each row is, (V,), counted through the packs that come second; and how many rows were written.
    """
    width = int(table.shape[1])
    keys = row_keys(table)
    own = np.arange(len(table))
    first = find_rows(table, own, keys, table, keys)
    first = np.where(first < 0, own, first)  # a key that two different rows share: the second is not sought for
    numbers = np.full(len(table), -1, dtype=np.int64)
    sought = np.flatnonzero(first == own)
    used: list[Pack] = []
    before = 0
    for pack in dict.fromkeys(earlier):
        known = _known(folder, pack, width) if sought.size else None
        if known is None:
            continue
        found = find_rows(table, sought, keys, *known)
        hits = found >= 0
        if hits.any():
            numbers[sought[hits]] = found[hits] + before
            used.append(pack)
            before += pack.rows
            sought = sought[~hits]
    if sought.size:
        used.append(_write_pack(folder, table, sought, keys))
        numbers[sought] = np.arange(len(sought)) + before
    return numbers[first], used, len(sought)


def _known(folder: Path, pack: Pack, width: int) -> tuple[Table, Keys] | None:
    """Open a pack with its keys; None where either is missing or of another size; such keys are made again for next time."""
    try:
        table = open_pack(folder, pack, width)
    except (OSError, VectorError):
        return None
    keys = _stored_keys(folder, pack)
    if keys is None:
        write_blocks(folder / f"{pack.sha256}.keys", [row_keys(table).astype("<u8").tobytes()])
        return None
    return table, keys


def _stored_keys(folder: Path, pack: Pack) -> Keys | None:
    file = folder / f"{pack.sha256}.keys"
    try:
        if file.stat().st_size != pack.rows * _KEY_BYTES:
            return None
        content = file.read_bytes()
    except OSError:
        return None
    return np.frombuffer(content, dtype="<u8").reshape(-1, 2) if len(content) == pack.rows * _KEY_BYTES else None


def find_key_damage(folder: Path, pack: Pack, width: int) -> str | None:
    """Say what is wrong with the keys of a pack; None if nothing is, or if the pack itself cannot be read."""
    try:
        table = open_pack(folder, pack, width)
    except (OSError, VectorError):
        return None
    keys, file = _stored_keys(folder, pack), folder / f"{pack.sha256}.keys"
    if keys is None:
        return f"{file} is {'damaged: it is of another size' if file.exists() else 'missing'}"
    wrong = int((row_keys(table) != keys).any(axis=1).sum())
    return f"{file} is damaged: {wrong} of its {pack.rows} keys are not those of their rows" if wrong else None


def _write_pack(folder: Path, table: Table, rows: Ids, keys: Keys) -> Pack:
    """Write chosen rows of a table into a new pack, and their keys beside it.

    Args:
        folder: of packs.
        table: (V, D) float32.
        rows: (N,) row numbers, one or more.
        keys: (V, 2), of the rows of the table.
    """

    def content() -> Iterator[bytes]:
        for part in _blocks(len(rows)):
            yield table[rows[part]].astype("<f4").tobytes()

    digest = hashlib.sha256()
    for block in content():
        digest.update(block)
    pack = Pack(sha256=digest.hexdigest(), rows=len(rows))
    write_blocks(folder / f"{pack.sha256}.keys", [keys[rows].astype("<u8").tobytes()])
    write_blocks(folder / f"{pack.sha256}.rows", content())
    return pack


def open_pack(folder: Path, pack: Pack, width: int) -> Table:
    """Map a pack into memory.

    Shapes:
        returns: (N, D) float32, read-only
    Raises:
        VectorError: it is missing, or of another size.
    """
    file = folder / f"{pack.sha256}.rows"
    try:
        size = file.stat().st_size
        if size != pack.rows * width * 4:
            raise VectorError(f"{file} has {size} bytes, not the {pack.rows * width * 4} of {pack.rows} rows of {width}")
        return np.memmap(file, dtype="<f4", mode="r", shape=(pack.rows, width))
    except FileNotFoundError:
        raise VectorError(f"{file} is missing") from None


def assemble_rows(packs: Sequence[Table], numbers: Ids, width: int) -> Table:
    """Assemble a table.

    Args:
        packs: (N, D) float32 each.
        numbers: (V,) row numbers, counted through all packs.
        width: D.
    Shapes:
        returns: (V, D) float32
    """
    ends = np.cumsum([len(pack) for pack in packs])
    table = np.empty((len(numbers), width), dtype=np.float32)
    for pack, end in zip(packs, ends.tolist(), strict=True):
        own = np.flatnonzero((numbers >= end - len(pack)) & (numbers < end))
        for part in _blocks(len(own)):
            table[own[part]] = pack[numbers[own[part]] - (end - len(pack))]
    return table


def encode_index(numbers: Ids) -> bytes:
    """Compress row numbers, most of which are consecutive.

    The differences are sorted by their bytes, lowest first, before they are compressed: rows in order cost next to nothing.
    """
    steps = np.diff(numbers, prepend=np.int64(-1)).astype("<i8")
    return zlib.compress(np.ascontiguousarray(steps.view(np.uint8).reshape(-1, 8).T).tobytes())


def decode_index(content: bytes, *, count: int, below: int) -> Ids:
    """Decompress row numbers.

    Args:
        content: as :func:`encode_index` made it.
        count: how many there are.
        below: what all of them are less than.
    Raises:
        VectorError: it holds something else.
    """
    if count * 8 > max(_FREE, _MAX_EXPANSION * len(content)):
        raise VectorError(f"has {len(content)} bytes, too few for {count} rows")
    try:
        planes = zlib.decompressobj().decompress(content, count * 8 + 1)
    except zlib.error as error:
        raise VectorError(f"cannot be decompressed: {error}") from None
    if len(planes) != count * 8:
        raise VectorError(f"holds {len(planes)} bytes, not the {count * 8} of {count} rows")
    steps = np.ascontiguousarray(np.frombuffer(planes, dtype=np.uint8).reshape(8, -1).T).view("<i8").ravel()
    numbers: Ids = np.cumsum(steps, dtype=np.int64) - 1
    if numbers.min() < 0 or numbers.max() >= below:
        raise VectorError(f"names row {numbers.min()} to {numbers.max()} of {below}")
    return numbers


def _bits(rows: Table) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(rows).view(np.uint32)


def _blocks(count: int) -> Iterator[slice]:
    for at in range(0, count, _BLOCK_ROWS):
        yield slice(at, min(at + _BLOCK_ROWS, count))
