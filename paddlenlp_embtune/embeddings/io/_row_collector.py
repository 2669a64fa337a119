"""Collecting rows of a vector file into a table: duplicates, damaged rows, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io._streams import available_memory
from paddlenlp_embtune.embeddings.io.options import ReadOptions
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.errors import VectorError

__all__ = ["RowCollector"]

_BLOCK = 1 << 26  # large enough that malloc returns freed blocks to the system
_WIDEST = 1 << 20

Table = npt.NDArray[np.float32]


class RowCollector:
    """Collects rows into a table.

    Args:
        name: of the file, for messages.
        options: which rows to keep, and how to handle duplicates and damage.
        width: D, the width of every row.
        expected: number of rows in the file if known; None grows on demand.
    Raises:
        VectorError: the width is out of range, or the expected rows do not fit into memory.
    """

    def __init__(self, name: str, options: ReadOptions, *, width: int, expected: int | None = None) -> None:
        if not 1 <= width <= _WIDEST:
            raise VectorError(f"the width of the vectors in {name} must be 1 to {_WIDEST:,}, got {width:,}")
        self.name, self.options, self.width = name, options, width
        self.rows: dict[str, int] = {}
        self.offered = 0
        self._available = available_memory()
        self._skipped: Counter[str] = Counter()
        self._first_damage: str | None = None
        self._duplicates = 0
        self._remarks: list[str] = []
        self._capacity = max(1, _BLOCK // (4 * width))
        self._blocks: list[Table] = []
        if expected is not None and options.keep is None:
            self._check_memory(expected)
            self._capacity = max(1, expected)

    def wants(self, token: str) -> bool:
        """Return whether to keep the row of a token; called once per row."""
        self.offered += 1
        return self.options.keep is None or bool(self.options.keep(token))

    def damaged(self, kind: str, message: str) -> None:
        """Record a damaged row.

        Raises:
            VectorError: the options reject damaged rows.
        """
        if self.options.damaged == "refuse":
            raise VectorError(f"{self.name}, {message}; fix the file, or read it with damaged='skip' to skip such rows")
        self._skipped[kind] += 1
        self._first_damage = self._first_damage or message

    def remark(self, message: str) -> None:
        """Add a message to the notes of the table."""
        self._remarks.append(message)

    def add(self, tokens: Sequence[str], values: npt.NDArray[Any], place: Callable[[int], str]) -> None:
        """Add rows.

        Args:
            tokens: wanted tokens, one per row.
            values: (N, D) of any float type.
            place: returns the location of row i in the file, such as ``line 7``.
        Raises:
            VectorError: a row is damaged or a duplicate and the options reject it, or there is not enough memory.
        """
        with np.errstate(over="ignore"):
            values = values.astype(np.float32, copy=False)
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            for at in np.flatnonzero(~finite).tolist():
                self.damaged("with NaN or infinite values", f"{place(at)}: {tokens[at]!r} has NaN or infinite values")
            good = np.flatnonzero(finite).tolist()
            self.add([tokens[at] for at in good], values[good], lambda at: place(good[at]))
            return
        if len(set(tokens)) < len(tokens) or not self.rows.keys().isdisjoint(tokens):
            tokens, values = self._without_duplicates(tokens, values, place)
        self._store(values)
        self.rows.update(zip(tokens, range(len(self.rows), len(self.rows) + len(tokens)), strict=True))

    def finish(self, *, unknown: str | None = None, compose: Callable[[str], Table | None] | None = None) -> VectorTable:
        """Build the table.

        Args:
            unknown: the token whose row represents unknown tokens.
            compose: computes vectors of further tokens.
        Raises:
            VectorError: no row was kept, and none can be composed.
        """
        if not self.rows and compose is None:
            seen = f"none of its {self.offered:,} tokens is wanted" if self.offered else "it has no row that can be used"
            first = f"; the first that was skipped: {self._first_damage}" if self._first_damage else ""
            raise VectorError(f"nothing was read from {self.name}: {seen}{first}; check its format and tokens")
        unknown_row = self.rows.get(unknown) if unknown is not None else None
        return VectorTable(self.rows, self._join(), self.name, unknown_row, compose, self.notes())

    def notes(self) -> tuple[str, ...]:
        """Return notes on what was skipped."""
        found = [f"{count:,} rows skipped: {kind}" for kind, count in self._skipped.items()]
        if self._duplicates:
            found.insert(0, f"{self._duplicates:,} duplicate tokens, the {self.options.duplicates} row of each kept")
        return (*found, *self._remarks)

    def _without_duplicates(self, tokens: Sequence[str], values: Table, place: Callable[[int], str]) -> tuple[list[str], Table]:
        """Return the rows of new tokens; with ``duplicates="last"``, overwrite the rows of repeated ones."""
        fresh: dict[str, int] = {}
        for at, token in enumerate(tokens):
            old = self.rows.get(token)
            if old is None and token not in fresh:
                fresh[token] = at
                continue
            if self.options.duplicates == "refuse":
                raise VectorError(
                    f"{self.name}, {place(at)}: the token {token!r} comes a second time; expected with duplicates='refuse': "
                    "once each; keep the 'first' or the 'last' row of each"
                )
            self._duplicates += 1
            if self.options.duplicates == "last" and old is None:
                fresh[token] = at
            elif self.options.duplicates == "last" and old is not None:
                self._blocks[old // self._capacity][old % self._capacity] = values[at]
        return list(fresh), values[list(fresh.values())]

    def _store(self, values: Table) -> None:
        count = len(self.rows)
        self._check_memory(count + len(values))
        while len(values):
            if count == len(self._blocks) * self._capacity:
                self._blocks.append(np.empty((self._capacity, self.width), dtype=np.float32))
            at = count % self._capacity
            part = values[: self._capacity - at]
            self._blocks[-1][at : at + len(part)] = part
            values, count = values[len(part) :], count + len(part)

    def _join(self) -> Table:
        """Concatenate the blocks, freeing each once it is copied, so that at most one is held twice."""
        end = len(self.rows)
        if len(self._blocks) == 1 and end > self._capacity // 2:
            return self._blocks.pop()[:end]
        table = np.empty((end, self.width), dtype=np.float32)
        while self._blocks:
            block = self._blocks.pop()
            start = len(self._blocks) * self._capacity
            table[start:end] = block[: end - start]
            end = start
        return table

    def _check_memory(self, rows: int) -> None:
        need = rows * self.width * 4
        if self._available is not None and need > self._available:
            raise VectorError(
                f"{rows:,} rows of {self.width} from {self.name} need {need / 1e9:,.1f} GB of memory, but only "
                f"{self._available / 1e9:,.1f} GB are free; keep only the tokens of a vocabulary, or use a subset of the file"
            )
