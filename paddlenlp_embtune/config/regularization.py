"""The part of a recipe about regularization: dropout of tokens, label smoothing, R-Drop, adversarial training, mixup."""

from __future__ import annotations

import dataclasses
from typing import Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most, require_name

__all__ = ["AdversarialSpec", "MixupSpec", "RegularizationSpec"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialSpec:
    """Train also on the worst small change of the embedded tokens, found for every batch.

    What is looked up is changed, never the table: each text's rows as one vector, in the unit of the table, padding excepted.
    All passes of a step draw the same dropout masks.

    Args:
        kind: ``fgm`` trains on the text and on the text moved by ``epsilon`` along its normalised gradient: two passes a step,
            gradients added up, and the loss of the first is the one that is logged. ``freelb`` moves from a random start by
            ``steps`` steps and trains on the mean of the places that it passes: ``steps`` passes a step.
        epsilon: ``fgm``: the Euclidean length of the change of a text; ``freelb``: its greatest length. Above 0; None takes 1
            for ``fgm`` and 0.5 for ``freelb``. A pretrained encoder's row is about 1 long.
        step_size: for ``freelb``, the length of each step, above 0; None takes 0.1.
        steps: for ``freelb``, 1 or more; None takes 3.
    Source:
        fgm: Miyato, Dai and Goodfellow 2017, "Adversarial Training Methods for Semi-Supervised Text Classification", section 3,
        without normalising the table, whose rows are pretrained; freelb: Zhu et al. 2020, "FreeLB: Enhanced
        Adversarial Training for Natural Language Understanding", algorithm 1 and section 3.3
    """

    kind: str = "fgm"
    epsilon: float | None = None
    step_size: float | None = None
    steps: int | None = None

    KINDS = ("fgm", "freelb")

    def __post_init__(self) -> None:
        check_types(self, where="adversarial", error=RecipeError)
        require_name("adversarial.kind", self.kind, self.KINDS)
        defaults = {"epsilon": 1.0} if self.kind == "fgm" else {"epsilon": 0.5, "step_size": 0.1, "steps": 3}
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        spare = [name for name in ("step_size", "steps") if name not in defaults and getattr(self, name) is not None]
        if spare:
            raise RecipeError(
                f"adversarial of kind fgm takes epsilon alone, the length of its one step; leave out {' and '.join(spare)}"
            )
        for name in ("epsilon", "step_size"):
            value = getattr(self, name)
            require(value is None or value > 0, f"adversarial.{name}", value, "above 0")
        require(self.steps is None or self.steps >= 1, "adversarial.steps", self.steps, "1 or more")
        require_at_most("adversarial.steps", self.steps, 1_000)

    @property
    def options(self) -> dict[str, Any]:
        """What the kind takes, by name."""
        return {name: value for name in ("epsilon", "step_size", "steps") if (value := getattr(self, name)) is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixupSpec:
    """Train on mixtures of two texts of a batch, with both of their labels.

    A row's vector becomes λ times its own plus 1 - λ times another row's, and its loss λ times that of its own label plus
    1 - λ times that of the other one; λ is drawn from Beta(alpha, alpha) for every batch.

    Args:
        alpha: above 0, at most 100; towards 0, hardly anything is mixed; 1 draws λ evenly. Zhang et al. took 0.1 to 0.4.
        at: what is mixed: ``features``, the vectors of the texts before the head, or ``embedding``, the embedded tokens, place
            by place; where the other text is shorter, with its padding.
    Source:
        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1; Guo, Mao and Zhang 2019, "Augmenting Data
        with Mixup for Sentence Classification", section 3: features is their senMixup, embedding their wordMixup
    """

    alpha: float = 0.2
    at: str = "features"

    PLACES = ("features", "embedding")

    def __post_init__(self) -> None:
        check_types(self, where="mixup", error=RecipeError)
        require(0 < self.alpha <= 100, "regularization.mixup.alpha", self.alpha, "above 0 and at most 100")
        require_name("regularization.mixup.at", self.at, self.PLACES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegularizationSpec:
    """Regularization of training steps; evaluation, export and stored weights are not affected.

    Args:
        embedding_dropout: the chance that a token of the vocabulary is dropped from a batch wherever it stands, 0 or more and
            below 1; what stays is scaled by 1 / (1 - chance), padding is left alone. AWD-LSTM took 0.1.
        label_smoothing: the share of the target that is spread evenly over all classes, 0 or more and below 1; Szegedy et al.
            took 0.1. Each row keeps the weight of its class. For the loss ``cross_entropy``.
        r_drop: the weight alpha of the divergence between two passes with other dropout masks, 0 or more; 0 makes one pass. The
            loss is (loss of the first pass + loss of the second) / 2 + alpha / 4 (KL(p1 | p2) + KL(p2 | p1)), the divergences
            being means over the rows. That is half of the paper's loss, so that alpha means what it means there, where 1 to 5
            served, and the scale of the loss stays.
        adversarial: training on perturbed embeddings; None leaves it out.
        mixup: training on mixtures of texts; None leaves it out. Not beside ``r_drop``, ``adversarial`` or a teacher.
    Source:
        embedding_dropout: Gal and Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural
        Networks", section 4.2, and Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models", section
        4.3; label_smoothing: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7;
        r_drop: Wu et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", equations 2 to 4
    """

    embedding_dropout: float = 0.0
    label_smoothing: float = 0.0
    r_drop: float = 0.0
    adversarial: AdversarialSpec | None = None
    mixup: MixupSpec | None = None

    def __post_init__(self) -> None:
        check_types(self, where="regularization", error=RecipeError)
        for name in ("embedding_dropout", "label_smoothing"):
            value = getattr(self, name)
            require(0 <= value < 1, f"regularization.{name}", value, "0 or more and below 1")
        require(self.r_drop >= 0, "regularization.r_drop", self.r_drop, "0 or more")
        for name in ("r_drop", "adversarial") if self.mixup is not None else ():
            value = getattr(self, name)
            require(not value, f"regularization.{name}", value, "left out beside mixup, which mixes the texts of one pass")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is switched on."""
        return self == RegularizationSpec()
