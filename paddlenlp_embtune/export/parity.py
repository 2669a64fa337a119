"""The parity gate: an exported program answers as the live model does, or it is not written."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import ParityRecord
from paddlenlp_embtune.errors import ParityError
from paddlenlp_embtune.inference import TOKENS_PER_BATCH, Engine, softmax
from paddlenlp_embtune.text import PAD_ID, pad

paddle = compat.require_paddle()

__all__ = ["TOLERANCE", "parity_batches", "verify_padding", "verify_parity"]

TOLERANCE = 1e-5
_BATCH_SIZES = (1, 7, 32, 2, 64, 3, 16)
_SMALL = 7

Ids = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]


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


def verify_padding(
    model: Any, batches: Sequence[Ids], *, temperature: float = 1.0, tolerance: float = TOLERANCE
) -> list[Probabilities]:
    """Run batches through the live model, small ones with further padding too; the answers must be the same.

    Serving forms other batches than training and parity do, so a model that sees its padding answers by the company a text
    keeps.

    Returns:
        The live model's answers: for each batch, (B, C) float32 probabilities.
    Raises:
        ParityError: a probability differs by ``tolerance`` or more.
    """
    answers = [_probabilities(model, batch, temperature) for batch in batches]
    most = getattr(model, "most_tokens", None)
    for batch, answer in zip(batches, answers, strict=True):
        further = 5 if most is None else min(5, most - batch.shape[1])
        if len(batch) > _SMALL or further <= 0:
            continue
        wider = np.pad(batch, ((0, 0), (0, further)), constant_values=PAD_ID)
        difference = float(np.abs(answer - _probabilities(model, wider, temperature)).max())
        if not difference < tolerance:
            raise ParityError(
                f"answers of {type(model).__name__} depend on padding: {further} more padding tokens change a probability by "
                f"{difference:.2e}; expected below {tolerance:.0e}; mask the padding in the model, and keep row {PAD_ID} of "
                "its tables at zero; nothing was written"
            )
    return answers


def verify_parity(
    expected: Sequence[Probabilities],
    engine: Engine,
    batches: Sequence[Ids],
    *,
    name: str,
    temperature: float = 1.0,
    tolerance: float = TOLERANCE,
) -> ParityRecord:
    """Run batches through an engine and compare its probabilities with those of the live model.

    Small batches run again when all others have been between, which an engine that remembers something does not survive.

    Args:
        expected: the live model's answers to the batches, as :func:`verify_padding` returns them.
        engine: the exported program.
        batches: (B, L) int64 arrays.
        name: the engine's name, for messages.
        temperature: logits are divided by it first.
        tolerance: the largest absolute difference allowed.
    Raises:
        ParityError: a probability differs by ``tolerance`` or more, in either run, or is not finite.
    """
    worst, same_labels, texts = 0.0, True, sum(map(len, batches))
    pairs = list(zip(batches, expected, strict=True))
    for batch, live in (*pairs, *((batch, live) for batch, live in reversed(pairs) if len(batch) <= _SMALL)):
        found = softmax(engine.run(batch) / temperature)
        difference = float(np.abs(found - live).max())
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
        same_labels &= bool((found.argmax(axis=1) == live.argmax(axis=1)).all())
    if not worst < tolerance:
        raise ParityError(
            f"the engine {name!r} differs from the live model by {worst:.2e} in a probability ({texts} texts); expected below "
            f"{tolerance:.0e}; its files were not written; leave it out of export.engines, or report the model that does it"
        )
    return ParityRecord(
        max_probability_difference=worst,
        tolerance=tolerance,
        texts=texts,
        batches=len(batches),
        same_labels=same_labels,
        temperature=temperature,
    )


def _probabilities(model: Any, batch: Ids, temperature: float) -> Probabilities:
    """Probabilities of the live model in evaluation mode; its mode is left as it was."""
    training = model.training
    model.eval()
    with paddle.no_grad():
        logits = model(paddle.to_tensor(batch)).numpy()
    if training:
        model.train()
    return softmax(logits / temperature)
