"""The loss of a student, and the map from its vectors to the teacher's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import DistillSpec, GroupSpec
from paddlenlp_embtune.data import ROW_WEIGHTS, TEACHER_LOGITS, TEACHER_VECTORS, UNLABELLED
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import captured_features, feature_width, weighted_mean

paddle = compat.require_paddle()

__all__ = ["add_map", "drop_map", "softened_divergence", "student_loss"]

MAP = "teacher_map"
_MAP_RATE = 1e-3

Criterion = Callable[..., Any]


def softened_divergence(student: Any, teacher: Any, *, temperature: float, weights: Any = None) -> Any:
    """Return the mean over rows of KL(teacher | student), both softened, times the temperature squared.

    Args:
        student: logits; those of labels that the teacher does not know stand behind the others, and are left out.
        teacher: logits, or logarithms of probabilities.
        temperature: T, above 0.
        weights: of the rows in the mean; None weighs them the same.
    Shapes:
        student: (B, C); teacher: (B, T), T at most C; weights: (B,) float32; returns: () float32
    Source:
        Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2
    """
    log_softmax = paddle.nn.functional.log_softmax
    known = student if student.shape[-1] == teacher.shape[-1] else student[:, : teacher.shape[-1]]
    ours, theirs = (log_softmax(logits.astype("float32") / temperature) for logits in (known, teacher))
    return weighted_mean((theirs.exp() * (theirs - ours)).sum(axis=-1), weights) * temperature**2


def student_loss(model: Any, inner: Any, inputs: Mapping[str, Any], spec: DistillSpec, criterion: Criterion) -> tuple[Any, Any]:
    """Compute the loss of a batch that a teacher has answered; see :class:`DistillSpec` for the formula.

    A student that has a former head (``former_logits``) is compared with the teacher by that.

    Args:
        model: as wrapped for training.
        inner: the same without wrappers.
        inputs: ``input_ids`` (B, L) and ``labels`` (B,), -100 where a row has none; ``teacher_logits`` (B, C), and
            ``teacher_vectors`` (B, H) or none; ``row_weights`` (B,) or none.
        spec: the weights.
        criterion: the loss by labels, a mean over rows.
    Returns:
        Loss and logits (B, C).
    """
    rest = dict(inputs)
    labels, teacher, vectors = rest.pop("labels"), rest.pop(TEACHER_LOGITS), rest.pop(TEACHER_VECTORS, None)
    weights = rest.pop(ROW_WEIGHTS, None)
    with_map = vectors is not None and hasattr(inner, MAP)
    former = getattr(inner, "former_logits", None)
    with contextlib.ExitStack() as stack:
        seen = stack.enter_context(captured_features(inner)) if with_map or former is not None else []
        logits = model(**rest)
    answers = logits if former is None else former(seen[-1])
    loss = softened_divergence(answers, teacher, temperature=spec.temperature, weights=weights) * spec.alpha
    labelled = paddle.nonzero(labels != UNLABELLED).flatten()
    if labelled.shape[0] and spec.alpha < 1:
        whole = labelled.shape[0] == labels.shape[0]
        given = (logits, labels) if weights is None else (logits, labels, weights)
        rows = given if whole else tuple(paddle.gather(values, labelled) for values in given)
        share = labelled.shape[0] / labels.shape[0] if weights is None else rows[-1].sum() / weights.sum()
        loss = loss + criterion(*rows) * ((1 - spec.alpha) * share)
    if with_map:
        distance = getattr(inner, MAP)(seen[-1]).astype("float32") - vectors.astype("float32")
        squares = distance.square()
        loss = loss + (squares.mean() if weights is None else weighted_mean(squares.mean(axis=-1), weights)) * spec.hidden
    return loss, logits


def add_map(model: Any, *, width: int) -> GroupSpec:
    """Give a student the linear map from its vectors to the teacher's, which trains with it.

    Args:
        model: the student.
        width: H, the values of the teacher's vectors.
    Returns:
        The parameter group of the map.
    Raises:
        RecipeError: the student gives no vector of a text.
    """
    if not hasattr(model, "features"):
        raise RecipeError(
            f"distill.hidden needs a student that gives a vector of a text, and {type(model).__name__} has no "
            "features(input_ids); expected textcnn, or model.encoder; or distill.hidden 0"
        )
    setattr(model, MAP, paddle.nn.Linear(feature_width(model), width))
    return GroupSpec(name=MAP, parameters=(f"{MAP}.*",), rate=_MAP_RATE)


def drop_map(model: Any) -> None:
    """Take the map away again, if there is one."""
    if hasattr(model, MAP):
        delattr(model, MAP)
