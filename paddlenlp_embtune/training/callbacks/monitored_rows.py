"""Which rows of an embedding are watched, and what is known about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics import PROBES, TermRows
from paddlenlp_embtune.text import Tokenizer, content_ids

__all__ = ["MOST_ROWS", "MonitoredRows"]

MOST_ROWS = 65_536
"""Of a larger table so many rows are watched: those of the term groups and the probes, and a sample of the others."""

Ids = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitoredRows:
    """What is known about the rows of an embedding.

    Args:
        tokens: the token of each row; None names rows by number.
        groups: rows of each term by name of a term group.
        unknown: the row of the unknown token; None if there is none.
        pretrained: whether the rows come from somewhere, so that characters that belong together must lie together.
    """

    tokens: Sequence[str] | None = None
    groups: Mapping[str, Sequence[Sequence[int]]] = dataclasses.field(default_factory=dict)
    unknown: int | None = None
    pretrained: bool = False

    @classmethod
    def of_terms(cls, tokenizer: Tokenizer, groups: Mapping[str, Sequence[str]], *, pretrained: bool) -> MonitoredRows:
        """Find the rows of the terms of a domain; groups with fewer than two terms that the vocabulary knows are left out.

        Args:
            tokenizer: of the model.
            groups: terms by name of a group.
            pretrained: whether the rows come from somewhere.
        """
        vocabulary, rows_of = tokenizer.vocabulary, dict[str, list[list[int]]]()
        for name, terms in groups.items():
            rows = [content_ids(tokenizer, term) for term in terms]
            known = [list(row) for row in rows if len(row) and vocabulary.unknown_id not in row]
            if len(known) >= 2:
                rows_of[name] = known
        return cls(tokens=vocabulary.tokens, groups=rows_of, unknown=vocabulary.unknown_id, pretrained=pretrained)

    def choose(self, count: int) -> Ids | None:
        """Return the rows to watch of a table of so many rows, ascending; None for all of them."""
        if count <= MOST_ROWS:
            return None
        named = {row for terms in self.groups.values() for term in terms for row in term}
        named.update(row for rows in self.probes().values() for row in rows)
        first = np.array(sorted(named), dtype=np.int64)
        drawn = np.random.default_rng(0).choice(count, MOST_ROWS, replace=False)
        # Cut in the order in which they were drawn: cut in order of rows, the highest would be lost.
        return np.sort(np.concatenate([first, drawn[~np.isin(drawn, first)]])[:MOST_ROWS])

    def probes(self) -> dict[str, list[int]]:
        """Return the rows of characters that belong together, where the table is said to come from somewhere."""
        if not self.pretrained or self.tokens is None:
            return {}
        number = {token: row for row, token in enumerate(self.tokens) if len(token) == 1}
        found = {name: [number[each] for each in probe if each in number] for name, probe in PROBES.items()}
        return {name: rows for name, rows in found.items() if len(rows) >= 2}

    def term_rows(self, rows: Ids | None) -> TermRows:
        """Return what to look at, as positions in the watched rows."""

        def place(row: int) -> int:
            return row if rows is None else int(np.searchsorted(rows, row))

        groups = {name: [[place(row) for row in term] for term in terms] for name, terms in self.groups.items()}
        probes = {name: [place(row) for row in members] for name, members in self.probes().items()}
        return TermRows(groups=groups, probes=probes)
