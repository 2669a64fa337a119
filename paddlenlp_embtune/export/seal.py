"""Closing a bundle, new or revised: its interface, the hash of every file, and the manifest last."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import MANIFEST, SCHEMA_VERSION, Bundle, Manifest, generation_of, sealed_text
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.export._interface import write_interface
from paddlenlp_embtune.inference import EngineOptions
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.utils.files.atomic_io import clear_leftovers, replace_folder, sha256_of, write_text
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.files.os_errors import next_step
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["best_engine", "bundle_lock", "check_place", "reseal", "revise", "revising", "seal", "write_manifest", "writing"]

_BY_CONVENIENCE = ("onnxruntime", "paddle_inference", "paddle")


def best_engine(manifest: Manifest) -> str:
    """Name the engine of a bundle that needs the least to run."""
    named = [name for name in _BY_CONVENIENCE if name in manifest.engines] + list(manifest.engines)
    return named[0]


def seal(folder: Path, bundle: Bundle) -> None:
    """Write the interface, and ``bundle.json`` with the hash of every other file.

    Args:
        folder: holds everything else.
        bundle: at that folder; its manifest lacks nothing but ``files``.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    engine = registry.current().guarded("engine", best_engine(bundle.manifest))(bundle, EngineOptions(device="cpu"))
    write_interface(folder, bundle, engine)
    files = {file.relative_to(folder).as_posix(): sha256_of(file) for file in sorted(folder.rglob("*")) if file.is_file()}
    write_manifest(folder, dataclasses.replace(bundle.manifest, files=files))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``bundle.json`` in the schema of this release, with its seal."""
    current = dataclasses.replace(manifest, schema_version=SCHEMA_VERSION)
    write_text(folder / MANIFEST, sealed_text(to_plain(current)))


@contextlib.contextmanager
def bundle_lock(target: Path) -> Iterator[None]:
    """Hold the lock of the place of a bundle; what killed processes left beside it is cleared away.

    Raises:
        BundleError: the place is taken by something else, cannot be written, or another process has been writing there for too
            long.
    """
    with contextlib.ExitStack() as held:
        with _worded(target):
            held.enter_context(exclusive_lock(target, error=BundleError))
            clear_leftovers(target)
        check_place(target)
        yield


@contextlib.contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Hold the lock of the place of a bundle, and fill a temporary sibling, which takes the place when the block ends.

    Raises:
        BundleError: as :func:`bundle_lock`, or the disk does not take the files; nothing is left behind.
    """
    with bundle_lock(target), _worded(target), replace_folder(target) as folder:
        yield folder


@contextlib.contextmanager
def _worded(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"cannot write the bundle {target}: {error.strerror or error}; nothing was left behind; {next_step(error)}"
        ) from error


@contextlib.contextmanager
def revising(bundle: Bundle, target: Path) -> Iterator[Bundle]:
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
def revise(bundle: Bundle, target: Path) -> Iterator[Path]:
    """Fill a temporary sibling of ``target`` with the files that a bundle names; put it in place when the block ends.

    Args:
        bundle: an opened bundle.
        target: where the result goes; may be the bundle's own folder.
    Raises:
        BundleError: as :func:`writing`, or the bundle has been replaced since it was opened.
    """
    in_place = target.resolve() == bundle.path.resolve()
    with writing(target) as folder:
        if in_place:
            bundle.check_current()
        for name in bundle.manifest.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(bundle.path / name, folder / name)
            except FileNotFoundError:
                bundle.check_current()
                raise
        bundle.check_current(*bundle.manifest.files)
        yield folder


def reseal(bundle: Bundle, target: Path, **changes: Any) -> Bundle:
    """Write a bundle again with other values in its manifest, and open it.

    Args:
        bundle: an opened bundle.
        target: where the result goes; may be the bundle's own folder.
        changes: fields of the manifest.
    """
    with bundle_lock(target):
        with revise(bundle, target) as folder:
            seal(folder, Bundle(folder, dataclasses.replace(bundle.manifest, **changes), bundle.vocabulary))
        return Bundle.open(target)


def check_place(path: Path) -> None:
    """Refuse to write a bundle over anything that is none.

    Raises:
        BundleError: the path is a file, or a folder that holds something else.
    """
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} is there already and is no bundle, so it will not be replaced; choose another place")
