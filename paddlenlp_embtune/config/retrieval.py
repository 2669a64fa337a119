"""The part of a recipe about search by meaning: the vectors of texts are tuned, and a regression fitted to them."""

from __future__ import annotations

import dataclasses

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most, require_name

__all__ = ["RETRIEVAL_LOSSES", "SCORED_LOSSES", "RetrievalSpec"]

RETRIEVAL_LOSSES = ("supervised_contrastive", "ranking", "triplet", "simcse", "cosent", "cosine")
SCORED_LOSSES = ("cosent", "cosine", "simcse")
"""The losses that pairs with scores can be tuned by."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalSpec:
    """Tune the vectors of texts, so that texts that belong together lie together; for a text CNN, or for an encoder.

    Texts of one label belong together, or those of a file of pairs. The head plays no part in the loss: a logistic regression
    is fitted to the vectors of the labelled rows, so the bundle labels texts as well.

    Args:
        loss: ``supervised_contrastive`` (each row is to find those of its label among all of the batch), ``ranking`` (each is
            to find one of them among those of other labels: multiple negatives ranking, and supervised SimCSE with negatives),
            ``triplet`` (with semi-hard negatives, or those of the file), ``simcse`` (each text is to find itself under other
            dropout, without labels), ``cosent`` (pairs that are more alike get the higher cosine), or ``cosine`` (regression of
            the cosine to 1, 0 or the score).
        pairs: a file of pairs, triples or scored pairs; None takes the labels of the training rows.
        temperature: of ``supervised_contrastive``, ``ranking``, ``simcse`` and ``cosent``; cosines are divided by it.
        margin: of ``triplet``, how much farther a negative should be than the positive in cosine distance, 0 to 2.
        dimensions: the loss also counts for vectors cut to so many values, so that these can be used alone (Matryoshka).
        hard_negatives: rows of other labels, or of other pairs, that join each row of a batch: the nearest by the model as it
            is when the epoch begins.
        embedding_only: tune the embedding alone.
        layers: of an encoder, how many of the highest layers are tuned; None tunes half of them.
        rate: peak learning rate of an encoder's layers, above 0; a text CNN has those of its groups.
        steps: batches in an epoch; None takes as many as show each row, or pair, about once.
        inverse_regularization: C of the regression, above 0; None chooses it out of fold.
    Source:
        Khosla et al. 2020, "Supervised Contrastive Learning", equation 2; Henderson et al. 2017, "Efficient Natural Language
        Response Suggestion for Smart Reply", section 4.4; Schroff et al. 2015, "FaceNet", section 3.2; Gao et al. 2021,
        "SimCSE", equations 4 and 5; CoSENT of Su 2022; Kusupati et al. 2022, "Matryoshka Representation Learning"
    """

    loss: str = "supervised_contrastive"
    pairs: str | None = None
    temperature: float = 0.05
    margin: float = 0.2
    dimensions: tuple[int, ...] = ()
    hard_negatives: int = 0
    embedding_only: bool = False
    layers: int | None = None
    rate: float = 1e-4
    steps: int | None = None
    inverse_regularization: float | None = None

    def __post_init__(self) -> None:
        check_types(self, where="retrieval", error=RecipeError)
        require_name("retrieval.loss", self.loss, RETRIEVAL_LOSSES)
        require(self.temperature > 0, "retrieval.temperature", self.temperature, "above 0 (0.02 to 0.2 is usual)")
        require_at_most("retrieval.temperature", self.temperature, 1e3)
        require(0 <= self.margin <= 2, "retrieval.margin", self.margin, "0 to 2")
        ascending = list(self.dimensions) == sorted({size for size in self.dimensions if size >= 1})
        require(ascending, "retrieval.dimensions", list(self.dimensions), "numbers of 1 or more, ascending")
        require(0 <= self.hard_negatives <= 16, "retrieval.hard_negatives", self.hard_negatives, "0 to 16")
        for name in ("layers", "steps"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"retrieval.{name}", value, "1 or more, or null")
            require_at_most(f"retrieval.{name}", value, 1_000_000)
        require(self.rate > 0, "retrieval.rate", self.rate, "above 0")
        both = self.embedding_only and self.layers is not None
        require(not both, "retrieval.layers", self.layers, "null beside embedding_only")
        mined = self.hard_negatives == 0 or self.loss not in SCORED_LOSSES
        require(mined, "retrieval.hard_negatives", self.hard_negatives, f"0 beside {self.loss}, which takes no negatives")
        inverse = self.inverse_regularization
        require(inverse is None or inverse > 0, "retrieval.inverse_regularization", inverse, "above 0, or null")
