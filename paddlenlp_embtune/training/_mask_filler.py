"""An encoder that guesses masked characters, for the augmentation of training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.data.augmentation import Guesses, MaskFiller
from paddlenlp_embtune.encoders import Pretrained
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.inference import softmax
from paddlenlp_embtune.text import content_ids, pad
from paddlenlp_embtune.training.initialize import pretrained_encoder

__all__ = ["build_mask_filler"]

_MASK = "[MASK]"
_BATCH, _MOST_TOKENS, _LIKELIEST = 32, 256, 8


def build_mask_filler(encoder: str) -> MaskFiller:
    """Return what guesses masked characters with an encoder; nothing is drawn, so it answers the same every time.

    Args:
        encoder: a registered name, PaddleNLP's, or a folder.
    Raises:
        RecipeError: it has no ``[MASK]``, or no head that guesses.
    """
    pretrained = pretrained_encoder(encoder)
    if _MASK not in pretrained.tokenizer.vocabulary or not pretrained.masked_head:
        lacks = f"{_MASK} in its vocabulary" if _MASK not in pretrained.tokenizer.vocabulary else "head that guesses them"
        raise RecipeError(
            f"augmentation.masked needs an encoder that guesses masked tokens, and {pretrained.source} has no {lacks}; "
            "expected a checkpoint of a masked-language model, or a folder of embtune pretrain; or augmentation.masked 0"
        )
    return _Filler(pretrained)


class _Filler:
    """Guesses masked characters in batches of texts of similar length."""

    def __init__(self, pretrained: Pretrained) -> None:
        from paddlenlp_embtune.models import MaskedLanguageModel

        self._tokenizer = pretrained.tokenizer
        self._model = MaskedLanguageModel(pretrained)
        self._model.eval()
        self._most = min(_MOST_TOKENS, pretrained.positions or _MOST_TOKENS)
        self._mask = pretrained.tokenizer.vocabulary.ids[_MASK]
        self._names = pretrained.tokenizer.vocabulary.tokens
        self._characters = np.array(
            [row for row, name in enumerate(self._names) if len(name) == 1 and "\u4e00" <= name <= "\u9fff"], dtype=np.int64
        )

    def __call__(self, texts: Sequence[Sequence[str | None]]) -> list[Guesses]:
        """Return for each masked character the likeliest characters; fewer masks where a text is cut."""
        ids = [self._ids_of(pieces) for pieces in texts]
        found: list[Guesses] = [()] * len(texts)
        order = np.argsort([len(row) for row in ids], kind="stable")
        for start in range(0, len(order), _BATCH):
            numbers = order[start : start + _BATCH]
            for number, guesses in zip(numbers, self._guess(pad([ids[number] for number in numbers])), strict=True):
                found[number] = guesses
        return found

    def _ids_of(self, pieces: Sequence[str | None]) -> list[int]:
        inner: list[int] = []
        for piece in pieces:
            inner += [self._mask] if piece is None else content_ids(self._tokenizer, piece)
        prefix, suffix = self._tokenizer.prefix, self._tokenizer.suffix
        return [*prefix, *inner[: self._most - len(prefix) - len(suffix)], *suffix]

    def _guess(self, batch: npt.NDArray[np.int64]) -> list[list[list[tuple[str, float]]]]:
        import paddle

        rows, columns = np.nonzero(batch == self._mask)
        found: list[list[list[tuple[str, float]]]] = [[] for _ in batch]
        if not len(rows):
            return found
        with paddle.no_grad():
            places: Any = paddle.to_tensor(rows * batch.shape[1] + columns)
            logits = self._model(paddle.to_tensor(batch), places).numpy()[:, self._characters]
        for row, own in zip(rows, softmax(logits), strict=True):
            best = np.argsort(-own, kind="stable")[:_LIKELIEST]
            found[row].append([(self._names[self._characters[place]], round(float(own[place]), 4)) for place in best])
        return found
