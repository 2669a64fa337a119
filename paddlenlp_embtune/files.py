"""Writing files and folders so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["replace_file", "replace_folder", "sha256_of", "write_arrays", "write_text"]


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """Write to a temporary sibling, and rename it over ``path`` when the block ends; an exception leaves ``path`` as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}~")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to a temporary sibling and rename it over ``path``."""
    with replace_file(path) as file:
        file.write(text.encode("utf-8"))


def write_arrays(path: Path, arrays: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write named numpy arrays as safetensors, and texts by name into the file's header.

    Raises:
        OSError: the disk does not take the file (the package's own writer would raise an error of its own kind).
    """
    from safetensors.numpy import save

    path.write_bytes(save(dict(arrays), metadata=dict(metadata) if metadata else None))


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary sibling folder, then put it in the place of ``path``.

    An exception inside the block removes the sibling and leaves ``path`` as it was. A process that is killed leaves a hidden
    ``.NAME~XXXX`` folder, never a half-written ``path``; the next call that finds ``path`` whole sweeps it away.

    Raises:
        OSError: the disk does not take the files, or ``path`` is a file.
    """
    path = path.resolve()  # a link to a folder stays a link: its target is replaced
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}~"))
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
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}~"))
    path.replace(old)
    try:
        temporary.replace(path)
    except BaseException:
        old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Remove what killed processes left for exactly this path (mkdtemp's eight characters after the tilde)."""
    if not path.exists():
        # Killed between the two renames of _swap: the only complete copy may be a hidden sibling, so leave it be.
        return
    pattern = re.compile(re.escape(f".{path.name}~") + r"[a-z0-9_]{8}")
    for sibling in path.parent.iterdir():
        if pattern.fullmatch(sibling.name):
            shutil.rmtree(sibling, ignore_errors=True)
