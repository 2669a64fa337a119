"""The recipe: everything that decides a training run, in one frozen object and one YAML file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.config.adapter import AdapterSpec
from paddlenlp_embtune.config.augmentation import AugmentationSpec
from paddlenlp_embtune.config.continual import ContinualSpec
from paddlenlp_embtune.config.contrastive import FULL, TUNINGS, ContrastiveSpec
from paddlenlp_embtune.config.distillation import DistillSpec
from paddlenlp_embtune.config.evaluation import EvaluationSpec
from paddlenlp_embtune.config.freezing import FreezeSpec, RowsSpec
from paddlenlp_embtune.config.inputs import DataSpec, TextSpec, VectorSpec, is_path
from paddlenlp_embtune.config.labels import LabelSpec
from paddlenlp_embtune.config.model import ModelSpec, is_folder
from paddlenlp_embtune.config.monitoring import AlarmSpec, AverageSpec, EarlyStoppingSpec, HealthSpec
from paddlenlp_embtune.config.optimization import ClipSpec, GroupSpec, LayerwiseSpec, PlateauSpec, ScheduleSpec
from paddlenlp_embtune.config.regularization import AdversarialSpec, RegularizationSpec
from paddlenlp_embtune.config.retrieval import RetrievalSpec
from paddlenlp_embtune.config.self_training import SelfTrainingSpec
from paddlenlp_embtune.config.training import ExportSpec, SparseSpec, TrainSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import parse_yaml, read_bounded, shorten
from paddlenlp_embtune.utils.schema import build, check_types, require, require_name, to_plain
from paddlenlp_embtune.utils.text_files.read_options import check_read_options

__all__ = [
    "AdapterSpec",
    "AdversarialSpec",
    "AlarmSpec",
    "AugmentationSpec",
    "AverageSpec",
    "ClipSpec",
    "ContinualSpec",
    "ContrastiveSpec",
    "DataSpec",
    "DistillSpec",
    "EarlyStoppingSpec",
    "EvaluationSpec",
    "ExportSpec",
    "FreezeSpec",
    "GroupSpec",
    "HealthSpec",
    "LabelSpec",
    "LayerwiseSpec",
    "ModelSpec",
    "PlateauSpec",
    "Recipe",
    "RegularizationSpec",
    "RetrievalSpec",
    "RowsSpec",
    "ScheduleSpec",
    "SelfTrainingSpec",
    "SparseSpec",
    "TextSpec",
    "TrainSpec",
    "VectorSpec",
]


_MOST_BYTES = 1 << 20
_MAY_BE_NAMES = {"source": is_path, "encoder": is_folder}
_PATHS = {
    "data": ("train", "dev"),
    "augmentation": ("lexicon", "homophone_table", "lookalike_table", "encoder", "protected"),
    "text": ("vocabulary", "terms"),
    "vectors": ("source", "tokens"),
    "model": ("start", "encoder"),
    "distill": ("teacher", "unlabelled", "answers"),
    "retrieval": ("pairs",),
    "self_training": ("unlabelled",),
    "continual": ("measure",),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run.

    Args:
        domain: name of a registered domain; None for labels of your own.
        seed: seeds the data order, dropout and every initialisation.
        labels: how many labels a text has, and their names; what it leaves open follows from ``data``.
        augmentation: None trains on the rows of the data alone.
        groups: parameter groups; None takes those that the model's group rules propose.
        layerwise: groups by depth of an encoder, in place of ``groups``.
        adapter: None tunes the encoder's own weights; an adapter tunes few new ones instead.
        freeze: None trains everything from the first step. The default, the embedding for one epoch, becomes None beside an
            adapter and in a run of one epoch.
        rows: None lets every row of the embedding move.
        sparse: None trains the embedding with dense gradients, whatever its size.
        clip: None leaves gradients as they are.
        early_stopping: None runs all epochs and keeps the last weights.
        average: None averages no weights.
        health: None watches nothing.
        regularization: None trains on the rows as they are.
        distill: None learns from the labels of the rows alone.
        tuning: of the encoder: ``auto`` chooses by the rows a label and says why, ``contrastive`` takes pairs of rows, ``full``
            tunes a classifier; None does what the part ``contrastive`` says. The run's own recipe states what was chosen.
        contrastive: None tunes a classifier; otherwise an encoder is tuned on pairs of rows, and a regression fitted to it.
        retrieval: None tunes a classifier; otherwise the vectors of texts are tuned, and a regression fitted to them.
        self_training: None learns from labelled rows alone.
        continual: None trains on from ``model.start`` without regard to what its bundle knows, and keeps nothing for a next
            step.
        report_to: experiment trackers: ``visualdl``, ``wandb`` and ``tensorboard``, which are the Trainer's own, and those of
            plugins, such as ``mlflow``.
    Raises:
        RecipeError: a value is invalid; the message names it and what is expected.
    """

    domain: str | None = None
    seed: int = 0
    data: DataSpec = dataclasses.field(default_factory=DataSpec)
    labels: LabelSpec = dataclasses.field(default_factory=LabelSpec)
    augmentation: AugmentationSpec | None = None
    text: TextSpec = dataclasses.field(default_factory=TextSpec)
    vectors: VectorSpec = dataclasses.field(default_factory=VectorSpec)
    model: ModelSpec = dataclasses.field(default_factory=ModelSpec)
    groups: tuple[GroupSpec, ...] | None = None
    layerwise: LayerwiseSpec | None = None
    adapter: AdapterSpec | None = None
    train: TrainSpec = dataclasses.field(default_factory=TrainSpec)
    schedule: ScheduleSpec = dataclasses.field(default_factory=ScheduleSpec)
    freeze: FreezeSpec | None = dataclasses.field(default_factory=FreezeSpec)
    rows: RowsSpec | None = None
    sparse: SparseSpec | None = dataclasses.field(default_factory=SparseSpec)
    clip: ClipSpec | None = dataclasses.field(default_factory=ClipSpec)
    early_stopping: EarlyStoppingSpec | None = dataclasses.field(default_factory=EarlyStoppingSpec)
    average: AverageSpec | None = None
    health: HealthSpec | None = dataclasses.field(default_factory=HealthSpec)
    regularization: RegularizationSpec | None = None
    distill: DistillSpec | None = None
    tuning: str | None = None
    contrastive: ContrastiveSpec | None = None
    retrieval: RetrievalSpec | None = None
    self_training: SelfTrainingSpec | None = None
    continual: ContinualSpec | None = None
    evaluation: EvaluationSpec = dataclasses.field(default_factory=EvaluationSpec)
    export: ExportSpec = dataclasses.field(default_factory=ExportSpec)
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, where="recipe", error=RecipeError)
        require(0 <= self.seed < 2**32, "seed", self.seed, "0 or more and below 2**32")
        twice = len(set(self.report_to)) < len(self.report_to)
        require(not twice, "report_to", list(self.report_to), "names of trackers, each once")
        self._check_labels()
        if not self.model.tunes:
            self._check_fitted_at_once()
        if self.adapter is not None:
            _refuse_both("adapter", "layerwise", self.layerwise is not None, "beside an adapter, the layers do not train")
        if self.freeze == FreezeSpec() and (self.adapter is not None or self.train.epochs == 1 or not self.model.tunes):
            object.__setattr__(self, "freeze", None)  # the default has no place here
        _check_release(self.freeze, self.train.epochs)
        _check_cached(self.freeze, self.regularization)
        mixed = self.regularization is not None and self.regularization.mixup is not None
        _refuse_both("distill", "regularization.mixup", self.distill is not None and mixed, "a teacher answers whole texts")
        if self.augmentation is not None and self.augmentation.masked and self.model.encoder is None:
            encoder = self.augmentation.encoder
            require(encoder is not None, "augmentation.encoder", encoder, "an encoder for masked, as model.encoder is null")
        _refuse_both("groups", "layerwise", self.groups is not None and self.layerwise is not None, "both state groups")
        if self.groups is not None:
            _check_group_names(self.groups)
        self._check_encoder_tuning()
        if self.continual is not None:
            self._check_continual(self.continual)

    def _check_encoder_tuning(self) -> None:
        """Refuse ways to tune an encoder where there is none, or that exclude each other."""
        if self.tuning is not None:
            require_name("tuning", self.tuning, TUNINGS)
            require(self.model.encoder is not None, "model.encoder", self.model.encoder, "an encoder beside tuning")
            open_choice = self.tuning != FULL and self.self_training is not None
            require(not open_choice, "tuning", self.tuning, "full beside self_training")
        if self.contrastive is not None:
            encoder = self.model.encoder
            require(encoder is not None, "model.encoder", encoder, "an encoder beside contrastive")
            self._check_vectors_tuned("contrastive")
        if self.retrieval is not None:
            _refuse_both("retrieval", "contrastive", self.contrastive is not None, "both say how vectors are tuned")
            _refuse_both("retrieval", "tuning", self.tuning is not None, "it is about classifiers")
            self._check_vectors_tuned("retrieval")
        if self.self_training is not None:
            encoder = self.model.encoder
            require(encoder is not None, "model.encoder", encoder, "an encoder beside self_training, which reads its vectors")

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The labels in the order of their numbers, as far as the recipe states them."""
        return self.labels.names if self.labels.names is not None else self.data.labels

    @property
    def label_kind(self) -> str | None:
        """The kind of the labels, as far as the recipe states it."""
        stated = {None: None, True: "ordered", False: "single"}[self.data.ordered]
        found = self.labels.kind or stated
        return "multi" if found is None and self.data.label_separator is not None else found

    def _check_labels(self) -> None:
        """Refuse parts that contradict each other about the labels, and features that know one label a text alone."""
        stated, data, kind = self.labels, self.data, self.label_kind
        two = None not in (stated.names, data.labels) and stated.names != data.labels
        _refuse_both("labels.names", "data.labels", two, "they are not the same")
        wrong = None not in (stated.kind, data.ordered) and data.ordered != (stated.kind == "ordered")
        _refuse_both(f"labels.kind {stated.kind}", f"data.ordered {data.ordered}", wrong, "they contradict each other")
        separator = check_read_options(data.read_options, where="data.", error=RecipeError).label_separator
        if kind != "multi":
            _refuse_both(f"labels.kind {kind}", "data.label_separator", separator is not None, "then a row has one label")
            return
        for label in self.label_names or ():
            parted = separator is not None and separator in label
            require(not parted, "labels.names", label, f"without the label separator {separator!r} in it")
        self._check_several_labels()

    def _check_several_labels(self) -> None:
        """Refuse the parts that know one label a text alone.

        Raises:
            RecipeError: one of them is stated; the message names it.
        """
        stated = {
            "augmentation": self.augmentation is not None,
            "contrastive": self.contrastive is not None,
            "tuning: " + str(self.tuning): self.tuning not in (None, FULL),
            "retrieval": self.retrieval is not None,
            "continual": self.continual is not None,
            "self_training": self.self_training is not None,
            "distill": self.distill is not None,
            "model.experts": self.model.experts is not None,
            **{
                f"regularization.{name}": bool(getattr(self.regularization, name, None))
                for name in ("label_smoothing", "r_drop", "mixup")
            },
            "export.int8": self.export.int8 is not None,
            "export.target_precision": self.export.target_precision is not None,
            "model.options.head": self.model.options.get("head", "linear") != "linear",
        }
        for name, there in stated.items():
            if there:
                raise RecipeError(
                    f"{name} knows one label a text, and these are several (labels.kind: multi); leave it out of the recipe, "
                    "or give each row one label"
                )

    def _check_continual(self, spec: ContinualSpec) -> None:
        """Refuse to go on from nothing, and what has no former model, or another one."""
        start, methods = self.model.start, ", ".join(spec.methods)
        bare = start is None
        require(not (methods and bare), "model.start", start, f"the bundle to go on from, beside continual.method {methods}")
        require(not (spec.label_map and bare), "continual.label_map", dict(spec.label_map), "empty without model.start")
        require(not (spec.new_labels and bare), "continual.new_labels", list(spec.new_labels), "empty without model.start")
        taught = "lwf" in spec.methods and self.distill is not None and self.distill.teacher != start
        _refuse_both("continual.method lwf", "another distill.teacher", taught, "the bundle of model.start is the teacher")
        _refuse_both("continual", "model.experts", self.model.experts is not None, "experts are fitted anew")
        _refuse_both("continual", "contrastive", self.contrastive is not None, "its regression is fitted anew")
        chosen = self.tuning is not None and self.tuning != FULL
        require(not chosen, "tuning", self.tuning, "full, or null, beside continual")
        held = {"ewc", "l2sp"} & set(spec.methods)
        _refuse_both(
            "continual.method ewc or l2sp", "adapter", bool(held) and self.adapter is not None, "it trains other weights"
        )

    def _check_vectors_tuned(self, part: str) -> None:
        """Refuse what a loss over pairs of rows and a regression have no place for; the part of the recipe asks for them."""
        head = self.model.options.get("head", "linear")
        require(head == "linear", "model.options.head", head, f"linear beside {part}, which fits a regression")
        require(self.text.windows is None, "text.windows", "stated", f"null beside {part}, whose pairs are of whole texts")
        steps = self.train.accumulation_steps
        require(steps == 1, "train.accumulation_steps", steps, f"1 beside {part}, whose pairs are of one batch")
        rows = self.train.batch_size
        require(rows is None or rows >= 4, "train.batch_size", rows, f"4 or more beside {part}, or null")
        for name, why in (
            ("distill", "a teacher answers single rows"),
            ("regularization", "it changes the loss of a classifier"),
            ("adapter", "the highest layers are tuned themselves"),
            ("self_training", "labels by the encoder as it comes are worse than those that it is tuned to"),
        ):
            _refuse_both(part, name, getattr(self, name) is not None, why)

    def _check_fitted_at_once(self) -> None:
        """Refuse what only tuning takes, where there is none."""
        tuning = ("contrastive", "retrieval")
        for name in ("groups", "layerwise", "adapter", "rows", "average", "regularization", "distill", *tuning):
            _refuse_both("model.experts without network", name, getattr(self, name) is not None, "then nothing is tuned")
        held = self.freeze not in (None, FreezeSpec())
        _refuse_both("model.experts without network", "freeze", held, "then nothing is tuned")
        _refuse_both("model.experts without network", "report_to", bool(self.report_to), "then there are no steps to report")

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Recipe:
        """Build a recipe from plain values.

        Raises:
            RecipeError: an unknown key or an invalid value.
        """
        return build(cls, value, where="recipe", error=RecipeError)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe from a YAML file; paths inside it are relative to the file.

        Raises:
            RecipeError: the file is missing, is not YAML, or holds an invalid value.
        """
        path = Path(path)
        if path.is_dir():
            raise RecipeError(f"cannot read the recipe {path}: it is a folder; give the path of a YAML file")
        try:
            content = read_bounded(path, error=RecipeError, max_bytes=_MOST_BYTES)
        except OSError as error:
            raise RecipeError(f"cannot read the recipe {path}: {error.strerror}; give the path of a YAML file") from None
        value = parse_yaml(content, str(path), error=RecipeError)
        recipe = cls.from_dict(value if value is not None else {})
        return recipe.relative_to(path.parent)

    def relative_to(self, folder: Path) -> Recipe:
        """Return the recipe with its relative paths resolved against a folder; what may be a name too stays a path to see."""
        return self.with_paths(lambda path: str(folder / path))

    def with_paths(self, change: Callable[[str], str]) -> Recipe:
        """Return the recipe with every path in it changed; names, such as those of vectors in the box, stay.

        A changed path that could be taken for a name is written with ``./`` in front.
        """
        changed = {}
        for part, names in _PATHS.items():
            if (spec := getattr(self, part)) is None:
                continue
            given = {name: value for name in names if (value := getattr(spec, name)) is not None}
            paths: dict[str, Any] = {
                name: _changed(name, value, change) for name, value in given.items() if _MAY_BE_NAMES.get(name, bool)(value)
            }
            changed[part] = dataclasses.replace(spec, **paths)
        return dataclasses.replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, every default written out."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    def save(self, path: str | Path) -> None:
        """Write the recipe as YAML, every default written out, replacing the file in one step.

        Relative paths, which are meant from the current folder, are written as absolute ones, so that the file can be loaded
        from anywhere.
        """
        import yaml

        plain = self.relative_to(Path.cwd()).to_dict()
        write_text(Path(path), yaml.safe_dump(plain, allow_unicode=True, sort_keys=False))

    def fingerprint(self) -> str:
        """Return the SHA-256 of the recipe's values, 64 hexadecimal digits."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _refuse_both(one: str, other: str, both: bool, why: str) -> None:
    if both:
        raise RecipeError(f"a recipe cannot have {one} and {other}, because {why}; leave one of them out")


def _changed(name: str, value: Any, change: Callable[[str], str]) -> Any:
    """Change a path, every one of several, or the values of those by name."""
    if isinstance(value, Mapping):
        return {key: change(path) for key, path in value.items()}
    return tuple(map(change, value)) if isinstance(value, tuple) else _still_path(name, change(value))


def _still_path(name: str, path: str) -> str:
    """Keep a path from being taken for a name, where it may be either."""
    means_path = _MAY_BE_NAMES.get(name)
    return path if means_path is None or means_path(path) else f"./{path}"


def _check_group_names(groups: Sequence[GroupSpec]) -> None:
    names = [group.name for group in groups]
    require(bool(names), "groups", names, "one or more groups, or null for the model's own")
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"{names.count(name)} groups have the name {shorten(name)}; give each group a name of its own")
    rest = [group.name for group in groups if group.takes_rest]
    if len(rest) > 1:
        raise RecipeError(f"the groups {shorten(rest)} state no parameters, layers or depths; only one group can take the rest")


def _check_cached(freeze: FreezeSpec | None, regularization: RegularizationSpec | None) -> None:
    """Refuse to change what is looked up in the embedding where it is not looked up."""
    if freeze is None or not freeze.cached or regularization is None:
        return
    mixed = regularization.mixup is not None and regularization.mixup.at == "embedding"
    for name in ("embedding_dropout", "adversarial", *(("mixup",) if mixed else ())):
        value = getattr(regularization, name)
        require(not value, f"regularization.{name}", value, "left out beside freeze.cached, which skips the embedding")


def _check_release(freeze: FreezeSpec | None, epochs: int | None) -> None:
    """Refuse a schedule that never releases anything, or never freezes again, because the run is too short."""
    if freeze is None or epochs is None:
        return
    for name, what in (("unfreeze_at_epoch", "released"), ("refreeze_at_epoch", "frozen again")):
        value = getattr(freeze, name)
        if value is not None and value >= epochs:
            raise RecipeError(
                f"freeze.{name} must be below train.epochs ({epochs}), or nothing would ever be {what}, got {value}"
            )
