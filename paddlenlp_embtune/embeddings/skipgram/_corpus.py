"""The training corpus of skip-gram: token ids, and mini-batches of an epoch."""

from __future__ import annotations

import dataclasses
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.skipgram._step import Batch, Ids
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import Vocabulary

__all__ = ["Corpus", "read_corpus"]

_STRETCH, _STRETCHES, _SHARED = 32, 16, 64
_MIN_TOKENS = 1000
_NO_TEXT = -1
_SPECIAL = 2


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Texts as one sequence of token ids.

    Args:
        vocabulary: V tokens, padding and unknown first, which do not occur in the texts.
        ids: (N,) the token at each position.
        numbers: (N,) the text of each position.
        counts: (V,) occurrences of each token.
        rare: number of distinct tokens that were dropped.
    """

    vocabulary: Vocabulary
    ids: Ids
    numbers: Ids
    counts: Ids
    rare: int

    def batches(
        self, random: np.random.Generator, *, window: int, negatives: int, subsample: float
    ) -> Iterator[tuple[float, Batch]]:
        """Read all texts once; yield the progress after each batch (0 to 1), and the batch.

        Args:
            random: draws what is passed over, the order, windows and negatives.
            window: maximum distance between a token and its context; drawn from 1 to this for each token.
            negatives: of each pair.
            subsample: what share of the texts a token may have before some of it is passed over; 0 keeps all.
        """
        ids, numbers = self._drawn(random, subsample)
        count = -(-len(ids) // _STRETCH)
        after = count * _STRETCH - len(ids) + window
        reach = np.pad(random.integers(1, window + 1, len(ids)), (window, after))
        ids, numbers = np.pad(ids, (window, after)), np.pad(numbers, (window, after), constant_values=_NO_TEXT)
        around = np.arange(_STRETCH + 2 * window)
        apart = np.abs(around[None, :] - window - np.arange(_STRETCH)[:, None])
        noise = self._noise()
        order = random.permutation(count) * _STRETCH
        for at in range(0, count, _STRETCHES):
            positions = order[at : at + _STRETCHES, None] + around
            contexts, texts = ids[positions], numbers[positions]
            own = texts[:, window:-window, None]
            pairs = (apart > 0) & (apart <= reach[positions][:, window:-window, None]) & (own == texts[:, None, :])
            pairs &= own != _NO_TEXT
            drawn = np.searchsorted(noise, random.random(_SHARED), side="right")
            yield min(1.0, (at + _STRETCHES) / count), Batch(contexts[:, window:-window], contexts, pairs, drawn, negatives)

    def _drawn(self, random: np.random.Generator, subsample: float) -> tuple[Ids, Ids]:
        """Randomly skip frequent tokens, so that windows reach further."""
        if not subsample:
            return self.ids, self.numbers
        ratio = subsample * len(self.ids) / np.maximum(self.counts, 1)
        kept = random.random(len(self.ids)) < (np.sqrt(ratio) + ratio)[self.ids]
        return self.ids[kept], self.numbers[kept]

    def _noise(self) -> npt.NDArray[np.float64]:
        """Return the cumulative probability of drawing each token."""
        total = np.cumsum(self.counts.astype(np.float64) ** 0.75)
        shares: npt.NDArray[np.float64] = total / total[-1]
        return shares


def read_corpus(texts: Iterable[Sequence[str]], *, min_count: int) -> Corpus:
    """Assign ids to tokens as they occur, so that the texts are read once and kept as ids only.

    Args:
        texts: the tokens of each.
        min_count: rarer tokens are dropped from the texts.
    Raises:
        DataError: too few tokens occur often enough.
    """
    seen: dict[str, int] = {}
    running, lengths = array("i"), array("i")
    for text in texts:
        running.extend([seen.setdefault(token, len(seen)) for token in text])
        lengths.append(len(text))
    found = np.array(running, dtype=np.int64)
    counts = dict(zip(seen, np.bincount(found, minlength=len(seen)).tolist(), strict=True))
    vocabulary = Vocabulary.from_counts(Counter(counts), min_count=min_count)
    # A text may contain the names of padding and unknown; these are not learned.
    new = np.array([vocabulary.ids.get(token, 0) for token in seen], dtype=np.int64)
    ids = new[found]
    kept = ids >= _SPECIAL
    ids, numbers = ids[kept], np.repeat(np.arange(len(lengths)), np.array(lengths, dtype=np.int64))[kept]
    different = len(vocabulary) - _SPECIAL
    if len(ids) < _MIN_TOKENS or different < 2:
        top_count = max(counts.values(), default=0)
        raise DataError(
            f"of {len(lengths):,} texts with {len(found):,} running tokens, {len(ids):,} are of tokens that occur {min_count} "
            f"times or more ({different:,} different ones; the most frequent occurs {top_count:,} times); expected "
            f"{_MIN_TOKENS:,} or more of two or more; give more texts, or a lower min_count"
        )
    return Corpus(vocabulary, ids, numbers, np.bincount(ids, minlength=len(vocabulary)), len(seen) - different)
