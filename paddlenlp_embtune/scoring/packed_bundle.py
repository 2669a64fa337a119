"""A bundle as bytes, which an engine ships to its workers."""

from __future__ import annotations

import dataclasses
import io
import tempfile
import zipfile
from pathlib import Path

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.utils.files.atomic_io import replace_folder

__all__ = ["PackedBundle"]

_MANIFEST = "bundle.json"


@dataclasses.dataclass(frozen=True)
class PackedBundle:
    """A bundle and where it stands; it can be pickled, and opened on a machine that does not have the folder.

    Args:
        path: of the folder, absolute.
        fingerprint: SHA-256 of what the bundle says about itself, the hash of every file included.
        content: the folder as a ZIP archive, or None for workers that see the folder.
    """

    path: str
    fingerprint: str
    content: bytes | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def of(cls, bundle: str | Path | Bundle, *, ship: bool = True) -> PackedBundle:
        """Pack a bundle.

        Args:
            bundle: its folder, or an opened one.
            ship: pack the files; False when every worker sees the folder.
        Raises:
            BundleError: the folder is no bundle, or is damaged.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        packed = io.BytesIO()
        if ship:
            with zipfile.ZipFile(packed, "w") as archive:
                for name in (_MANIFEST, *opened.manifest.files):
                    archive.write(opened.path / name, name)
        content = packed.getvalue() if ship else None
        return cls(str(opened.path.absolute()), opened.fingerprint, content)

    def open(self) -> Bundle:
        """Open the folder if it is there and unchanged, else unpack the bytes into a temporary folder, once for each machine.

        Raises:
            BundleError: there is neither the folder nor its content, or what stands there is another bundle.
        """
        if Path(self.path).is_dir():
            found = Bundle.open(self.path)
            if found.fingerprint == self.fingerprint:
                return found
            if self.content is None:
                raise BundleError(
                    f"the bundle {self.path} is {found.fingerprint[:12]}... on this worker, expected "
                    f"{self.fingerprint[:12]}...; copy the bundle to all machines again, or let the engine ship it"
                )
        if self.content is None:
            raise BundleError(f"this worker has no folder {self.path}; put the bundle where all workers see it, or ship it")
        return self._unpacked(self.content)

    def _unpacked(self, content: bytes) -> Bundle:
        folder = Path(tempfile.gettempdir()) / f"embtune-bundle-{self.fingerprint}"
        if not folder.is_dir():
            with replace_folder(folder) as temporary, zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(temporary)  # ZipFile keeps names inside the folder
        found = Bundle.open(folder)
        if found.fingerprint != self.fingerprint:
            raise BundleError(
                f"the unpacked bundle {folder} is {found.fingerprint[:12]}..., expected {self.fingerprint[:12]}...; remove the "
                "folder and run again"
            )
        return found
