"""The parity gate: an exported program answers as the live model does, or it is not written."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import ParityRecord
from paddlenlp_embtune.errors import ParityError
from paddlenlp_embtune.inference import SINGLE, TOKENS_PER_BATCH, Engine, LabelKind, unit_vectors
from paddlenlp_embtune.models import captured_features, vector_output
from paddlenlp_embtune.text import PAD_ID, pad

paddle = compat.require_paddle()

__all__ = [
    "TOLERANCE",
    "EngineAnswers",
    "LiveAnswers",
    "compare_answers",
    "engine_answers",
    "live_answers",
    "parity_batches",
    "verify_padding",
    "verify_parity",
]

TOLERANCE = 1e-5
_BATCH_SIZES = (1, 7, 32, 2, 64, 3, 16)
_SMALL = 7

Ids = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]


def parity_batches(encoded: Sequence[Sequence[int]], *, vocabulary_size: int, max_length: int, seed: int = 0) -> list[Ids]:
    """Make batches of mixed sizes and lengths out of real texts and of random ids up to the full length.

    Args:
        encoded: ids of real texts; may be empty.
        vocabulary_size: random ids are below this.
        max_length: the longest random text.
        seed: seeds the random texts.
    Returns:
        Arrays (B, L) int64 padded with 0, of 1,024 tokens at most or one row. Small ones mix real and random rows, large ones
        are real texts as long as there are any: beside a long random row they would mostly be padding.
    """
    generator = np.random.default_rng(seed)
    lengths = [1, 2, 3, max_length, *generator.integers(1, max_length + 1, 24).tolist()]
    made = [generator.integers(1, vocabulary_size, length).tolist() for length in lengths]
    real, drawn = (deque(rows[index] for index in generator.permutation(len(rows)).tolist()) for rows in (list(encoded), made))
    batches: list[Ids] = []
    while real or drawn:
        size = min(_BATCH_SIZES[len(batches) % len(_BATCH_SIZES)], len(real) + len(drawn))
        rows: list[Sequence[int]] = []
        while len(rows) < size:
            source = drawn if drawn and (not real or (size <= _SMALL and len(rows) % 2 == 0)) else real
            if rows and (len(rows) + 1) * max(map(len, (*rows, source[0]))) > TOKENS_PER_BATCH:
                break
            rows.append(source.popleft())
        batches.append(pad(rows))
    return batches


@dataclasses.dataclass(frozen=True, eq=False)
class LiveAnswers:
    """What the live model answers to the batches of a parity check, computed once for all engines and temperatures.

    Args:
        batches: (B, L) int64 arrays.
        logits: for each batch, (B, C) float32.
        padded: for small batches, by their numbers: how many padding tokens were added, and the logits then.
        model: name of the model's class, for messages.
        vectors: for each batch, (B, H) float32 vectors of the texts; None where the model gives none.
        padded_vectors: those of ``padded``.
    """

    batches: Sequence[Ids]
    logits: Sequence[Logits]
    padded: Mapping[int, tuple[int, Logits]]
    model: str
    vectors: Sequence[Vectors] | None = None
    padded_vectors: Mapping[int, Vectors] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class EngineAnswers:
    """What an engine answers to the batches of a parity check, in the order of its runs.

    Args:
        logits: (B, C) float32 arrays.
        vectors: (B, H) float32 arrays; None where the engine, or the model, gives none.
    """

    logits: Sequence[Logits]
    vectors: Sequence[Vectors] | None = None


def live_answers(model: Any, batches: Sequence[Ids]) -> LiveAnswers:
    """Run batches through the live model, small ones with further padding too.

    Args:
        model: maps (B, L) int64 ids to (B, C) float32 logits; its mode is left as it was.
        batches: (B, L) int64 arrays, as :func:`parity_batches` returns them.
    """
    training, most = model.training, getattr(model, "most_tokens", None)
    model.eval()
    has_vectors = vector_output(model) is not None
    logits, padded, vectors, padded_vectors = [], {}, [], {}

    def run(batch: Ids) -> tuple[Logits, Vectors]:
        if not has_vectors:
            return model(paddle.to_tensor(batch)).numpy(), np.zeros((len(batch), 0), np.float32)
        with captured_features(model) as seen:
            found: Logits = model(paddle.to_tensor(batch)).numpy()
        return found, seen[-1].numpy()

    with paddle.no_grad():
        for number, batch in enumerate(batches):
            found, each = run(batch)
            logits.append(found)
            vectors.append(each)
            further = 5 if most is None else min(5, most - batch.shape[1])
            if len(batch) <= _SMALL and further > 0:
                found, padded_vectors[number] = run(np.pad(batch, ((0, 0), (0, further)), constant_values=PAD_ID))
                padded[number] = (further, found)
    if training:
        model.train()
    return LiveAnswers(batches, logits, padded, type(model).__name__, vectors if has_vectors else None, padded_vectors)


def verify_padding(
    live: LiveAnswers, *, temperature: float = 1.0, tolerance: float = TOLERANCE, kind: LabelKind = SINGLE
) -> None:
    """Refuse a model whose answers depend on padding.

    Serving forms other batches than training and parity do, so a model that sees its padding answers by the company a text
    keeps.

    Raises:
        ParityError: a probability differs by ``tolerance`` or more.
    """
    for number, (further, wider) in live.padded.items():
        plain = kind.probabilities(live.logits[number], temperature=temperature)
        difference = float(np.abs(plain - kind.probabilities(wider, temperature=temperature)).max())
        what = "a probability"
        if difference < tolerance and live.vectors is not None:
            difference, what = _vector_difference(live.vectors[number], live.padded_vectors[number]), "a vector's value"
        if not difference < tolerance:
            raise ParityError(
                f"answers of {live.model} depend on padding: {further} more padding tokens change {what} by "
                f"{difference:.2e}; expected below {tolerance:.0e}; mask the padding in the model, and keep row {PAD_ID} of "
                "its tables at zero; nothing was written"
            )


def verify_parity(
    live: LiveAnswers,
    engine: Engine,
    *,
    name: str,
    temperature: float = 1.0,
    tolerance: float = TOLERANCE,
    kind: LabelKind = SINGLE,
) -> ParityRecord:
    """Run the batches of a parity check through an engine and compare its probabilities with those of the live model.

    See :func:`engine_answers` and :func:`compare_answers`, which this does.

    Raises:
        ParityError: a probability differs by ``tolerance`` or more, or is not finite.
    """
    return compare_answers(
        live, engine_answers(live, engine), name=name, temperature=temperature, tolerance=tolerance, kind=kind
    )


def engine_answers(live: LiveAnswers, engine: Engine) -> EngineAnswers:
    """Run the batches of a parity check through an engine; return what it gives, in the order of the runs.

    Small batches run again when all others have been between, which an engine that remembers something does not survive.
    """
    runs = [live.batches[number] for number in _runs(live)]
    if live.vectors is None or not getattr(engine, "gives_vectors", False):
        return EngineAnswers([engine.run(batch) for batch in runs])
    both: Any = engine
    logits, vectors = zip(*map(both.run_with_vectors, runs), strict=True)
    return EngineAnswers(logits, vectors)


def compare_answers(
    live: LiveAnswers,
    answers: EngineAnswers,
    *,
    name: str,
    temperature: float = 1.0,
    tolerance: float = TOLERANCE,
    kind: LabelKind = SINGLE,
) -> ParityRecord:
    """Compare an engine's probabilities, and the vectors that it gives, with those of the live model.

    Args:
        live: the live model's answers.
        answers: the engine's, as :func:`engine_answers` returns them.
        name: the engine's name, for messages.
        temperature: logits are divided by it first.
        tolerance: the largest absolute difference allowed.
        kind: of the labels.
    Raises:
        ParityError: a probability, or a value of a vector of length 1, differs by ``tolerance`` or more, in either run, or is
            not finite.
    """
    worst, same_labels, texts = 0.0, True, sum(map(len, live.batches))
    for number, logits in zip(_runs(live), answers.logits, strict=True):
        found, expected = (kind.probabilities(each, temperature=temperature) for each in (logits, live.logits[number]))
        difference = float(np.abs(found - expected).max())
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
        same_labels &= bool((kind.decide(found) == kind.decide(expected)).all())
    if not worst < tolerance:
        raise ParityError(
            f"the engine {name!r} differs from the live model by {worst:.2e} in a probability ({texts} texts); expected below "
            f"{tolerance:.0e}; its files were not written; leave it out of export.engines, or report the model that does it"
        )
    return ParityRecord(
        max_vector_difference=_compare_vectors(live, answers, name=name, tolerance=tolerance),
        max_probability_difference=worst,
        tolerance=tolerance,
        texts=texts,
        batches=len(live.batches),
        same_labels=same_labels,
        temperature=temperature,
    )


def _compare_vectors(live: LiveAnswers, answers: EngineAnswers, *, name: str, tolerance: float) -> float | None:
    """Return the largest difference of a value of a vector of length 1; None where there are no vectors."""
    if live.vectors is None or answers.vectors is None:
        return None
    pairs = zip(_runs(live), answers.vectors, strict=True)
    worst = max(_vector_difference(live.vectors[number], found) for number, found in pairs)
    if not worst < tolerance:
        raise ParityError(
            f"the engine {name!r} differs from the live model by {worst:.2e} in a value of a sentence vector of length 1; "
            f"expected below {tolerance:.0e}; its files were not written; leave it out of export.engines, or report the model "
            "that does it"
        )
    return worst


def _vector_difference(expected: Vectors, found: Vectors) -> float:
    if expected.shape != found.shape:
        return float("inf")
    difference = float(np.abs(unit_vectors(expected) - unit_vectors(found)).max())
    return difference if np.isfinite(difference) else float("inf")


def _runs(live: LiveAnswers) -> list[int]:
    """Numbers of the batches in the order in which an engine runs them: all, then the small ones from the last to the first."""
    numbers = list(range(len(live.batches)))
    return [*numbers, *(number for number in reversed(numbers) if len(live.batches[number]) <= _SMALL)]
