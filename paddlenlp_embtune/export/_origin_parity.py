"""The proof against the origin: our model on our tokenizer's ids answers as PaddleNLP's on those of its own tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import ParityRecord
from paddlenlp_embtune.errors import ParityError
from paddlenlp_embtune.export.parity import TOLERANCE
from paddlenlp_embtune.inference import softmax
from paddlenlp_embtune.text import Tokenizer, pad

paddle = compat.require_paddle()

__all__ = ["ORIGIN", "verify_origin"]

ORIGIN = "paddlenlp"
"""What the proof is called among those of the engines."""

_ROWS = 8
_MASKED = "[PAD]"

Inputs = Mapping[str, npt.NDArray[np.int64]]
Probabilities = npt.NDArray[np.float32]


def verify_origin(
    model: Any,
    tokenizer: Tokenizer,
    encode: Callable[..., Mapping[str, list[int]]],
    *,
    texts: Sequence[str],
    max_length: int,
    source: str,
    tolerance: float = TOLERANCE,
) -> ParityRecord:
    """Compare answers with those of PaddleNLP's model, fed as PaddleNLP's tokenizer feeds it.

    Args:
        model: our layer around PaddleNLP's network, which is called as it is for the origin.
        tokenizer: ours.
        encode: PaddleNLP's tokenizer.
        texts: those without a token of their own are left out, for they get no answer.
        max_length: the most tokens of a text.
        source: where the checkpoint is, for messages.
        tolerance: the largest absolute difference of a probability that is allowed.
    Raises:
        ParityError: a probability differs by ``tolerance`` or more; the message shows the text.
    """
    rows = [(text, tokenizer.encode(text, max_length=max_length)) for text in dict.fromkeys(texts)]
    # Texts of like length side by side, so that there is little padding, but some.
    rows = sorted((row for row in rows if row[1]), key=lambda row: len(row[1]))
    worst, same_labels, batches = 0.0, True, 0
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        ours = _answers(model, {"input_ids": pad([ids for _, ids in part])})
        theirs = _answers(model.network, _batch(encode, [text for text, _ in part], max_length))
        differences = np.abs(ours - theirs).max(axis=1)
        batches += 1
        worst = max(worst, float(differences.max()) if np.isfinite(differences).all() else np.inf)
        same_labels &= bool((ours.argmax(axis=1) == theirs.argmax(axis=1)).all())
        if not worst < tolerance:
            text = part[int(np.nan_to_num(differences, nan=np.inf).argmax())][0]
            raise ParityError(
                f"PaddleNLP's own model of {source} answers {text[:80]!r} otherwise: a probability differs by {worst:.2e}, "
                f"allowed below {tolerance:.0e}; nothing was written; report the checkpoint that does it"
            )
    return ParityRecord(
        max_probability_difference=worst, tolerance=tolerance, texts=len(rows), batches=batches, same_labels=same_labels
    )


def _batch(encode: Callable[..., Mapping[str, list[int]]], texts: Sequence[str], max_length: int) -> Inputs:
    """What PaddleNLP's tokenizer and its padding make of texts: ids, segments and, where no text spells padding, the mask."""
    encoded = [dict(encode(text, max_length=max_length, truncation=True)) for text in texts]
    names = [name for name in encoded[0] if name in ("input_ids", "token_type_ids")]
    batch = {name: pad([row[name] for row in encoded]) for name in names}
    if not any(_MASKED in text for text in texts):
        # PaddleNLP masks ids of padding where no mask is given, so both ways must agree for all other texts.
        batch["attention_mask"] = pad([[1] * len(row["input_ids"]) for row in encoded])
    return batch


def _answers(network: Any, inputs: Inputs) -> Probabilities:
    """Probabilities in evaluation mode."""
    with paddle.no_grad():
        found = network(**{name: paddle.to_tensor(value) for name, value in inputs.items()})
    return softmax(found.numpy())
