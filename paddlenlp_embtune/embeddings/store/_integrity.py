"""Damaged files of a vector store, and the versions that they affect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from paddlenlp_embtune.embeddings.store._row_packs import Pack, find_key_damage
from paddlenlp_embtune.embeddings.store.version import Version
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.utils.files.atomic_io import sha256_of

__all__ = ["damage_error", "describe_damage", "describe_key_damage", "read_checked"]

_NEXT = "restore the file from a backup, or remove those versions"


def describe_damage(store: Path, name: str, versions: Sequence[Version]) -> str | None:
    """Describe the damage of a file, and which versions need it; None if it is intact.

    Args:
        store: its folder.
        name: of a file whose name begins with its SHA-256, relative to the store.
        versions: those that may need it.
    """
    file, expected = store / name, Path(name).stem
    affected = ", ".join(version.name for version in versions if name in version.files())
    if not file.is_file():
        return f"{file} is missing (affected: {affected})"
    found = sha256_of(file)
    if found == expected:
        return None
    return f"{file} is damaged: its SHA-256 is {found[:12]}..., not {expected[:12]}... (affected: {affected})"


def describe_key_damage(packs: Path, pack: Pack, width: int) -> str | None:
    """Describe the damage of a pack's keys, used to find stored rows when saving; None if they are intact."""
    found = find_key_damage(packs, pack, width)
    if found is None:
        return None
    return f"{found} (affected: no version, but rows may be stored twice; delete it, and the next save makes it again)"


def read_checked(store: Path, name: str, versions: Callable[[], Sequence[Version]]) -> bytes:
    """Read a file whose name begins with its SHA-256.

    Raises:
        VectorError: it is missing or damaged.
    """
    try:
        content = (store / name).read_bytes()
    except FileNotFoundError:
        content = None
    if content is None or hashlib.sha256(content).hexdigest() != Path(name).stem:
        raise VectorError(f"{describe_damage(store, name, versions())}; {_NEXT}")
    return content


def damage_error(store: Path, version: Version, versions: Sequence[Version], what: str) -> VectorError:
    """Return the error for a version whose table cannot be read: all damaged files, or else what was found."""
    wrong = [message for file in version.files() if (message := describe_damage(store, file, versions)) is not None]
    return VectorError(f"the version {version.name!r} cannot be read: {'; '.join(wrong) or what}; {_NEXT}")
