"""Losses over vectors of texts, for search by meaning: of rows with labels, and of pairs with and without scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import ContrastiveSpec, RetrievalSpec
from paddlenlp_embtune.models.contrastive import pair_loss

paddle = compat.require_paddle()

__all__ = [
    "cosent_loss",
    "cosine_loss",
    "labelled_loss",
    "paired_cosines",
    "ranking_loss",
    "semi_hard_triplet_loss",
    "triplet_loss",
    "twin_loss",
    "with_dimensions",
]

_FAR = 1e9

Loss = Callable[..., Any]


def labelled_loss(spec: RetrievalSpec) -> Loss:
    """Return the loss of a recipe for rows with labels; not ``simcse``, which needs two passes (:func:`twin_loss`).

    Returns:
        maps (B, H) float32 vectors of any length and (B,) int64 labels to a scalar; rows without a partner count for nothing.
    """
    if spec.loss == "triplet":
        return lambda vectors, labels: semi_hard_triplet_loss(vectors, labels, margin=spec.margin)
    if spec.loss == "ranking":
        return lambda vectors, labels: _label_ranking(vectors, labels, temperature=spec.temperature)
    if spec.loss == "cosent":
        return lambda vectors, labels: _label_cosent(vectors, labels, temperature=spec.temperature)
    return pair_loss(ContrastiveSpec(loss=spec.loss, temperature=spec.temperature))


def semi_hard_triplet_loss(vectors: Any, labels: Any, *, margin: float) -> Any:
    """Mean over ordered pairs of one label of how far the positive lies behind its negative, less the margin.

    The negative is the nearest that is farther than the positive; where none is, the farthest of all.

    Shapes:
        vectors (B, H) float32, labels (B,) int64; returns a scalar, 0 where no two rows have one label
    Source:
        ``BatchSemiHardTripletLoss`` of sentence-transformers with the cosine distance; Schroff et al. 2015, section 3.2
    """
    distances = 1.0 - _cosines(vectors, vectors)
    same = (labels.unsqueeze(1) == labels.unsqueeze(0)).astype("float32")
    other = 1.0 - same
    # [a, p, n]: whether n has another label than a and is farther from it than p.
    outside = other.unsqueeze(1) * (distances.unsqueeze(1) > distances.unsqueeze(2)).astype("float32")
    nearest = (distances.unsqueeze(1) + (1.0 - outside) * _FAR).min(axis=2)
    lowest = distances.min(axis=1, keepdim=True)
    farthest = ((distances - lowest) * other).max(axis=1, keepdim=True) + lowest
    there = outside.max(axis=2)
    negatives = paddle.where(there > 0, nearest, farthest.expand_as(nearest))
    positives = same - paddle.eye(labels.shape[0])
    behind = paddle.clip((distances - negatives + margin) * positives, min=0.0)
    return behind.sum() / paddle.clip(positives.sum(), min=1.0)


def triplet_loss(anchors: Any, positives: Any, negatives: Any, *, margin: float) -> Any:
    """Mean of the cosine distance to the positive less that to the negative, plus the margin, where it is above 0.

    Shapes:
        three of (M, H) float32; returns a scalar
    Source:
        ``TripletLoss`` of sentence-transformers with the cosine distance
    """
    near, far = (1.0 - paired_cosines(anchors, side) for side in (positives, negatives))
    return paddle.clip(near - far + margin, min=0.0).mean()


def ranking_loss(anchors: Any, candidates: Any, *, groups: Any, candidate_groups: Any, temperature: float) -> Any:
    """Mean cross-entropy of finding each anchor's own candidate, that of its number, among all of other groups.

    Shapes:
        anchors (M, H) and candidates (N, H) float32, N at least M; groups (M,) and candidate_groups (N,) int64; a scalar
    Source:
        ``MultipleNegativesRankingLoss`` of sentence-transformers, with scale 1 / temperature; candidates of the anchor's group
        other than its own are left out, which changes nothing where a batch has no group twice
    """
    own = paddle.eye(anchors.shape[0], candidates.shape[0])
    same = (groups.unsqueeze(1) == candidate_groups.unsqueeze(0)).astype("float32")
    logits = _cosines(anchors, candidates) / temperature - paddle.clip(same - own, min=0.0) * _FAR
    return (paddle.logsumexp(logits, axis=1) - (logits * own).sum(axis=1)).mean()


def twin_loss(first: Any, second: Any, *, temperature: float) -> Any:
    """Mean cross-entropy of finding each text's second vector among those of all texts: (B, H) float32 twice to a scalar.

    Source:
        Gao et al. 2021, "SimCSE", equation 4
    """
    logits = _cosines(first, second) / temperature
    own = paddle.eye(first.shape[0])
    return (paddle.logsumexp(logits, axis=1) - (logits * own).sum(axis=1)).mean()


def cosent_loss(cosines: Any, scores: Any, *, temperature: float) -> Any:
    """Logarithm of 1 plus the sum of exp((lower - higher) / temperature) over pairs of pairs in order of their scores.

    Shapes:
        cosines and scores (P,) float32; returns a scalar
    Source:
        ``CoSENTLoss`` of sentence-transformers, with scale 1 / temperature
    """
    scaled = cosines / temperature
    # [i, j]: pair i should have the lower cosine.
    differences = scaled.unsqueeze(1) - scaled.unsqueeze(0)
    lower = (scores.unsqueeze(1) < scores.unsqueeze(0)).astype("float32")
    terms = (differences - (1.0 - lower) * _FAR).flatten()
    return paddle.logsumexp(paddle.concat([paddle.zeros([1]), terms]))


def cosine_loss(cosines: Any, scores: Any) -> Any:
    """Mean squared difference of cosines from scores: (P,) float32 twice to a scalar.

    Source:
        ``CosineSimilarityLoss`` of sentence-transformers
    """
    return paddle.square(cosines - scores).mean()


def with_dimensions(loss: Callable[[Callable[[Any], Any]], Any], dimensions: tuple[int, ...]) -> Any:
    """Return the mean of a loss for whole vectors and for each of the shorter ones.

    Args:
        loss: is called with a function that cuts (B, H) vectors.
        dimensions: how many values are kept, each time.
    Source:
        ``MatryoshkaLoss`` of sentence-transformers, which adds them up
    """
    found = [loss(lambda vectors: vectors)]
    found += [loss(lambda vectors, size=size: vectors[:, :size]) for size in dimensions]  # type: ignore[misc]
    return sum(found[1:], found[0]) / float(len(found))


def _label_ranking(vectors: Any, labels: Any, *, temperature: float) -> Any:
    """Ranking over rows with labels: each is to find the next row of its label among those of other labels."""
    numbers = labels.numpy().tolist()
    partners = [_next_of(numbers, row) for row in range(len(numbers))]
    rows = [row for row, partner in enumerate(partners) if partner is not None]
    if not rows:
        return vectors.sum() * 0.0
    order = [partners[row] for row in rows]
    left = sorted(set(range(len(numbers))) - set(order))
    anchors, chosen = paddle.to_tensor(rows), paddle.to_tensor([*order, *left])
    select = paddle.index_select
    return ranking_loss(
        select(vectors, anchors),
        select(vectors, chosen),
        groups=select(labels, anchors),
        candidate_groups=select(labels, chosen),
        temperature=temperature,
    )


def _next_of(numbers: list[int], row: int) -> int | None:
    around = [*range(row + 1, len(numbers)), *range(row)]
    return next((other for other in around if numbers[other] == numbers[row]), None)


def _label_cosent(vectors: Any, labels: Any, *, temperature: float) -> Any:
    size = labels.shape[0]
    above = paddle.nonzero(paddle.triu(paddle.ones([size, size]), diagonal=1).flatten()).flatten()
    cosines = paddle.index_select(_cosines(vectors, vectors).flatten(), above)
    same = (labels.unsqueeze(1) == labels.unsqueeze(0)).astype("float32").flatten()
    return cosent_loss(cosines, paddle.index_select(same, above), temperature=temperature)


def _unit(vectors: Any) -> Any:
    return paddle.nn.functional.normalize(vectors.astype("float32"), axis=1)


def _cosines(first: Any, second: Any) -> Any:
    return paddle.matmul(_unit(first), _unit(second), transpose_y=True)


def paired_cosines(first: Any, second: Any) -> Any:
    """Return the cosine of each pair: (P, H) float32 twice to (P,)."""
    return (_unit(first) * _unit(second)).sum(axis=1)
