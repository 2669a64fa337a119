"""The part of a recipe about learning on: what keeps a model from forgetting, and what its bundle keeps for the next step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most, require_name

__all__ = ["CONTINUAL_METHODS", "SELECTIONS", "ContinualSpec"]

_DEFAULT_STRENGTHS = {"replay": 1.0, "lwf": 1.0, "ewc": 1000.0, "l2sp": 0.01, "average": 1.0, "multitask": 1.0}
CONTINUAL_METHODS = (*_DEFAULT_STRENGTHS,)
SELECTIONS = ("reservoir", "by_class", "herding")
_MOST_EXAMPLES = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinualSpec:
    """Train on from a bundle without forgetting what it knows.

    Methods combine, as far as the sum of what they add to the loss makes sense; without a method, the part only says what the
    bundle keeps for the next step. With any method, the n-gram regression of a text CNN is fitted as a change of the former
    one, which costs, in place of a new one; an n-gram that the new texts lack keeps its weights.

    Args:
        method: one or several: ``replay`` trains on examples that the former bundle keeps beside the new rows; ``lwf``
            (learning without forgetting) has the former bundle answer the new texts, as a teacher; ``ewc`` (elastic weight
            consolidation) holds each weight by its Fisher information; ``l2sp`` holds all weights alike; ``average``
            interpolates between the former and the new weights after training; ``multitask`` gives a label set that the former
            bundle does not have a head of its own on the same network: the bundle answers by it and keeps the former heads.
        strength: of the one method, or by method, above 0; null takes the defaults. ``replay``: what a stored example weighs
            against a new row; ``lwf``: the teacher's divergence against the loss by labels; ``ewc`` and ``l2sp``: the factor of
            the penalty, which is half of it times the squared distance; ``average``: standard errors of the accuracy on the
            development rows that may be given up for weights nearer to the former ones.
        task: name of what is learnt now, in the bundle's lineage and in tables; null numbers it.
        measure: labelled rows by the name of their task, this one's too, that the bundle is measured on; they are neither
            trained on nor chosen by. Once every task of the lineage has been measured on all of them, the bundle and the
            report have the matrix of the sequence.
        examples: texts with labels, of this task and of former ones, that the bundle keeps for replay. 0, the default, keeps
            none, and drops those of the former bundle.
        selection: which: ``reservoir``, each row ever seen with the same chance; ``by_class``, as many of each task and label,
            at random; ``herding``, those whose vectors have together the mean of their label.
        fisher: whether the bundle keeps the Fisher information of its weights, which takes as much room as they do; null keeps
            it where ``ewc`` is a method.
        fisher_rows: training rows that it is estimated on.
        fisher_decay: what the former Fisher information counts beside the new one, above 0, at most 1.
        temperature: of ``lwf``; the logits of both are divided by it.
        new_labels: labels that the former bundle lacks; they come behind its own.
        label_map: for labels of the new rows that are others of the bundle by another name, the name that it knows.
        new_tokens: whether characters that the new texts have twice or more and the former tokenizer does not know become
            tokens with rows of their own, behind the former ones, which all stay.
    Source:
        replay: Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual Learning"; reservoir: Vitter 1985, "Random
        Sampling with a Reservoir", algorithm R; herding: Rebuffi et al. 2017, "iCaRL", algorithm 4; lwf: Li and Hoiem 2016,
        "Learning without Forgetting"; ewc: Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks",
        equation 3, and Schwarz et al. 2018, "Progress & Compress", section 3.2, for the online form; l2sp: Li, Grandvalet and
        Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", equation 2; average:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"
    """

    method: tuple[str, ...] | str = ()
    strength: Mapping[str, float] | float | None = None
    task: str | None = None
    measure: Mapping[str, str] = dataclasses.field(default_factory=dict)
    examples: int = 0
    selection: str = "by_class"
    fisher: bool | None = None
    fisher_rows: int = 256
    fisher_decay: float = 1.0
    temperature: float = 2.0
    new_labels: tuple[str, ...] = ()
    label_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    new_tokens: bool = True

    def __post_init__(self) -> None:
        check_types(self, where="continual", error=RecipeError)
        methods = self.methods
        for name in methods:
            require_name("continual.method", name, CONTINUAL_METHODS)
        require(len(set(methods)) == len(methods), "continual.method", list(methods), "methods, each once")
        object.__setattr__(self, "method", methods)
        self._check_strength()
        require(self.task is None or bool(self.task.strip()), "continual.task", self.task, "a name, or null")
        require(all(self.measure.values()), "continual.measure", dict(self.measure), "paths of files by the names of tasks")
        require(self.examples >= 0, "continual.examples", self.examples, "0 or more")
        require_at_most("continual.examples", self.examples, _MOST_EXAMPLES)
        require_name("continual.selection", self.selection, SELECTIONS)
        require(self.fisher_rows >= 1, "continual.fisher_rows", self.fisher_rows, "1 or more")
        require_at_most("continual.fisher_rows", self.fisher_rows, 1_000_000)
        require(0 < self.fisher_decay <= 1, "continual.fisher_decay", self.fisher_decay, "above 0 and at most 1")
        require(self.temperature > 0, "continual.temperature", self.temperature, "above 0 (1 to 10 is usual)")
        require_at_most("continual.temperature", self.temperature, 1e6)
        labels = self.new_labels
        proper = len(set(labels)) == len(labels) and all(label.strip() for label in labels)
        require(proper, "continual.new_labels", list(labels), "labels, each once")
        both = bool(labels) and "multitask" in methods
        require(not both, "continual.new_labels", list(labels), "empty beside multitask, where a label set has its own head")

    def _check_strength(self) -> None:
        stated, methods = self.strength, self.methods
        if isinstance(stated, Mapping):
            for name in stated:
                if name not in methods or name == "multitask":
                    raise RecipeError(f"continual.strength names {name!r}; {expected_names(name, methods)} (continual.method)")
        elif stated is not None:
            one = len(methods) == 1 and methods != ("multitask",)
            require(one, "continual.strength", stated, "a number for each method by its name, or null")
        for name in methods:
            value = self.strength_of(name)
            require(value > 0, f"continual.strength of {name}", value, "above 0")
            require_at_most(f"continual.strength of {name}", value, 1e12)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order in which they are stated."""
        return (self.method,) if isinstance(self.method, str) else self.method

    @property
    def keeps_fisher(self) -> bool:
        """Whether the bundle keeps the Fisher information of its weights."""
        return "ewc" in self.methods if self.fisher is None else self.fisher

    def strength_of(self, method: str) -> float:
        """Return the strength of a method, stated or by default."""
        if isinstance(self.strength, Mapping):
            return self.strength.get(method, _DEFAULT_STRENGTHS[method])
        return self.strength if self.strength is not None else _DEFAULT_STRENGTHS[method]
