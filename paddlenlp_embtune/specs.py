"""The parts of a recipe: what each may say, and what is legal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.errors import RecipeError, legal_names
from paddlenlp_embtune.schema import check_types

__all__ = [
    "ClipSpec",
    "DataSpec",
    "EarlyStoppingSpec",
    "ExportSpec",
    "FreezeSpec",
    "GroupSpec",
    "HealthSpec",
    "ModelSpec",
    "ScheduleSpec",
    "TextSpec",
    "TrainSpec",
    "VectorSpec",
    "require",
]


def require(condition: bool, name: str, value: object, legal: str) -> None:
    """Refuse a value unless the condition holds; numbers that are not finite are never legal.

    Raises:
        RecipeError: naming the value and what is legal.
    """
    if not condition or (isinstance(value, float) and not math.isfinite(value)):
        raise RecipeError(f"{name} is {value!r}; legal: {legal}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where labelled rows come from.

    Args:
        train: path of the training file (TSV, CSV, JSON or JSON lines).
        dev: path of the development file; None holds ``dev_ratio`` of the training rows out, stratified by label.
        text_column: column or key of the text.
        label_column: column or key of the label.
        labels: the labels in order; None takes those of the domain, or else those found in the data.
        dev_ratio: share of the training rows held out when there is no ``dev``, above 0 and below 1.
        skip_empty: drop rows with an empty text, and say how many, instead of refusing the file.
    """

    train: str | None = None
    dev: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    labels: tuple[str, ...] | None = None
    dev_ratio: float = 0.1
    skip_empty: bool = False

    def __post_init__(self) -> None:
        check_types(self, where="data", error=RecipeError)
        require(0.0 < self.dev_ratio < 1.0, "data.dev_ratio", self.dev_ratio, "above 0 and below 1")
        if self.labels is not None:
            require(len(self.labels) >= 2, "data.labels", self.labels, "at least two labels")
            require(len(set(self.labels)) == len(self.labels), "data.labels", self.labels, "each label once")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSpec:
    """How text becomes ids.

    Args:
        tokenizer: ``char`` is the one in the box.
        lowercase: fold case before looking a character up.
        min_count: keep characters that occur at least this often in the training texts.
        extra_rows: add this many further rows of the vector file, in its own order, for characters that the training
            texts lack; they keep serving text out of the unknown token.
        max_length: longer texts are cut to this many tokens.
    """

    tokenizer: str = "char"
    lowercase: bool = True
    min_count: int = 1
    extra_rows: int = 2000
    max_length: int = 256

    def __post_init__(self) -> None:
        check_types(self, where="text", error=RecipeError)
        require(self.min_count >= 1, "text.min_count", self.min_count, "1 or more")
        require(self.extra_rows >= 0, "text.extra_rows", self.extra_rows, "0 or more")
        require(self.max_length >= 1, "text.max_length", self.max_length, "1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorSpec:
    """Where the embedding starts.

    Args:
        source: ``lac`` (the table inside jieba), ``random``, or the path of a file that a plugin's format reads.
        rms: the root mean square that the known rows are scaled to, above 0.
    """

    source: str = "lac"
    rms: float = 0.1

    def __post_init__(self) -> None:
        check_types(self, where="vectors", error=RecipeError)
        require(self.rms > 0, "vectors.rms", self.rms, "above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network, and its own options.

    Args:
        name: a registered model.
        options: passed to the model as they are; the model refuses those it does not know.
    """

    name: str = "textcnn"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self, where="model", error=RecipeError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupSpec:
    """Parameters that share a learning rate and a weight decay.

    Args:
        name: how tables, logs and other parts of the recipe call the group.
        parameters: patterns of parameter names, ``*`` stands for anything; None takes all that no other group names.
        rate: the absolute peak learning rate, above 0.
        weight_decay: decoupled weight decay (AdamW), 0 or more.
        decay_bias_and_norm: also decay biases and the parameters of normalisation layers.
    """

    name: str
    parameters: tuple[str, ...] | None = None
    rate: float
    weight_decay: float = 0.0
    decay_bias_and_norm: bool = False

    def __post_init__(self) -> None:
        check_types(self, where="group", error=RecipeError)
        require(bool(self.name), "group name", self.name, "a name")
        require(self.rate > 0, f"rate of group {self.name!r}", self.rate, "above 0")
        require(self.weight_decay >= 0, f"weight_decay of group {self.name!r}", self.weight_decay, "0 or more")
        require(self.parameters != (), f"parameters of group {self.name!r}", self.parameters, "a pattern, or null")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """Length and size of the run.

    Args:
        epochs: passes over the training rows; None takes as many as make about 1,200 steps, 8 at least and 40 at most.
        batch_size: rows in a step of one process.
        eval_batch_size: rows in a forward pass of an evaluation.
        loss: a registered loss.
        class_balance: how far rare classes weigh more in the loss, 0 (not at all) to 1 (every class weighs the same in all).
    """

    epochs: int | None = None
    batch_size: int = 64
    eval_batch_size: int = 256
    loss: str = "cross_entropy"
    class_balance: float = 0.5

    def __post_init__(self) -> None:
        check_types(self, where="train", error=RecipeError)
        for name in ("epochs", "batch_size", "eval_batch_size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"train.{name}", value, "1 or more")
        require(0 <= self.class_balance <= 1, "train.class_balance", self.class_balance, "0 to 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """How the rates move over the run, the same way for every group.

    Args:
        kind: ``linear`` or ``cosine`` falls to 0 at the end, ``constant`` stays.
        warmup_ratio: share of all steps over which the rates climb from 0, 0 or more and below 1.
    """

    kind: str = "linear"
    warmup_ratio: float = 0.05

    KINDS = ("constant", "cosine", "linear")

    def __post_init__(self) -> None:
        check_types(self, where="schedule", error=RecipeError)
        if self.kind not in self.KINDS:
            raise RecipeError(f"schedule.kind is {self.kind!r}; {legal_names(self.kind, self.KINDS)}")
        require(0 <= self.warmup_ratio < 1, "schedule.warmup_ratio", self.warmup_ratio, "0 or more and below 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreezeSpec:
    """Freeze groups first, release them later.

    Args:
        groups: names of groups.
        unfreeze_at_epoch: the 0-based epoch at whose start they are released; 1 keeps them frozen for one epoch.
    """

    groups: tuple[str, ...] = ("embedding",)
    unfreeze_at_epoch: int = 1

    def __post_init__(self) -> None:
        check_types(self, where="freeze", error=RecipeError)
        require(bool(self.groups), "freeze.groups", self.groups, "at least one group; leave freeze out to freeze none")
        require(self.unfreeze_at_epoch >= 1, "freeze.unfreeze_at_epoch", self.unfreeze_at_epoch, "1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Gradient clipping.

    Args:
        global_norm: the largest Euclidean norm of all gradients together, above 0.
    """

    global_norm: float = 1.0

    def __post_init__(self) -> None:
        check_types(self, where="clip", error=RecipeError)
        require(self.global_norm > 0, "clip.global_norm", self.global_norm, "above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlyStoppingSpec:
    """Stop when a metric no longer improves, and bring the best weights back.

    Args:
        metric: name of an evaluation metric, with or without ``eval_``.
        mode: ``max`` or ``min``; never guessed from the name.
        min_delta: an improvement counts when it is larger than this.
        patience_evals: stop after this many evaluations without improvement, 1 or more; None takes a third of the epochs, 4 at
            least.
        restore_best: put the best weights back into the model at the end.
    """

    metric: str = "f1_macro"
    mode: str = "max"
    min_delta: float = 0.0
    patience_evals: int | None = None
    restore_best: bool = True

    MODES = ("max", "min")

    def __post_init__(self) -> None:
        check_types(self, where="early_stopping", error=RecipeError)
        if self.mode not in self.MODES:
            raise RecipeError(f"early_stopping.mode is {self.mode!r}; {legal_names(self.mode, self.MODES)}")
        require(
            self.patience_evals is None or self.patience_evals >= 1,
            "early_stopping.patience_evals",
            self.patience_evals,
            "1 or more",
        )
        require(self.min_delta >= 0, "early_stopping.min_delta", self.min_delta, "0 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthSpec:
    """Watch the embedding.

    Args:
        every_epochs: a check at the end of every so many epochs, 1 or more.
        drift_alarm: warn when the mean cosine drift of the trained rows exceeds this, above 0 and at most 2.
    """

    every_epochs: int = 1
    drift_alarm: float = 0.5

    def __post_init__(self) -> None:
        check_types(self, where="health", error=RecipeError)
        require(self.every_epochs >= 1, "health.every_epochs", self.every_epochs, "1 or more")
        require(0 < self.drift_alarm <= 2, "health.drift_alarm", self.drift_alarm, "above 0 and at most 2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """Which engines the bundle carries.

    Args:
        engines: registered exporters.
    """

    engines: tuple[str, ...] = ("onnxruntime", "paddle_inference")

    def __post_init__(self) -> None:
        check_types(self, where="export", error=RecipeError)
