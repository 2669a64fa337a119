"""The place where a bundle is written: one lock, one temporary sibling, one rename."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from paddlenlp_embtune.bundle import MANIFEST, Bundle, generation_of
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.utils.files.atomic_io import clear_leftovers, replace_folder
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.files.os_errors import next_step

__all__ = ["bundle_lock", "locked_bundle", "replace_bundle"]


@contextlib.contextmanager
def bundle_lock(target: Path) -> Iterator[None]:
    """Hold the lock of the place of a bundle; what killed processes left beside it is removed.

    Raises:
        BundleError: something else stands there, it cannot be written, or another process has been writing there for too long.
    """
    with contextlib.ExitStack() as held:
        with _naming_bundle(target):
            held.enter_context(exclusive_lock(target, error=BundleError))
            clear_leftovers(target)
        _check_place(target)
        yield


@contextlib.contextmanager
def locked_bundle(bundle: Bundle, target: Path) -> Iterator[Bundle]:
    """Hold the lock of a place from reading a bundle to writing it, so that no change by another process is lost.

    Args:
        bundle: an opened bundle.
        target: where the result goes; may be the bundle's own folder.
    Yields:
        The bundle; opened again where it is about to be replaced and another process has replaced it since it was opened.
    Raises:
        BundleError: as :func:`bundle_lock`.
    """
    with bundle_lock(target):
        in_place = bundle.generation is not None and target.resolve() == bundle.path.resolve()
        changed = in_place and generation_of(bundle.path) != bundle.generation
        yield Bundle.open(bundle.path) if changed else bundle


@contextlib.contextmanager
def replace_bundle(target: Path) -> Iterator[Path]:
    """Fill a temporary sibling of a place whose lock is held; it takes the place when the block ends.

    Raises:
        BundleError: the disk does not take the files; nothing is left behind.
    """
    with _naming_bundle(target), replace_folder(target) as folder:
        yield folder


@contextlib.contextmanager
def _naming_bundle(target: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error about the bundle.

    Raises:
        BundleError: the disk refused something.
    """
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"cannot write the bundle {target}: {error.strerror or error}; nothing was left behind; {next_step(error)}"
        ) from error


def _check_place(path: Path) -> None:
    """Refuse to write a bundle over anything that is none.

    Raises:
        BundleError: the path is a file, or a folder that holds something else.
    """
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} is there already and is no bundle, so it will not be replaced; choose another place")
