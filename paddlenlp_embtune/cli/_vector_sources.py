"""Helpers of the commands that read files of vectors: format, options, and a filter of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from paddlenlp_embtune.cli._console import progress_bar
from paddlenlp_embtune.embeddings.init import FALLBACKS
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable, detect_format, read_vectors
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training import usual_fallbacks

__all__ = [
    "RowFilter",
    "parse_fallbacks",
    "read_options",
    "read_source",
    "resolve_format",
    "size_in_bytes",
]

_EXAMPLES = 10


class RowFilter:
    """Decides which rows a reader keeps, and counts them.

    Args:
        wants: whether a token is wanted.
        most: keep at most this many of the wanted rows, the first ones; None keeps all.
    """

    def __init__(self, wants: Callable[[str], bool], most: int | None = None) -> None:
        self.offered = self.taken = 0
        self.first: list[str] = []
        self._wants, self._most = wants, most

    @property
    def dropped(self) -> int:
        """Number of rows that were not kept."""
        return self.offered - self.taken

    def __call__(self, name: str) -> bool:
        """Decide about one row; the first few that are dropped are remembered."""
        self.offered += 1
        keep = (self._most is None or self.taken < self._most) and self._wants(name)
        self.taken += keep
        if not keep and len(self.first) < _EXAMPLES:
            self.first.append(name)
        return keep


def parse_fallbacks(given: str | None, tokenizer: str | None) -> tuple[str, ...]:
    """Return the fallbacks that an option names, or those that training tries for a tokenizer.

    Raises:
        RecipeError: one is unknown, or named twice.
    """
    if given is None:
        return usual_fallbacks(tokenizer or "char")
    names = tuple(name.strip() for name in given.split(",") if name.strip()) if given.strip() != "none" else ()
    for name in names:
        if name not in FALLBACKS:
            raise RecipeError(f"--fallbacks names {name!r}; {expected_names(name, (*FALLBACKS, 'none'))}")
    if len(set(names)) < len(names):
        raise RecipeError(f"--fallbacks {given!r} names a fallback twice; name each once, in the order to try them")
    return names


def resolve_format(source: str, declared: str | None) -> str:
    """Return the declared format, or find it.

    Raises:
        RecipeError: there is no such format.
        VectorError: there is no such file, or its format is unknown.
    """
    formats = registry.current().all_guarded("vector format")
    if declared is not None:
        if declared not in formats:
            raise RecipeError(f"--format is {declared!r}; {expected_names(declared, formats)}")
        return declared
    path = Path(source)
    return source if source in formats and not path.exists() else detect_format(path, formats=formats)


def read_options(
    format: str,  # noqa: A002
    keep: Callable[[str], bool] | None,
    tokens: Path | None,
    tensor: str | None,
    damaged: str,
) -> ReadOptions:
    """Build the read options of a command.

    Raises:
        RecipeError: ``damaged`` is neither ``refuse`` nor ``skip``.
    """
    if damaged not in (allowed := ("refuse", "skip")):
        raise RecipeError(f"--damaged is {damaged!r}; {expected_names(damaged, allowed)}")
    return ReadOptions(format=format, keep=keep, vocabulary=tokens, tensor=tensor, damaged=damaged)


def read_source(source: str, label: str, options: ReadOptions) -> VectorTable:
    """Read vectors of any registered format, with a bar on a terminal.

    Raises:
        VectorError: as :func:`paddlenlp_embtune.embeddings.io.read.read_vectors`.
    """
    formats = registry.current().all_guarded("vector format")
    with progress_bar(label) as progress:
        return read_vectors(source, dataclasses.replace(options, progress=progress), formats=formats)


def size_in_bytes(path: Path) -> int | None:
    """Return the bytes of a file, or of all files in a folder; None where there is neither."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else None
