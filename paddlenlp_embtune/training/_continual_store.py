"""What a bundle keeps for the next step of learning on: examples, Fisher information, and the lineage of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import (
    StoredExample,
    other_heads,
    read_fisher,
    read_head,
    write_fisher,
    write_heads,
    write_stored_examples,
)
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.evaluation import task_sequence
from paddlenlp_embtune.training._continual import lineage
from paddlenlp_embtune.training._example_selection import choose_examples
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.training._continual import Continuation
    from paddlenlp_embtune.training._prepare import Prepared

__all__ = ["keep_for_next_step", "with_accuracies"]


def keep_for_next_step(prepared: Prepared, model: Any, folder: Path) -> dict[str, Any]:
    """Write what the recipe lets the bundle keep into its folder, and return what its manifest says of it.

    Args:
        prepared: with the rows of the task.
        model: as it has been trained.
        folder: of the bundle that is being made.
    Raises:
        RecipeError: examples are to be chosen by herding, and the model gives no vectors of texts.
    """
    continuation = prepared.continuation
    if continuation is None:
        return {}
    spec, data = continuation.spec, {Path(source).name: digest for source, digest in prepared.hashes.items()}
    told: dict[str, Any] = {"tasks": lineage(continuation, rows=len(prepared.stated), labels=prepared.labels, data=data)}
    if heads := _former_heads(prepared, continuation):
        write_heads(folder, {name: arrays for name, (_, arrays) in heads.items()})
        told["heads"] = {name: list(labels) for name, (labels, _) in heads.items()}
    if heads or continuation.head is not None:
        told["head"] = continuation.head if continuation.head is not None else continuation.own_head
    if spec.examples:
        kept = _examples(prepared, continuation, model)
        write_stored_examples(folder, kept)
        told["examples"] = {"count": len(kept), "selection": spec.selection}
    if spec.keeps_fisher:
        from paddlenlp_embtune.models import head_names
        from paddlenlp_embtune.training._fisher import diagonal_fisher, online_fisher

        former = (read_fisher(continuation.bundle) if continuation.bundle is not None else None) or {}
        free = head_names(model, prepared.recipe.model.name) if continuation.head is not None else ()
        former = {name: values for name, values in former.items() if name not in free}
        count = len(prepared.stated)
        rows = [row for row in prepared.train_ids.ids[: int(prepared.train_ids.first[count])] if len(row)]
        new = diagonal_fisher(model, rows, count=spec.fisher_rows, seed=prepared.recipe.seed)
        write_fisher(folder, online_fisher(former, new, decay=spec.fisher_decay))
        told["fisher"] = {"rows": min(spec.fisher_rows, count), "decay": spec.fisher_decay}
    return told


def _former_heads(prepared: Prepared, continuation: Continuation) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
    """Return labels and weights of the heads that do not answer now, by name: those kept so far, and the one that answered."""
    bundle = continuation.bundle
    if bundle is None:
        return {}
    found = {
        name: (labels, read_head(bundle, name)) for name, labels in other_heads(bundle).items() if name != continuation.head
    }
    if continuation.head is not None:
        from paddlenlp_embtune.models import head_arrays, load_layer

        own = head_arrays(load_layer(bundle.path), prepared.recipe.model.name)
        found[continuation.own_head] = (tuple(bundle.manifest.labels), own)
    return found


def with_accuracies(kept: Mapping[str, Any], found: Mapping[str, float]) -> dict[str, Any]:
    """Return what a manifest says of its tasks, with the accuracies of its last one, and with the matrix once it is whole.

    Args:
        kept: as :func:`keep_for_next_step` returns it.
        found: of the bundle by the name of a task.
    """
    *former, this = kept["tasks"]
    tasks = [*former, {**this, "accuracies": dict(found)}]
    told, names = {**kept, "tasks": tasks}, [str(each["name"]) for each in tasks]
    measured = [each.get("accuracies") or {} for each in tasks]
    if all(name in row for row in measured for name in names):
        told["sequence"] = to_plain(task_sequence(names, [[row[name] for name in names] for row in measured]))
    return told


def _examples(prepared: Prepared, continuation: Continuation, model: Any) -> list[StoredExample]:
    rows = prepared.stated
    own = [StoredExample(text, label, continuation.task) for text, label in zip(rows.texts, rows.labels, strict=True)]
    seen = sum(int(each["rows"]) for each in continuation.tasks if isinstance(each.get("rows"), int))
    spec = continuation.spec

    def vectors(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return _vectors(prepared, model, texts)

    return choose_examples(
        continuation.examples,
        own,
        count=spec.examples,
        selection=spec.selection,
        seen=seen,
        seed=prepared.recipe.seed,
        vectors=vectors,
    )


def _vectors(prepared: Prepared, model: Any, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the vectors that a model has of texts between its network and its head, (N, H)."""
    from paddlenlp_embtune.models import FeatureEngine
    from paddlenlp_embtune.text import pad, tokenize_texts

    if not hasattr(model, "features"):
        raise RecipeError(
            f"continual.selection is herding, but {type(model).__name__} gives no vector of a text; expected "
            "by_class or reservoir"
        )
    model.eval()
    engine, most = FeatureEngine(model), prepared.recipe.text.max_length
    ids = [row or [0] for row in tokenize_texts(texts, prepared.tokenizer, max_length=most, windows=None).ids]
    order = np.argsort([len(row) for row in ids], kind="stable")
    size, width, found = int(prepared.recipe.train.eval_batch_size or 32), len(prepared.labels), {}
    for start in range(0, len(order), size):
        part = order[start : start + size]
        for place, vector in zip(part, engine.run(pad([ids[place] for place in part]))[:, width:], strict=True):
            found[int(place)] = vector
    return np.stack([found[place] for place in range(len(ids))])
