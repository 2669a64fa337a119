"""The part of a recipe about self-training: unlabelled texts that the labelled rows label."""

from __future__ import annotations

import dataclasses

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most

__all__ = ["SelfTrainingSpec"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfTrainingSpec:
    """Label unlabelled texts before training, and train on the surest of them beside the rows.

    A logistic regression on the vectors of the recipe's encoder as it comes answers the texts, is fitted again to its surest
    answers beside the rows, and answers again. Of each label, the same share of its answers is taken, and weighs by the
    label's rows, so that the labels keep their balance. Where its confidence out of fold is not calibrated, no text is taken,
    and the run says so.

    Args:
        unlabelled: paths of texts without labels, one a line in ``.txt``, or a format with the column ``data.text_column``;
            those that are among the training or the development rows are left out.
        rounds: how often texts are answered, 1 to 10.
        weight: of a label's texts together, measured by that of its rows together, above 0.
        share: of each label's answers, the part that is taken in the last round, above 0 and at most 1.
        most: texts that are read, 1 or more; more are drawn by seed.
    Source:
        Yarowsky 1995, "Unsupervised Word Sense Disambiguation Rivaling Supervised Methods"; Zou et al. 2018, "Unsupervised
        Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training", for the share by label
    """

    unlabelled: tuple[str, ...]
    rounds: int = 3
    weight: float = 3.0
    share: float = 0.7
    most: int = 2000

    def __post_init__(self) -> None:
        check_types(self, where="self_training", error=RecipeError)
        stated = bool(self.unlabelled) and all(self.unlabelled)
        require(stated, "self_training.unlabelled", list(self.unlabelled), "paths of files")
        require(1 <= self.rounds <= 10, "self_training.rounds", self.rounds, "1 to 10")
        require(self.weight > 0, "self_training.weight", self.weight, "above 0")
        require_at_most("self_training.weight", self.weight, 1000)
        require(0 < self.share <= 1, "self_training.share", self.share, "above 0 and at most 1")
        require(self.most >= 1, "self_training.most", self.most, "1 or more")
        require_at_most("self_training.most", self.most, 1_000_000)
