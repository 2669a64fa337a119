"""Writing files and folders so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["replace_folder", "sha256_of", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to a temporary sibling and rename it over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary sibling folder, then put it in the place of ``path``.

    An exception inside the block removes the sibling and leaves ``path`` as it was. A process that is killed leaves a
    hidden ``.NAME.XXXX`` folder, never a half-written ``path``; the next call for the same path sweeps it away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        temporary.chmod(0o755)
        yield temporary
        _swap(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _swap(temporary: Path, path: Path) -> None:
    """Rename ``temporary`` to ``path``; the old folder stands aside until the new one is in place."""
    if not path.exists():
        temporary.replace(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    path.replace(old)
    try:
        temporary.replace(path)
    except BaseException:
        old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sweep(path: Path) -> None:
    if not path.exists():
        # Killed between the two renames of _swap: the only complete copy may be a hidden sibling, so leave it be.
        return
    for leftover in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
