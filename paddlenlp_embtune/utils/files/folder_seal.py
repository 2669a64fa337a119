"""A seal for a folder: one JSON file with the size and the SHA-256 of every other file, and of itself."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.utils.files.atomic_io import sha256_of, write_text
from paddlenlp_embtune.utils.json_yaml import parse_json, read_bounded, shorten

__all__ = ["find_damage", "write_seal"]

_MAX_BYTES = 16 << 20
_OWN = "seal_sha256"


def write_seal(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Hash every file of a folder, then write the seal atomically.

    Args:
        folder: contains regular files, possibly in subfolders.
        name: file name of the seal, directly in the folder.
        facts: plain values to record in the seal.
    Raises:
        OSError: a file cannot be read, or the seal cannot be written.
    """
    (folder / name).unlink(missing_ok=True)
    files = {path: {"bytes": info.st_size, "sha256": sha256_of(folder / path)} for path, info in _entries(folder).items()}
    content = {**facts, "files": files}
    write_text(folder / name, _text({**content, _OWN: _digest(content)}))


def find_damage(folder: Path, name: str) -> tuple[str | None, dict[str, Any]]:
    """Compare a folder with its seal; contents are hashed only if names and sizes agree.

    Args:
        folder: contains the seal.
        name: file name of the seal.
    Returns:
        The damage, phrased to follow "FOLDER is damaged: ", or None; and the facts of the seal, empty if there is damage.
    """
    try:
        content = _read(folder / name)
        files = content.pop("files")
        entries = {path: info for path, info in _entries(folder).items() if path != name}
        return _compare(folder, files, entries), content
    except EmbtuneError as error:
        return str(error), {}
    except OSError as error:
        return f"{error.filename or name} cannot be read ({error.strerror})", {}


def _read(path: Path) -> dict[str, Any]:
    """Read a seal.

    Raises:
        EmbtuneError: it is not as :func:`write_seal` wrote it.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise EmbtuneError(f"its seal {path.name} is not a regular file")
    raw = read_bounded(path, error=EmbtuneError, max_bytes=_MAX_BYTES)
    content = parse_json(raw, f"its seal {path.name}", error=EmbtuneError)
    if not isinstance(content, dict) or raw != _text(content).encode("utf-8"):
        raise EmbtuneError(f"its seal {path.name} was changed after it was written")
    own = content.pop(_OWN, None)
    if own is None and "files" not in content:
        raise EmbtuneError(f"its seal {path.name} has no SHA-256; an earlier version of this package wrote it")
    if own != _digest(content) or not _well_formed(content.get("files")):
        raise EmbtuneError(f"its seal {path.name} was changed after it was written")
    return content


def _compare(folder: Path, files: dict[str, dict[str, Any]], entries: dict[str, os.stat_result]) -> str | None:
    for path in sorted({*files, *entries}):
        if path not in entries:
            return f"{path} is missing"
        if path not in files:
            return f"{shorten(path)} was added after it was sealed"
        if not stat.S_ISREG(entries[path].st_mode):
            return f"{path} is not a regular file"
        if entries[path].st_size != files[path]["bytes"]:
            return f"{path} has {entries[path].st_size:,} bytes, but had {files[path]['bytes']:,} when it was sealed"
    for path, stated in files.items():
        if sha256_of(folder / path) != stated["sha256"]:
            return f"{path} has changed since it was sealed (its SHA-256 differs)"
    return None


def _entries(folder: Path) -> dict[str, os.stat_result]:
    """Return the entries of a folder by relative path: everything but folders, plus empty folders."""
    found: dict[str, os.stat_result] = {}
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        inside = list(here.iterdir())
        if not inside and here != folder:
            found[here.relative_to(folder).as_posix()] = here.lstat()
        for path in inside:
            info = path.lstat()
            if stat.S_ISDIR(info.st_mode):
                waiting.append(path)
            else:
                found[path.relative_to(folder).as_posix()] = info
    return dict(sorted(found.items()))


def _well_formed(files: Any) -> bool:
    return isinstance(files, dict) and all(
        isinstance(stated, dict) and type(stated.get("bytes")) is int and isinstance(stated.get("sha256"), str)
        for stated in files.values()
    )


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(content).encode("utf-8")).hexdigest()
