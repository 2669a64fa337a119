"""Reading a bundle while other processes replace it: all that one reader gets is of one writing of it.

A bundle is replaced as a whole, so a reader that finds the same folder and the same manifest before and after has read one
writing of it; else it reads again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from paddlenlp_embtune.errors import BundleError, EmbtuneError
from paddlenlp_embtune.utils.files.atomic_io import restore_interrupted
from paddlenlp_embtune.utils.json_yaml import read_json

__all__ = ["MANIFEST", "Generation", "check_generation", "generation_of", "read_one_generation"]

MANIFEST = "bundle.json"
_READ = TypeVar("_READ")
_SECONDS, _LEAST_ATTEMPTS, _LONGEST_PAUSE = 30.0, 10, 0.05

Generation = tuple[int, ...]
"""What tells one writing of a bundle from another: device and inode of its folder; inode, times and size of its manifest."""


def generation_of(path: Path) -> Generation | None:
    """Return what stands at a path; None if it is no bundle. Costs two calls of the system."""
    try:
        folder, manifest = path.stat(), (path / MANIFEST).stat()
    except OSError:
        return None
    times = (manifest.st_mtime_ns, manifest.st_ctime_ns)  # an inode that was freed may serve again at once
    return (folder.st_dev, folder.st_ino, manifest.st_ino, *times, manifest.st_size)


def read_one_generation(
    path: Path,
    read: Callable[[], _READ],
    *,
    whole: Callable[[Path], bool] | None = None,
    wait_seconds: float = 0.0,
) -> tuple[_READ, Generation | None]:
    """Read a bundle, again if it was replaced meanwhile.

    A bundle that a process was killed in the middle of replacing is put back first.

    Args:
        path: its folder.
        read: reads it, or loads what it needs of it.
        whole: tells whether a hidden folder that a killed process left is a complete bundle.
        wait_seconds: how long to wait where no bundle stands, because somebody is replacing it in two steps.
    Returns:
        What ``read`` returns, and the generation that it is of.
    Raises:
        BundleError: the bundle was replaced all the time.
        Exception: what ``read`` raises about a bundle that stayed the same.
    """
    started, attempt = time.monotonic(), 0
    while True:
        before = generation_of(path)
        try:
            found = read()
        except Exception:
            waiting = before is None and time.monotonic() - started < wait_seconds
            if before == generation_of(path) and not (before is None and _bring_back(path, whole)) and not waiting:
                raise
        else:
            if before == generation_of(path):
                return found, before
        attempt += 1
        if attempt >= _LEAST_ATTEMPTS and time.monotonic() - started > _SECONDS:
            raise BundleError(
                f"the bundle {path} was replaced {attempt} times while it was read; try again when it is left alone"
            )
        time.sleep(min(0.001 * attempt, _LONGEST_PAUSE))


def check_generation(path: Path, generation: Generation | None, files: Mapping[str, str] | None = None) -> None:
    """Refuse to continue with what was read of a bundle, if it has been replaced since it was opened.

    Args:
        path: folder of the bundle.
        generation: of the opened bundle; None stands for one that is only being made, which nobody else replaces.
        files: SHA-256 of the files that were read, by their names; where these are those of the new bundle too, it does not
            matter that it was replaced. None refuses every other generation.
    Raises:
        BundleError: it has.
    """
    if generation is None or generation_of(path) == generation:
        return
    if files is not None:
        try:
            now = read_json(path / MANIFEST, error=BundleError)["files"]
            if all(now.get(name) == digest for name, digest in files.items()):
                return
        except (OSError, EmbtuneError, LookupError, TypeError, AttributeError):
            pass
    raise BundleError(f"the bundle {path} has been replaced since it was opened; open it again, or run the command again")


def _bring_back(path: Path, whole: Callable[[Path], bool] | None) -> bool:
    """Put back what a killed process left of a path where nothing stands; tell whether it is worth reading again."""
    if path.exists():
        return generation_of(path) is not None  # put in place since; a folder without a manifest is no bundle
    try:
        return restore_interrupted(path, whole=whole)
    except (OSError, EmbtuneError):  # a folder that cannot be written, or a process that is still making the bundle
        return False
