"""Coverage: the origin of each embedding row, and the share of running text that each origin covers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.text import PAD, UNK

__all__ = ["Coverage", "Origin"]

_EXAMPLES = 5


class Origin:
    """The origin of an embedding row; spelling variants of several steps are joined with ``" + "``."""

    PADDING = "padding"
    EXACT = "exact"
    CASE = "other case"
    MARKER = "without marker"
    WIDTH = "other width"
    SCRIPT = "other script"
    SUBWORDS = "subwords"
    PIECES = "mean of pieces"
    EDIT = "one edit away"
    KEPT = "kept from the model"
    UNKNOWN = "unknown row"
    SAMPLED = "sampled"


_APPROXIMATED = frozenset((Origin.SUBWORDS, Origin.PIECES, Origin.EDIT))
_NOT_FOUND = _APPROXIMATED | {Origin.PADDING, Origin.UNKNOWN, Origin.SAMPLED}


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How the rows of an embedding were initialised.

    Args:
        source: where the vectors were read from.
        origins: an :class:`Origin` value for each id.
        missing: tokens that are not in the vectors, in id order.
        tokens: the token of each id; empty if unknown.
        sources: for each id, the names in the vectors from which its row was computed; empty if there are none.
        projection: how the width of the vectors was changed; empty if it was not.
    """

    source: str
    origins: tuple[str, ...]
    missing: tuple[str, ...]
    tokens: tuple[str, ...] = ()
    sources: tuple[tuple[str, ...], ...] = ()
    projection: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def found(self) -> float:
        """Fraction of ordinary tokens (all but padding and unknown) found in the vectors in some spelling, 0 to 1."""
        return self._share(sum(origin not in _NOT_FOUND for origin in self._ordinary()))

    @property
    def approximated(self) -> float:
        """Fraction of ordinary tokens whose rows were computed from parts of the token or from a similar token, 0 to 1."""
        return self._share(sum(origin in _APPROXIMATED for origin in self._ordinary()))

    def replaced(self, rows: Sequence[int], origins: Sequence[str], sources: Sequence[tuple[str, ...]]) -> Coverage:
        """Return a copy with new origins and sources for some rows; rows that are not random are no longer missing.

        Args:
            rows: row numbers.
            origins: new origin of each of these rows.
            sources: new sources of each of these rows.
        """
        all_origins, all_sources = list(self.origins), list(self.sources or [()] * len(self.origins))
        for at, origin, names in zip(rows, origins, sources, strict=True):
            all_origins[at], all_sources[at] = origin, names
        made = {self.tokens[at] for at, origin in zip(rows, origins, strict=True) if origin != Origin.SAMPLED}
        left = tuple(token for token in self.missing if token not in made)
        return dataclasses.replace(self, origins=tuple(all_origins), sources=tuple(all_sources), missing=left)

    def counts(self) -> Counter[str]:
        """Return the number of rows per origin."""
        return Counter(self.origins)

    def running(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Weight the coverage by token frequency.

        Args:
            counts: occurrences of each token in the texts; tokens outside the vocabulary, and the unknown token,
                count as ``outside``.
        Returns:
            ``tokens``, the total; ``found``, ``approximated`` and ``outside`` as fractions of it, 0 to 1; the remainder has
            random rows.
        """
        origins = dict(zip(self.tokens, self.origins, strict=False))
        weights: Counter[str] = Counter()
        for token, count in counts.items():
            # The origin of the unknown token's row says nothing about the tokens that it represents.
            weights[_kind(Origin.UNKNOWN if token == UNK else origins.get(token, Origin.UNKNOWN))] += count
        total = weights.total()
        shares = {kind: round(weights[kind] / total, 6) if total else 0.0 for kind in ("found", "approximated", "outside")}
        return {"tokens": total, **shares}

    def examples(self) -> dict[str, list[str]]:
        """Return up to 5 rows of each origin except exact matches, such as ``嘅 <- 的``."""
        found: dict[str, list[str]] = {}
        for token, origin, names in zip(self.tokens, self.origins, self.sources, strict=False):
            shown = found.setdefault(origin, []) if names and origin != Origin.EXACT else None
            if shown is not None and len(shown) < _EXAMPLES:
                shown.append(f"{token} <- {' '.join(names)}")
        return found

    def summary(self, *, counts: Mapping[str, int] | None = None) -> dict[str, object]:
        """Return plain values for a record or a bundle.

        Args:
            counts: as in ``running``, whose results are included; None omits them.
        """
        found: dict[str, object] = {
            "source": self.source,
            "rows": len(self.origins),
            "found": round(self.found, 4),
            "approximated": round(self.approximated, 4),
            "origins": dict(self.counts()),
            "missing_examples": list(self.missing[:20]),
        }
        further = {
            "examples": self.examples(),
            "projection": dict(self.projection),
            "running": self.running(counts) if counts is not None else {},
        }
        return found | {name: value for name, value in further.items() if value}

    def _ordinary(self) -> tuple[str, ...]:
        """Return the origins of all tokens but padding and unknown, which are assumed to come first if tokens are not known."""
        if not self.tokens:
            return self.origins[2:]
        pairs = zip(self.tokens, self.origins, strict=True)
        return tuple(origin for token, origin in pairs if token not in (PAD, UNK))

    def _share(self, count: int) -> float:
        ordinary = len(self._ordinary())
        return count / ordinary if ordinary else 0.0


def _kind(origin: str) -> str:
    if origin == Origin.UNKNOWN:
        return "outside"
    if origin in _APPROXIMATED:
        return "approximated"
    return "drawn" if origin in _NOT_FOUND else "found"
