"""The part of a recipe about distillation: the teacher, and how the student learns from it."""

from __future__ import annotations

import dataclasses

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most

__all__ = ["DistillSpec"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillSpec:
    """Train a student on the answers of a teacher, a bundle with the same labels.

    The loss of a row is ``alpha * T**2 * KL(teacher | student)``, both softened by the temperature T, plus ``1 - alpha`` times
    the recipe's own loss where the row has a label; rows weigh the same, or as ``data.weight_column`` says, with the mean
    weight for texts without labels.

    Args:
        teacher: path of a bundle, or of a run.
        temperature: T, above 0; the logits of both are divided by it. 1 leaves the answers as they are, more lets the student
            see how the teacher ranks the other labels.
        alpha: weight of the teacher against the labels of the rows, above 0, at most 1.
        unlabelled: paths of texts without labels for the teacher to answer, one per line in ``.txt``, or a format with the
            column ``data.text_column``; those that are among the training or the development rows are left out.
        recombined: texts, at most 1,000,000, that are made of the clauses and the runs of words of the training rows for the
            teacher to answer; they stand in for unlabelled ones where there are none. 0 makes none.
        hidden: weight of the mean squared distance between the teacher's vector of a text and what a linear map, which is
            trained with the student and then dropped, makes of the student's; 0 leaves it out. The teacher's vectors are
            centred and scaled to a mean square of 1.
        answers: path of a file (safetensors) that keeps the teacher's answers, so that other students of the same teacher and
            texts need not ask again; None keeps none.
    Source:
        Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2; hidden: Jiao et al. 2020,
        "TinyBERT: Distilling BERT for Natural Language Understanding", equation 8, on one vector a text
    """

    teacher: str
    temperature: float = 2.0
    alpha: float = 0.7
    unlabelled: tuple[str, ...] = ()
    recombined: int = 0
    hidden: float = 0.0
    answers: str | None = None

    def __post_init__(self) -> None:
        check_types(self, where="distill", error=RecipeError)
        require(bool(self.teacher), "distill.teacher", self.teacher, "the path of a bundle")
        require(self.temperature > 0, "distill.temperature", self.temperature, "above 0 (1 to 10 is usual)")
        require_at_most("distill.temperature", self.temperature, 1e6)
        require(0 < self.alpha <= 1, "distill.alpha", self.alpha, "above 0 and at most 1")
        require(self.recombined >= 0, "distill.recombined", self.recombined, "0 or more")
        require_at_most("distill.recombined", self.recombined, 1_000_000)
        require(self.hidden >= 0, "distill.hidden", self.hidden, "0 or more")
        require(all(self.unlabelled), "distill.unlabelled", list(self.unlabelled), "paths of files")
        require(self.answers != "", "distill.answers", self.answers, "the path of a file, or null")
