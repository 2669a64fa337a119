"""A domain: a field of use with its ordered labels and its vocabulary of meaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.schema import check_types

__all__ = ["Domain"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """A field of use.

    Args:
        name: what recipes and ``Taskflow("domain_sentiment", model=name)`` call it.
        labels: the labels in order, from one end of the scale to the other.
        ordered: whether the order means anything (levels), or the labels are just a set.
        term_groups: terms that belong together, by group name; health checks watch them.
        lexicon: a weight for each term, negative to positive.
        bundle: folder of the bundle that serves the domain by default; None if there is none.
    Raises:
        RecipeError: fewer than two labels, or one twice, or a value of another type.
    """

    name: str
    labels: tuple[str, ...]
    ordered: bool = True
    term_groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    lexicon: Mapping[str, float] = dataclasses.field(default_factory=dict)
    bundle: Path | None = None

    def __post_init__(self) -> None:
        given: object = self.bundle  # plugins write paths as texts too
        if isinstance(given, str):
            object.__setattr__(self, "bundle", Path(given))
        check_types(self, where="domain", error=RecipeError)
        if not self.name:
            raise RecipeError("the name of a domain must not be empty")
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise RecipeError(
                f"domain {shorten(self.name)} has the labels {shorten(self.labels)}; expected two or more different ones"
            )
