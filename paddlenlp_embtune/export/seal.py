"""Sealing a bundle: its interface with worked examples, the hash of every file, and the manifest last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from paddlenlp_embtune.bundle import MANIFEST, SCHEMA_VERSION, Bundle, Manifest, sealed_text
from paddlenlp_embtune.export._interface import write_interface
from paddlenlp_embtune.inference import Engine
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["best_engine", "seal", "write_manifest"]

_BY_CONVENIENCE = ("onnxruntime", "paddle_inference", "paddle")


def best_engine(manifest: Manifest) -> str:
    """Name the engine of a bundle that needs the least to run."""
    named = [name for name in _BY_CONVENIENCE if name in manifest.engines] + list(manifest.engines)
    return named[0]


def seal(draft: Bundle, engine: Engine, hashes: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    """Write the interface, and ``bundle.json`` with the hash of every other file.

    Args:
        draft: at a folder that holds everything else; its manifest lacks nothing but ``files``.
        engine: runs it; computes the worked examples.
        hashes: gives the SHA-256 of every file by its name; called when all are there.
    Returns:
        these hashes
    """
    (draft.path / MANIFEST).unlink(missing_ok=True)
    write_interface(draft.path, draft, engine)
    files = hashes()
    write_manifest(draft.path, dataclasses.replace(draft.manifest, files=files))
    return files


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``bundle.json`` in the schema of this release, with its seal."""
    current = dataclasses.replace(manifest, schema_version=SCHEMA_VERSION)
    write_text(folder / MANIFEST, sealed_text(to_plain(current)))
