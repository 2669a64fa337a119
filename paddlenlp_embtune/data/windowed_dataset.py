"""Long texts in training as in serving: read in windows with the label of their text, evaluated as whole texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.data.dataset import EncodedDataset, compact, joined_weights
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.inference import SINGLE, LabelKind
from paddlenlp_embtune.text import TokenizedTexts, Tokenizer, WindowSpec, tokenize_texts

__all__ = ["WindowedDataset", "dataset_from_tokenized", "encode_texts"]


class WindowedDataset(EncodedDataset):
    """Texts in windows, as the bundle reads them; a row is a window and has the label of its text.

    An epoch of training takes one window of each text and the next one in the next epoch, so that a text counts once however
    long it is, as it does in the metrics, and an epoch costs what it costs without windows. Evaluation runs all windows and
    puts their probabilities together as serving does.

    Args:
        tokenized: N texts in W windows.
        truth: N class numbers, or of rows that may have several labels (N, C) of 0 and 1.
        windows: how probabilities are put together.
        kind: of the labels.
        teacher_outputs: what the teacher predicted for each text, by name, (N, ...); shared by its windows.
        weights: (N,) of each text in the loss, above 0, each window's too; None weighs all texts the same.
    """

    def __init__(
        self,
        tokenized: TokenizedTexts,
        truth: Sequence[int],
        windows: WindowSpec,
        *,
        kind: LabelKind = SINGLE,
        teacher_outputs: Mapping[str, npt.NDArray[Any]] | None = None,
        weights: Sequence[float] | npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.counts = np.diff(tokenized.first)
        repeated = np.repeat(np.asarray(truth, dtype=np.int64), self.counts, axis=0)
        labels: Any = repeated if kind.several else repeated.tolist()
        by_window = {name: values.repeat(self.counts, axis=0) for name, values in (teacher_outputs or {}).items()}
        of_windows = None if weights is None else np.repeat(np.asarray(weights), self.counts)
        super().__init__(tokenized.ids, labels, teacher_outputs=by_window, weights=of_windows)
        self.tokenized = tokenized
        self.windows = windows
        self.kind = kind
        self._truth = truth

    @property
    def truth(self) -> Sequence[int]:
        """Class numbers of the N texts."""
        return self._truth

    @property
    def text_weights(self) -> npt.NDArray[np.float32] | None:
        """Weights of the N texts."""
        return None if self.weights is None else self.weights[self.tokenized.first[:-1]]

    def epoch_rows(self, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Number of the window that an epoch takes of each text, (N,): all of them in turn, from one that the seed chooses."""
        begin = np.random.default_rng(seed).integers(0, self.counts)
        rows: npt.NDArray[np.int64] = self.tokenized.first[:-1] + (begin + epoch) % self.counts
        return rows

    def with_soft_targets(self, others: EncodedDataset, teacher_outputs: Mapping[str, npt.NDArray[Any]]) -> WindowedDataset:
        """Return the texts followed by others of weight 1, with what a teacher predicted for all of them in this order."""
        more = (
            others.tokenized if isinstance(others, WindowedDataset) else TokenizedTexts(others.ids, np.arange(len(others) + 1))
        )
        first = np.concatenate([self.tokenized.first, more.first[1:] + len(self)])
        truth = [*self._truth, *others.truth]
        return WindowedDataset(
            TokenizedTexts([*self.ids, *compact(more.ids)], first),
            truth,
            self.windows,
            teacher_outputs=teacher_outputs,
            weights=joined_weights(self.text_weights, len(others.truth)),
        )

    def by_length(self) -> WindowedDataset:
        """Return the same texts, those with the shortest windows first; the windows of a text stay together.

        For evaluation: the teacher's outputs are dropped.
        """
        first = self.tokenized.first
        order = np.argsort(np.maximum.reduceat(self.lengths, first[:-1]), kind="stable")
        ids = [self.ids[row] for text in order for row in range(first[text], first[text + 1])]
        tokenized = TokenizedTexts(ids, np.cumsum([0, *self.counts[order]], dtype=np.int64))
        weights = None if self.text_weights is None else self.text_weights[order]
        truth: Any = [self._truth[text] for text in order]
        return WindowedDataset(tokenized, truth, self.windows, kind=self.kind, weights=weights)

    def by_text(
        self, logits: npt.NDArray[np.float32], labels: Sequence[int] | npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Make one row of each text's windows: logarithms of the probabilities that serving gives at temperature 1.

        Args:
            logits: of the windows in order, or of the first ones alone; a text of which only some are there is judged by these.
            labels: class numbers of those windows.
        Shapes:
            logits: (M, C) float32, M at most W; labels: (M,); returns: (K, C) float32 and (K,) int64, of the texts that those
            windows belong to
        Raises:
            HostError: they are not in this order.
        """
        seen = len(logits)
        if not np.array_equal(labels, self.labels[:seen]):
            raise HostError(
                f"{seen} answers of the Trainer are not in the order of the {len(self)} windows that it evaluates, so they "
                "cannot be put together to answers for whole texts; leave the evaluation rows as they are, or set text.windows "
                "to null"
            )
        starts = self.tokenized.first[self.tokenized.first < seen]
        part = TokenizedTexts(self.ids[:seen], np.append(starts, seen))
        probabilities, _ = self.kind.combine(logits.astype(np.float32), part, windows=self.windows)
        return self.kind.logits(probabilities), np.asarray(labels, dtype=np.int64)[starts]


def encode_texts(
    texts: Sequence[str], truth: Sequence[int], tokenizer: Tokenizer, *, max_length: int, windows: WindowSpec | None
) -> EncodedDataset:
    """Turn labelled texts into the ids that the bundle will get of them.

    Args:
        texts: N texts.
        truth: N class numbers.
        tokenizer: the model's.
        max_length: the most ids of a row.
        windows: how longer texts are read; None cuts them.
    Raises:
        TypeError: something is not a text; the message gives its index.
    """
    return dataset_from_tokenized(
        tokenize_texts(texts, tokenizer, max_length=max_length, windows=windows), truth, windows=windows
    )


def dataset_from_tokenized(
    tokenized: TokenizedTexts,
    truth: Sequence[int],
    *,
    windows: WindowSpec | None,
    weights: Sequence[float] | None = None,
    kind: LabelKind = SINGLE,
) -> EncodedDataset:
    """Put class numbers beside texts that have been turned into ids.

    Args:
        tokenized: N texts.
        truth: N class numbers.
        windows: how longer texts were read; None if they were cut.
        weights: N weights in the loss, above 0; None weighs all texts the same.
        kind: of the labels.
    """
    if windows is not None:
        return WindowedDataset(tokenized, truth, windows, kind=kind, weights=weights)
    return EncodedDataset(tokenized.ids, truth, weights=weights, cut=len(tokenized.cut))
