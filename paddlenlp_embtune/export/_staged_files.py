"""The files of a bundle that is being made: in one temporary folder, each written once and hashed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from paddlenlp_embtune.bundle import MANIFEST, Bundle, copy_files
from paddlenlp_embtune.export._interface import FIXTURES, INTERFACE
from paddlenlp_embtune.utils.files.atomic_io import sha256_of

__all__ = ["StagedFiles"]

_WRITTEN_AT_THE_END = (MANIFEST, INTERFACE, FIXTURES)


@dataclasses.dataclass(frozen=True)
class _State:
    pending: frozenset[str]
    there: frozenset[str]


class StagedFiles:
    """Files below a temporary folder; those of an older bundle are copied when they are first needed.

    Args:
        folder: the temporary folder.
        source: the bundle whose files stay; None for a new one.
    """

    def __init__(self, folder: Path, source: Bundle | None = None) -> None:
        self.folder = folder
        self._source = source
        names = source.manifest.files if source is not None else ()
        self._pending = {name for name in names if name not in _WRITTEN_AT_THE_END}
        self._hashed: dict[str, tuple[tuple[int, ...], str | None]] = {}

    def stage(self) -> None:
        """Copy what is still to come from the older bundle.

        Raises:
            BundleError: a file of it has changed, or it has been replaced.
        """
        if self._source is None or not self._pending:
            return
        names = [name for name in self._source.manifest.files if name in self._pending]
        for name, digest in copy_files(self._source, names, self.folder).items():
            self._hashed[name] = (self._signature(name), digest)
        self._pending.clear()

    def drop(self, names: Iterable[str]) -> None:
        """Leave files out; those that have not been copied yet never are."""
        for name in names:
            if name in self._pending:
                self._pending.remove(name)
            else:
                (self.folder / name).unlink(missing_ok=True)

    def state(self) -> _State:
        """Return what is there, for :meth:`restore`."""
        return _State(frozenset(self._pending), frozenset(self._there()))

    def restore(self, state: _State) -> None:
        """Remove what has come since; what was dropped before it was copied will be copied again."""
        copied = {name for name in self._there() if self._known(name) is not None}
        for name in self._there():
            if name not in state.there | copied:
                (self.folder / name).unlink()
        self._pending = set(state.pending) - copied

    def hashes(self) -> Mapping[str, str]:
        """Return the SHA-256 of every file but the manifest; what was hashed while it was copied is not read again."""
        found = {}
        for name in self._there():
            found[name] = self._known(name) or sha256_of(self.folder / name)
        return found

    def _known(self, name: str) -> str | None:
        """The hash of a file that was computed when it was copied; None if it has been written again since."""
        signature, digest = self._hashed.get(name, ((), None))
        return digest if signature == self._signature(name) else None

    def _there(self) -> list[str]:
        files = (file for file in sorted(self.folder.rglob("*")) if file.is_file())
        return [name for file in files if (name := file.relative_to(self.folder).as_posix()) != MANIFEST]

    def _signature(self, name: str) -> tuple[int, ...]:
        found = (self.folder / name).stat()
        return (found.st_ino, found.st_size, found.st_mtime_ns)
