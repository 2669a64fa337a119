"""The parity gate: an exported program answers as the live model does, or it is not written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import host
from paddlenlp_embtune.errors import ParityError
from paddlenlp_embtune.serving.answers import softmax
from paddlenlp_embtune.serving.batches import TOKENS_PER_BATCH
from paddlenlp_embtune.serving.bundle import ParityRecord
from paddlenlp_embtune.serving.engines import Engine
from paddlenlp_embtune.text import PAD_ID, pad

paddle = host.require_paddle()

__all__ = ["TOLERANCE", "parity_batches", "verify_padding", "verify_parity"]

TOLERANCE = 1e-5
_BATCH_SIZES = (1, 7, 32, 2, 64, 3, 16)

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
        Arrays (B, L) int64 padded with 0.
    """
    generator = np.random.default_rng(seed)
    lengths = [1, 2, 3, max_length, *generator.integers(1, max_length + 1, 24).tolist()]
    made = [generator.integers(1, vocabulary_size, length).tolist() for length in lengths]
    rows = [list(ids) for ids in encoded] + made
    order = generator.permutation(len(rows)).tolist()
    batches: list[Ids] = []
    while order:
        size = _BATCH_SIZES[len(batches) % len(_BATCH_SIZES)]
        while size > 1 and size * max(len(rows[index]) for index in order[:size]) > TOKENS_PER_BATCH:
            size //= 2
        batches.append(pad([rows[index] for index in order[:size]]))
        del order[:size]
    return batches


def verify_padding(
    model: Any, batches: Sequence[Ids], *, temperature: float = 1.0, tolerance: float = TOLERANCE
) -> list[Probabilities]:
    """Run batches through the live model with and without further padding; the answers must be the same.

    Serving forms other batches than training and parity do, so a model that sees its padding answers by the company a text
    keeps.

    Returns:
        The live model's answers: for each batch, (B, C) float32 probabilities.
    Raises:
        ParityError: a probability differs by ``tolerance`` or more.
    """
    answers = []
    for batch in batches:
        answers.append(_probabilities(model, batch, temperature))
        most = getattr(model, "most_tokens", None)
        further = 5 if most is None else min(5, most - batch.shape[1])
        if further <= 0:
            continue
        wider = np.pad(batch, ((0, 0), (0, further)), constant_values=PAD_ID)
        difference = float(np.abs(answers[-1] - _probabilities(model, wider, temperature)).max())
        if not difference < tolerance:
            raise ParityError(
                f"answers of {type(model).__name__} depend on padding: {further} more padding tokens change a probability by "
                f"{difference:.2e}; legal: below {tolerance:.0e}; mask the padding in the model, and keep row {PAD_ID} of its "
                "tables at zero; nothing was written"
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
    """Run batches through an engine, twice each, and compare its probabilities with those of the live model.

    Args:
        expected: the live model's answers to the batches, as :func:`verify_padding` returns them.
        engine: the exported program.
        batches: (B, L) int64 arrays.
        name: the engine's name, for messages.
        temperature: logits are divided by it first.
        tolerance: the largest absolute difference allowed.
    Raises:
        ParityError: a probability differs by ``tolerance`` or more, is not finite, or the two runs differ by as much.
    """
    worst, same_labels, texts = 0.0, True, 0
    for batch, live in zip(batches, expected, strict=True):
        for answer in (engine.run(batch), engine.run(batch)):
            found = softmax(answer / temperature)
            difference = float(np.abs(found - live).max())
            worst = max(worst, difference if np.isfinite(difference) else np.inf)
            same_labels &= bool((found.argmax(axis=1) == live.argmax(axis=1)).all())
        texts += len(batch)
    if not worst < tolerance:
        raise ParityError(
            f"the engine {name!r} differs from the live model by {worst:.2e} in a probability ({texts} texts); legal: below "
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
