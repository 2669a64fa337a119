"""Helpers of the commands about stored versions: finding the store, term groups and rows, and printing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from paddlenlp_embtune.bundle import MANIFEST, Bundle, bundle_folder
from paddlenlp_embtune.cli._data_format import DataFormat
from paddlenlp_embtune.cli._terminal import out
from paddlenlp_embtune.cli._texts import load_examples, require_known_labels
from paddlenlp_embtune.data import Examples
from paddlenlp_embtune.embeddings.store import STORE_FILE, VectorStore, Version
from paddlenlp_embtune.errors import DataError, RecipeError, VectorError
from paddlenlp_embtune.export import bundle_lock
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.utils.json_yaml import parse_json, parse_yaml, read_bounded

__all__ = [
    "domain_groups",
    "find_store",
    "folding_table",
    "load_examples_for",
    "locked_target",
    "open_bundle",
    "out",
    "print_json",
    "refuse_existing",
    "select_term_groups",
    "store_path",
    "version_as_dict",
]

_STORE = "vectors"
_MOST_BYTES = 16 << 20
Groups = Mapping[str, Sequence[str]]


def open_bundle(path: Path) -> Bundle:
    """Open the bundle of a folder, or of a run."""
    return Bundle.open(bundle_folder(path))


def find_store(store: Path | None, beside: Path | None = None) -> VectorStore:
    """Open a store: the one named, or that of the run that a bundle belongs to, or else that of the current folder.

    Raises:
        VectorError: there is none.
    """
    place = store_path(store, beside)
    if store is None and not (place / STORE_FILE).is_file():
        raise VectorError(
            f"there is no store of vectors in {place}; say where with --store, or make one with: embtune vectors save RUN "
            "--name NAME"
        )
    return VectorStore.open(place)


def store_path(store: Path | None, beside: Path | None = None) -> Path:
    """Return where a store is, or would be made: the place named, ``vectors`` in it, or ``vectors`` beside a bundle."""
    place = store if store is not None else Path()
    if store is None and beside is not None:
        place = bundle_folder(beside).resolve().parent / _STORE
    inner = place / _STORE
    return inner if (inner / STORE_FILE).is_file() and not (place / STORE_FILE).is_file() else place


def domain_groups(name: str | None) -> Groups:
    """Return the groups of terms of a domain; none where it is not registered, or is None."""
    if name is None or name not in registry.current().names("domain"):
        return {}
    found: Groups = registry.current().get("domain", name).term_groups
    return found


def select_term_groups(file: Path | None, domain: str | None, versions: Sequence[Version]) -> Groups:
    """Return groups of terms: of a file, of a domain, or else those that the last of the versions was saved with.

    Raises:
        RecipeError: both a file and a domain are given.
        PluginError: no domain has that name.
        DataError: the file does not hold lists of terms by group.
    """
    if file is not None and domain is not None:
        raise RecipeError("give --groups or --domain, not both")
    if file is not None:
        return _read_groups(file)
    if domain is not None:
        found: Groups = registry.current().get("domain", domain).term_groups
        return found
    return next((version.groups for version in reversed(versions) if version.groups), {})


def _read_groups(file: Path) -> Groups:
    try:
        content = read_bounded(file, error=DataError, max_bytes=_MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"there is no file {file}; expected JSON or YAML with a list of terms for each group") from None
    parse = parse_json if file.suffix.lower() == ".json" else parse_yaml  # JSON is YAML, read slowly
    value = parse(content, str(file), error=DataError)
    allowed = isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(terms, list) and terms and all(isinstance(term, str) and term for term in terms)
        for name, terms in value.items()
    )
    if not allowed or not value:
        raise DataError(f"{file} is not valid: expected a list of terms for each group, such as easing: [降准, 降息]")
    groups: Groups = value
    return groups


def refuse_existing(to: Path, *, overwrite: bool) -> None:
    """Refuse to replace a bundle without ``--overwrite``.

    Raises:
        DataError: there is a bundle at the place already; anything else is never replaced.
    """
    if (to / MANIFEST).is_file() and not overwrite:
        raise DataError(f"{to} already exists; replace it with --overwrite, or choose another --out")


@contextlib.contextmanager
def locked_target(to: Path, *, overwrite: bool) -> Iterator[None]:
    """Hold the lock of the folder of a new bundle; refuse the folder as :func:`refuse_existing` does.

    Raises:
        DataError: there is a bundle at the place already.
        BundleError: the place is taken by something else, or cannot be written.
    """
    with bundle_lock(to):
        refuse_existing(to, overwrite=overwrite)
        yield


def load_examples_for(bundle: Bundle, data: Path, data_format: DataFormat) -> Examples:
    """Read labelled rows whose labels a bundle knows.

    Raises:
        DataError: it does not know one, or the file cannot be read.
    """
    rows = load_examples(data, data_format)
    require_known_labels(rows, bundle.manifest.labels)
    return rows


def version_as_dict(version: Version) -> dict[str, Any]:
    """Return the fields of a version that are printed as JSON."""
    told = ("name", "id", "number", "created", "note", "source", "parent", "rows", "dimension", "new_rows", "vocabulary_sha256")
    return {name: getattr(version, name) for name in told}


def print_json(value: Any) -> None:
    """Print one JSON object on one line."""
    print(json.dumps(value, ensure_ascii=False))


def folding_table(*columns: str) -> Table:
    """Return a table whose cells are folded where the terminal is narrow, so that nothing is cut off."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
