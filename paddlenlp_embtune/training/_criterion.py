"""The loss of a run: a registered one with its options, and the weights of classes and rows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import TrainSpec
from paddlenlp_embtune.data import EncodedDataset
from paddlenlp_embtune.errors import EmbtuneError, RecipeError, any_of, expected_names
from paddlenlp_embtune.inference import SINGLE, LabelKind
from paddlenlp_embtune.models import CrossEntropy, RowLoss, checked_options
from paddlenlp_embtune.plugin import cause, registry
from paddlenlp_embtune.utils.json_yaml import shorten

paddle = compat.require_paddle()

__all__ = ["build_criterion", "class_weights", "class_weights_of", "row_weights_of"]


def build_criterion(
    spec: TrainSpec,
    weights: npt.NDArray[np.float32],
    *,
    kind: LabelKind = SINGLE,
    weighs_rows: bool = False,
) -> Any:
    """Make a registered loss, and try that of a plugin on four rows before anything is trained with it.

    Args:
        spec: names the loss and its options.
        weights: of the classes.
        kind: of the labels.
        weighs_rows: whether rows have weights of their own.
    Shapes:
        weights: (C,) float32
    Raises:
        RecipeError: it does not know an option, is for ordered labels, or takes no weights of rows.
        PluginError: it cannot be made or called as its contract says, or gives no finite scalar.
    """
    known, name = registry.current(), spec.loss
    factory = known.get("loss", name)
    if getattr(factory, "ordered", False) and not kind.ordered:
        raise unordered(f"train.loss is {name!r}")
    for_several = _is_for_several(factory)
    if for_several != kind.several:
        known_losses = [each for each in known.names("loss") if for_several != _is_for_several(known.get("loss", each))]
        raise RecipeError(
            f"train.loss is {name!r}, which is for {'several labels' if for_several else 'one label'} a text, and the labels "
            f"are of the kind {kind.name!r}; expected {any_of(known_losses)}"
        )
    options: Mapping[str, Any] = {}
    if spec.loss_options:
        options = checked_options(
            factory, spec.loss_options, where="train.loss_options", name=name, reserved=("class_weights",)
        )
    criterion = known.guarded("loss", name)(class_weights=weights, **options)
    if weighs_rows and not _takes_row_weights(criterion):
        raise RecipeError(
            f"data.weight_column is stated, but the loss {name!r} takes no weights of rows; expected a loss that is called "
            "with logits, labels and weights, such as cross_entropy, or data.weight_column null"
        )
    if known.owner("loss", name) == registry.BUILTIN:
        return criterion
    logits = paddle.to_tensor(np.linspace(-1.0, 1.0, 4 * len(weights), dtype=np.float32).reshape(4, -1))
    numbers = np.arange(4, dtype=np.int64) % len(weights)
    labels = paddle.to_tensor(np.eye(len(weights), dtype=np.int64)[numbers] if kind.several else numbers)
    try:
        with paddle.no_grad():
            found = criterion(logits, labels)
    except EmbtuneError:
        raise
    except Exception as error:
        raise known.breach("loss", name, f"gives a callable that raised {cause(error)}") from error
    if not isinstance(found, paddle.Tensor) or found.numel() != 1 or not np.isfinite(float(found)):
        raise known.breach("loss", name, f"gives a callable that returned {shorten(found)}")
    return criterion


def _is_for_several(factory: Any) -> bool:
    """Whether a loss is for several labels a text: it says so in ``label_kinds``."""
    return "multi" in getattr(factory, "label_kinds", ())


def unordered(what: str) -> RecipeError:
    """Return the error about something for ordered labels that is asked for with others."""
    return RecipeError(
        f"{what}, which is for ordered labels, and nothing says that these are; state them in order in data.labels and set "
        "data.ordered to true, or leave it out"
    )


def row_weights_of(rows: EncodedDataset, weights: npt.NDArray[np.float32], *, criterion: Any) -> npt.NDArray[np.float64] | None:
    """What each row counts in the mean that the loss is: its own weight, and in built-in losses that of its class.

    Args:
        rows: N rows.
        weights: of the classes, (C,).
        criterion: the loss by labels; None for that of a student, in which classes weigh the same.
    Returns:
        (N,) float64; None for a plain mean.
    """
    by_class = isinstance(criterion, (CrossEntropy, RowLoss))
    if rows.weights is None and not by_class:
        return None
    own = np.ones(len(rows)) if rows.weights is None else rows.weights.astype(np.float64)
    return own * weights[np.asarray(rows.labels)].astype(np.float64) if by_class else own


def class_weights_of(spec: TrainSpec, rows: EncodedDataset, labels: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the weight of each label as a recipe states it; the mean over the rows is 1, or of several labels, over these.

    Shapes:
        returns: (C,) float32
    Raises:
        RecipeError: the recipe weighs other labels.
    """
    if (stated := spec.class_weights) is not None:
        for label in stated:
            if label not in labels:
                raise RecipeError(f"train.class_weights has {shorten(label)}; {expected_names(label, labels)}")
        if missing := [label for label in labels if label not in stated]:
            raise RecipeError(
                f"train.class_weights must have a weight for each of the {len(labels)} labels, and lacks {missing}"
            )
    numbers, row_weights = np.asarray(rows.truth), rows.text_weights
    several = numbers.ndim == 2
    if several:  # each pair of a row and a label that it has counts once
        places, numbers = np.nonzero(numbers)
        row_weights = None if row_weights is None else row_weights[places]
    found = class_weights(
        numbers.tolist(),
        len(labels),
        balance=spec.class_balance,
        effective_numbers=spec.effective_numbers,
        stated=None if stated is None else [stated[label] for label in labels],
        row_weights=row_weights,
    )
    return found / found.mean() if several else found


def class_weights(
    labels: Sequence[int],
    num_labels: int,
    *,
    balance: float,
    effective_numbers: float | None = None,
    stated: Sequence[float] | None = None,
    row_weights: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Weights of classes whose mean over all rows is 1.

    Args:
        labels: N class numbers.
        num_labels: C.
        balance: weights are inverse to the frequency of a class, to this power.
        effective_numbers: beta; in place of ``balance``, weights are inverse to the effective number of a class.
        stated: C weights, in place of both.
        row_weights: (N,); a row of weight 2 counts as two. None counts every row once.
    Shapes:
        returns: (C,) float32
    Source:
        King and Zeng 2001, "Logistic Regression in Rare Events Data", section 4.2, for ``balance`` 1; Cui et al. 2019,
        "Class-Balanced Loss Based on Effective Number of Samples", equation 4, for ``effective_numbers``
    """
    found = np.bincount(labels, weights=row_weights, minlength=num_labels).astype(np.float64)
    counts = np.where(found > 0, found, 1.0)
    if stated is not None:
        weights = np.asarray(stated, dtype=np.float64)
    elif effective_numbers is not None:
        weights = (1 - effective_numbers) / (1 - effective_numbers**counts)
    else:
        weights = counts**-balance
    scaled: npt.NDArray[np.float64] = weights * counts.sum() / (weights * counts).sum()
    return scaled.astype(np.float32)


def _takes_row_weights(criterion: Any) -> bool:
    """Whether a loss can be called with logits, labels and weights; of a layer, its ``forward`` tells."""
    function = getattr(criterion, "forward", criterion)
    try:
        inspect.signature(function).bind(None, None, None)
    except (TypeError, ValueError):
        return False
    return True
