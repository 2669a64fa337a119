"""The part of a recipe about contrastive tuning: pairs of labelled rows move an encoder before a regression is fitted to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most, require_name

__all__ = ["AUTO_TUNING", "CONTRASTIVE", "CONTRASTIVE_LOSSES", "FULL", "TUNINGS", "ContrastiveSpec"]

AUTO_TUNING, CONTRASTIVE, FULL = "auto", "contrastive", "full"
TUNINGS = (AUTO_TUNING, CONTRASTIVE, FULL)
"""How an encoder may be tuned: by the rows at hand, on pairs of rows, or as a classifier."""

CONTRASTIVE_LOSSES = ("supervised_contrastive", "cosine", "contrastive")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastiveSpec:
    """Tune an encoder on pairs of labelled rows, then fit a logistic regression to its vectors: for few rows a label.

    A batch holds as many rows of one label as of another, and every two of its rows are a pair. Only the highest layers are
    tuned; what the others give for a text is computed once. The recipe's ``freeze`` and ``layerwise`` follow from this part
    where they are not stated, ``train.epochs`` is 1 and ``train.batch_size`` 16 by default.

    Args:
        loss: ``supervised_contrastive``, where each row is to find those of its label among all of the batch; ``cosine``, the
            squared distance of a pair's cosine from 1 for the same label and from 0 for another; or ``contrastive``, which
            leaves pairs of two labels alone that are farther apart than ``margin``.
        temperature: of ``supervised_contrastive``, above 0; less looks at the nearest rows.
        margin: of ``contrastive``, the cosine distance that rows of two labels should have, above 0 and at most 2.
        layers: how many of the highest layers are tuned, 1 or more; None tunes half of them.
        rate: their peak learning rate, above 0.
        steps: batches in an epoch; None takes as many as show each row about 4 times, 24 at least and 120 at most.
        label_names: the names of the labels, or ``descriptions``, are further rows to compare with.
        descriptions: texts in place of the names of labels, by label; with ``label_names``.
        inverse_regularization: C of the regression, above 0; None takes the least that is as good as the best for rows that
            were left out of it, where every label has 4 rows or more.
    Source:
        Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts"; Khosla et al. 2020, "Supervised Contrastive
        Learning", equation 2; Hadsell et al. 2006, "Dimensionality Reduction by Learning an Invariant Mapping"
    """

    loss: str = "cosine"
    temperature: float = 0.1
    margin: float = 0.5
    layers: int | None = None
    rate: float = 1e-4
    steps: int | None = None
    label_names: bool = False
    descriptions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    inverse_regularization: float | None = None

    def __post_init__(self) -> None:
        check_types(self, where="contrastive", error=RecipeError)
        require_name("contrastive.loss", self.loss, CONTRASTIVE_LOSSES)
        require(self.temperature > 0, "contrastive.temperature", self.temperature, "above 0 (0.05 to 0.5 is usual)")
        require_at_most("contrastive.temperature", self.temperature, 1e3)
        require(0 < self.margin <= 2, "contrastive.margin", self.margin, "above 0 and at most 2")
        for name in ("layers", "steps"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"contrastive.{name}", value, "1 or more, or null")
            require_at_most(f"contrastive.{name}", value, 1_000_000)
        require(self.rate > 0, "contrastive.rate", self.rate, "above 0")
        named = self.label_names or not self.descriptions
        require(named, "contrastive.descriptions", dict(self.descriptions), "empty where contrastive.label_names is false")
        for label, text in self.descriptions.items():
            require(bool(text.strip()), f"contrastive.descriptions.{label}", text, "a text that is not empty")
        inverse = self.inverse_regularization
        require(inverse is None or inverse > 0, "contrastive.inverse_regularization", inverse, "above 0, or null")

    def steps_for(self, rows: int, *, batch_size: int) -> int:
        """Return the batches of an epoch over so many rows."""
        return self.steps or min(120, max(24, -(-4 * rows // batch_size)))
