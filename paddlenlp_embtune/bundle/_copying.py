"""Copying files of an opened bundle: each is read once, and hashed while it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from paddlenlp_embtune.bundle.reader import Bundle
from paddlenlp_embtune.errors import BundleError

__all__ = ["copy_files"]

_BLOCK_BYTES = 1 << 20


def copy_files(bundle: Bundle, names: Iterable[str], folder: Path) -> dict[str, str]:
    """Copy files that a bundle names into another folder, and compare each with the bundle's manifest.

    Args:
        bundle: an opened bundle.
        names: of files in its manifest.
        folder: gets them under the same names.
    Returns:
        The SHA-256 of each file by its name.
    Raises:
        BundleError: a file has changed, or the bundle has been replaced, since it was opened.
        OSError: the disk does not take the files.
    """
    copied = {}
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            copied[name] = _copy(bundle.path / name, target)
        except FileNotFoundError:
            bundle.check_current()
            raise
        if copied[name] != (expected := bundle.manifest.files[name]):
            bundle.check_current()
            raise BundleError(
                f"the file {name} of the bundle {bundle.path} has changed since it was opened: its SHA-256 is "
                f"{copied[name][:12]}..., expected {expected[:12]}...; restore the file, or export the bundle again"
            )
    return copied


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_BLOCK_BYTES):
            digest.update(block)
            writer.write(block)
    return digest.hexdigest()
