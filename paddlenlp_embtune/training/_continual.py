"""Going on from a bundle: its labels and those of the new rows, and the examples of former tasks that are trained on again."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, StoredExample, bundle_folder, other_heads, read_fisher, read_stored_examples
from paddlenlp_embtune.config import ContinualSpec, DistillSpec, Recipe
from paddlenlp_embtune.data import Examples, discover_labels, read_examples, text_key
from paddlenlp_embtune.errors import DataError, RecipeError, expected_names

__all__ = [
    "Continuation",
    "begin_continuation",
    "check_fisher",
    "continual_recipe",
    "former_labels",
    "joint_labels",
    "lineage",
    "with_former_names",
    "with_measured",
    "with_replayed",
    "with_task_head",
]

Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuation:
    """What a run that learns on begins with.

    Args:
        spec: as the recipe has it.
        task: name of what is learnt now.
        bundle: that it continues from; None for the first task.
        examples: that this bundle keeps.
        replayed: how many of them are trained on again, the last of the training rows.
        measured: labelled rows by the name of their task that the bundle is measured on.
        head: name of a head that the bundle keeps beside its own, which answers now, or of the task, for a new one; None where
            the bundle's own head does.
    """

    spec: ContinualSpec
    task: str
    bundle: Bundle | None = None
    examples: tuple[StoredExample, ...] = ()
    replayed: int = 0
    measured: Mapping[str, Examples] = dataclasses.field(default_factory=dict)
    head: str | None = None

    @property
    def own_head(self) -> str:
        """Name of the former bundle's own head: that of the task that it began with."""
        stated = self.bundle.manifest.continual.get("head") if self.bundle is not None else None
        return str(stated) if stated is not None else str(self.tasks[0]["name"]) if self.tasks else self.task

    @property
    def tasks(self) -> list[Mapping[str, Any]]:
        """What the former bundle says of its tasks; a bundle that says nothing was trained on one."""
        if self.bundle is None:
            return []
        return _tasks_of(self.bundle)

    def summary(self) -> dict[str, Any]:
        """Return what the record says of how the run begins."""
        counts = Counter(each.task for each in self.examples)
        return {
            "methods": {name: self.spec.strength_of(name) for name in self.spec.methods},
            "task": self.task,
            "former_tasks": [each["name"] for each in self.tasks],
            "examples": dict(counts),
            "replayed": self.replayed,
        }


def begin_continuation(recipe: Recipe) -> Continuation | None:
    """Open the bundle that a recipe continues from, and read what it keeps; None without ``continual``.

    Raises:
        BundleError: it is no bundle, or is damaged.
        RecipeError: a method needs what it does not keep, or the task has the name of a former one.
    """
    spec = recipe.continual
    if spec is None:
        return None
    if recipe.model.start is None:
        return Continuation(spec=spec, task=spec.task or "1")
    bundle = Bundle.open(bundle_folder(Path(recipe.model.start)))
    examples = read_stored_examples(bundle)
    found = Continuation(spec=spec, task="", bundle=bundle, examples=examples)
    names = [str(each["name"]) for each in found.tasks]
    task = spec.task or str(len(names) + 1)
    if task in names:
        raise RecipeError(
            f"continual.task is {task!r}, the name of a task that {bundle.path} has learnt ({', '.join(names)}); expected "
            "another name"
        )
    if "replay" in spec.methods and not examples:
        raise RecipeError(
            f"continual.method has replay, but the bundle {bundle.path} keeps no examples; train it again with "
            "continual: {examples: 1000}, which stores that many texts in the bundle, or choose a method that needs none: lwf, "
            "ewc, l2sp, average"
        )
    return dataclasses.replace(found, task=task)


def _tasks_of(bundle: Bundle) -> list[Mapping[str, Any]]:
    stated = bundle.manifest.continual.get("tasks")
    if isinstance(stated, list) and stated and all(isinstance(each, Mapping) and "name" in each for each in stated):
        return list(stated)
    rows = bundle.manifest.data.get("train_rows")
    return [{"name": "1", "rows": rows, "labels": list(bundle.manifest.labels), "start": None}]


def with_former_names(continuation: Continuation | None, rows: Examples) -> Examples:
    """Give labels of rows the names that the former bundle has for them.

    Raises:
        DataError: ``continual.label_map`` gives a name that the bundle does not know.
    """
    if continuation is None or not (names := continuation.spec.label_map):
        return rows
    known = (*_former_labels(continuation), *continuation.spec.new_labels)
    for label, name in names.items():
        if name not in known and "multitask" not in continuation.spec.methods:
            raise DataError(
                f"continual.label_map takes {label!r} for {name!r}, which is no label; {expected_names(name, known)}"
            )
    return dataclasses.replace(rows, labels=tuple(names.get(label, label) for label in rows.labels))


def with_task_head(continuation: Continuation, rows: Examples) -> Continuation:
    """Find the head of the rows, where every label set has one: the bundle's own, one that it keeps, or a new one.

    Raises:
        DataError: some of their labels are of the bundle's own head, and some are not.
    """
    bundle = continuation.bundle
    if bundle is None or "multitask" not in continuation.spec.methods:
        return continuation
    found, former = set(rows.labels), set(bundle.manifest.labels)
    if found <= former:
        return continuation
    if found & former:
        own, others = sorted(found & former), sorted(found - former)
        raise DataError(
            f"{rows.source} has labels of the head of {bundle.path} ({', '.join(own)}) and others ({', '.join(others)}); with "
            "multitask a label set has a head of its own: give all of them other names by continual.label_map, or leave "
            f"multitask out and state continual.new_labels: [{', '.join(others)}]"
        )
    kept = (name for name, labels in other_heads(bundle).items() if found <= set(labels))
    return dataclasses.replace(continuation, head=next(kept, continuation.task))


def joint_labels(continuation: Continuation, rows: Examples, stated: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels of the run: the former bundle's in its order, and behind them those that the recipe calls new.

    Args:
        continuation: with the former bundle.
        rows: training rows, by the bundle's names.
        stated: labels that the recipe or its domain states; None leaves them to the bundle.
    Raises:
        DataError: the rows have a label that is neither, or none of a new one; or the stated labels are others.
    """
    if continuation.head is not None and continuation.bundle is not None:
        kept = other_heads(continuation.bundle).get(continuation.head)
        return kept if kept is not None else discover_labels(rows, stated)
    former, new = _former_labels(continuation), continuation.spec.new_labels
    path = continuation.bundle.path if continuation.bundle is not None else ""
    if known := [label for label in new if label in former]:
        raise DataError(f"continual.new_labels has {known[0]!r}, which {path} knows already; leave it out")
    labels, found = (*former, *new), Counter(rows.labels)
    for label in found:
        if label not in labels:
            raise DataError(
                f"{rows.source} has the label {label!r} ({found[label]} rows), which {path} does not know; it has "
                f"{', '.join(former)}; add it with continual.new_labels: [{label}], or say which label it is with "
                f"continual.label_map: {{{label}: {expected_label(label, former)}}}"
            )
    if missing := [label for label in new if label not in found]:
        raise DataError(f"{rows.source} has no row of {missing[0]!r}, which continual.new_labels adds; each needs at least one")
    if stated is not None and tuple(stated) != labels:
        raise DataError(
            f"the labels are {', '.join(stated)}, those of {path} with continual.new_labels are {', '.join(labels)}; expected "
            "the same, in the same order; leave data.labels out beside model.start and continual"
        )
    return labels


def expected_label(label: str, former: Sequence[str]) -> str:
    """Return the label that was probably meant, or the first."""
    import difflib

    return next(iter(difflib.get_close_matches(label, former, n=1, cutoff=0.0)), former[0])


def former_labels(continuation: Continuation | None, labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that a teacher knows: of the former bundle those of the run but the new ones, or of its own head."""
    if continuation is None:
        return tuple(labels)
    if continuation.head is not None:
        return _former_labels(continuation)
    return tuple(labels[: len(labels) - len(continuation.spec.new_labels)])


def _former_labels(continuation: Continuation) -> tuple[str, ...]:
    return tuple(continuation.bundle.manifest.labels) if continuation.bundle is not None else ()


def with_measured(continuation: Continuation, labels: Sequence[str], reading: Mapping[str, Any]) -> Continuation:
    """Read the rows that the bundle is measured on.

    Args:
        continuation: of the run.
        labels: that the bundle will give.
        reading: how files of labelled rows are read.
    Raises:
        DataError: a file cannot be read, or has another label.
    """
    sets: dict[str, Examples] = {}
    for name, path in continuation.spec.measure.items():
        sets[name] = with_former_names(continuation, read_examples(path, **{**reading, "weight_column": None}))
        for label in sets[name].labels:
            if label not in labels:
                raise DataError(
                    f"{path} of continual.measure has the label {label!r}, which the bundle will not give; "
                    f"{expected_names(label, labels)}"
                )
    return dataclasses.replace(continuation, measured=sets)


def with_replayed(
    continuation: Continuation, rows: Examples, dev: Examples, labels: Sequence[str]
) -> tuple[Examples, Continuation]:
    """Put the stored examples behind the training rows, with weights.

    Those that are among the development rows, or of another head, stay out.
    """
    if "replay" not in continuation.spec.methods:
        return rows, continuation
    seen = {text_key(text) for text in dev.texts}
    again = [each for each in continuation.examples if text_key(each.text) not in seen and each.label in labels]
    strength = continuation.spec.strength_of("replay")
    weights: tuple[float, ...] | None = None
    if strength != 1.0 or rows.weights is not None:
        own = np.ones(len(rows)) if rows.weights is None else np.asarray(rows.weights, dtype=np.float64)
        weights = (*own.tolist(), *([float(own.mean()) * strength] * len(again)))
    texts, labels = (*rows.texts, *(each.text for each in again)), (*rows.labels, *(each.label for each in again))
    longer = dataclasses.replace(rows, texts=texts, labels=labels, weights=weights)
    return longer, dataclasses.replace(continuation, replayed=len(again))


def continual_recipe(recipe: Recipe, spec: ContinualSpec) -> Recipe:
    """Return the recipe with what follows from its methods: the former bundle as a teacher, and gradients that are dense.

    Of ``strength`` s, the teacher counts as s times what the labels count: their weights are s / (1 + s) and 1 / (1 + s).
    """
    if "lwf" in spec.methods and recipe.model.start is not None:
        strength = spec.strength_of("lwf")
        stated = recipe.distill if recipe.distill is not None else DistillSpec(teacher=recipe.model.start)
        teacher = dataclasses.replace(stated, temperature=spec.temperature, alpha=strength / (1 + strength))
        recipe = dataclasses.replace(recipe, distill=teacher)
    if {"ewc", "l2sp"} & set(spec.methods):
        recipe = dataclasses.replace(recipe, sparse=None)
    return recipe


def check_fisher(continuation: Continuation, weights: Arrays) -> Arrays:
    """Return the Fisher information that the former bundle keeps.

    Args:
        continuation: of a run whose method is ``ewc``.
        weights: of the former bundle.
    Raises:
        RecipeError: the bundle keeps none, or that of another architecture.
    """
    bundle = continuation.bundle
    if bundle is None:
        raise RecipeError("continual.method has ewc without model.start; state the bundle to go on from")
    found = read_fisher(bundle)
    if found is None:
        raise RecipeError(
            f"continual.method has ewc, but the bundle {bundle.path} keeps no Fisher information; train it again with "
            "continual: {fisher: true}, or choose a method that needs none: lwf, l2sp, average"
        )
    for name, values in found.items():
        here = list(weights[name].shape) if name in weights else None
        if here != list(values.shape):
            raise RecipeError(
                f"the Fisher information in {bundle.path} is of another architecture: it has {name!r} of shape "
                f"{list(values.shape)}, the bundle has {here or 'none'}; train the bundle again with continual: "
                "{fisher: true}, or leave ewc out"
            )
    return found


def lineage(
    continuation: Continuation, *, rows: int, labels: Sequence[str], data: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    """Return the tasks of the new bundle: the former ones, and this one with the bundle that it began with.

    Args:
        continuation: of the run.
        rows: that it was trained on, without replayed ones.
        labels: of the new bundle.
        data: SHA-256 of the files of rows by name.
    """
    bundle = continuation.bundle
    start = None
    if bundle is not None:
        start = {"bundle": bundle.fingerprint, "weights": bundle.manifest.files.get("weights.safetensors")}
    methods = {name: continuation.spec.strength_of(name) for name in continuation.spec.methods}
    this = {
        "name": continuation.task,
        "rows": rows,
        "labels": list(labels),
        "methods": methods,
        "start": start,
        "data": dict(data),
    }
    return [*continuation.tasks, this]
