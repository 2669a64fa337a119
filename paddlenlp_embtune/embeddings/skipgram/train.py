"""Training token vectors on unlabelled texts: skip-gram with negative sampling and subwords."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from paddlenlp_embtune.embeddings.init.coverage import Coverage
from paddlenlp_embtune.embeddings.init.from_vectors import initialize_from_vectors
from paddlenlp_embtune.embeddings.io.fasttext import Subwords
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.skipgram._corpus import Corpus, read_corpus
from paddlenlp_embtune.embeddings.skipgram._step import Array, Batch, Gradients, Parts, Rows, gradients, sums_by_row
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.text import Vocabulary
from paddlenlp_embtune.utils.schema import check_types, require

__all__ = ["SkipGramConfig", "SkipGramResult", "train_skipgram"]

# By hand: 0.75 to 0.96 times gensim's speed, but the same seed gives the same rows, bit for bit.
_START_RMS = 0.25
_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkipGramConfig:
    """Training options.

    Args:
        width: values of a vector, D.
        epochs: passes over the texts.
        window: maximum distance between a token and its context; drawn from 1 to this for each token.
        negatives: negative samples per pair, drawn by counts to the power of 0.75.
        min_count: rarer tokens are dropped from the texts.
        subsample: a token whose share of the texts is f is passed over with the chance 1 - sqrt(t / f) - t / f; 0 keeps all.
        learning_rate: the first learning rate, falling to 0 in a straight line.
        shortest, longest: characters of the n-grams of a token between ``<`` and ``>`` that share in its vector; 0 and 0 for
            none, as for characters, which have no parts.
        buckets: rows for n-grams, which are found by a hash.
        seed: seeds what is drawn.
    """

    width: int = 128
    epochs: int = 5
    window: int = 5
    negatives: int = 5
    min_count: int = 2
    subsample: float = 1e-3
    learning_rate: float = 1.0
    shortest: int = 0
    longest: int = 0
    buckets: int = 1 << 17
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, where="skipgram", error=VectorError)
        refuse = functools.partial(require, error=VectorError)
        for name in ("width", "epochs", "window", "negatives", "min_count", "buckets"):
            refuse(getattr(self, name) >= 1, f"skipgram.{name}", getattr(self, name), "1 or more")
        refuse(self.learning_rate > 0, "skipgram.learning_rate", self.learning_rate, "above 0")
        refuse(0 <= self.subsample < 1, "skipgram.subsample", self.subsample, "0 to below 1")
        fits = 1 <= self.shortest <= self.longest or self.shortest == self.longest == 0
        both = (self.shortest, self.longest)
        refuse(fits, "skipgram.shortest, skipgram.longest", both, "1 or more and no less than that, or 0 and 0")
        refuse(self.seed >= 0, "skipgram.seed", self.seed, "0 or more")


@dataclasses.dataclass(frozen=True)
class SkipGramResult:
    """The result of training.

    Args:
        vectors: a row for each token, the most frequent first; it composes further words where n-grams were learnt.
        tokens: how many running tokens were learnt from, without rare ones.
        rare: how many different tokens were left out as rare.
        losses: of each epoch, the mean loss of a pair in nats; with a start, that of the epoch for contexts alone comes first.
        started: where the rows of the start came from; None without one.
        seconds: how long training took, without reading the texts.
    """

    vectors: VectorTable
    tokens: int
    rare: int
    losses: tuple[float, ...]
    started: Coverage | None
    seconds: float


def train_skipgram(
    texts: Iterable[Sequence[str]],
    settings: SkipGramConfig | None = None,
    *,
    start: VectorTable | None = None,
    fallbacks: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SkipGramResult:
    """Learn token vectors from their contexts.

    Each token predicts those within its window; its vector is the mean of its own row and those of its n-grams. Rows move by
    AdaGrad in mini-batches of 512 positions, drawn as segments of 32 from anywhere in the texts. The same seed gives the same
    rows, bit for bit, on one machine with one thread.

    Args:
        texts: the tokens of each; windows do not reach from one text into the next. Read once.
        settings: None for the defaults.
        start: vectors to continue from. Tokens found there by ``match_tokens`` start from their rows; the others are drawn at
            random, at the size that training ends with. One extra epoch comes first in which only the context rows learn, as
            untrained ones would drive the other rows away from their start.
        fallbacks: what is tried for tokens that the start lacks, as in ``match_tokens``.
        progress: called with the thousandths of epochs done and the total.
    Raises:
        DataError: too few tokens occur often enough.
        VectorError: a setting is invalid, or the start knows no token.
    Source:
        Mikolov et al. (2013), Distributed Representations of Words and Phrases, section 2; Bojanowski et al. (2017),
        Enriching Word Vectors with Subword Information, section 3
    """
    settings = settings or SkipGramConfig()
    corpus = read_corpus(texts, min_count=settings.min_count)
    began = time.perf_counter()
    random = np.random.default_rng(settings.seed)
    learner = _Learner(corpus, settings, random, start, fallbacks)
    first = 0 if start is None else -1

    def tell(read: float) -> None:
        if progress is not None:
            progress(round(1000 * (read - first)), 1000 * (settings.epochs - first))

    losses = tuple(learner.epoch(epoch, random, tell) for epoch in range(first, settings.epochs))
    vectors = VectorTable(
        {token: row for row, token in enumerate(corpus.vocabulary.tokens[2:])},
        learner.vectors()[2:],
        f"skip-gram over {len(corpus.ids):,} tokens",
        compose=learner.subwords,
    )
    return SkipGramResult(vectors, len(corpus.ids), corpus.rare, losses, learner.started, time.perf_counter() - began)


def _parts(vocabulary: Vocabulary, settings: SkipGramConfig) -> tuple[Parts, Subwords | None]:
    count = len(vocabulary)
    if not settings.longest:
        return Parts(np.arange(count), np.arange(count + 1)), None
    ids = {token: index for token, index in vocabulary.ids.items() if index > 1}
    none = np.zeros((0, settings.width), dtype=np.float32)
    subwords = Subwords(none, ids, count, settings.buckets, settings.shortest, settings.longest)
    rows = [[index, *(subwords.ngram_rows(token) if token in ids else ())] for index, token in enumerate(vocabulary.tokens)]
    first = np.cumsum([0, *map(len, rows)])
    return Parts(np.array([row for own in rows for row in own], dtype=np.int64), first), subwords


class _Learner:
    """The trainable rows, and the training epochs."""

    def __init__(
        self,
        corpus: Corpus,
        settings: SkipGramConfig,
        random: np.random.Generator,
        start: VectorTable | None,
        fallbacks: Sequence[str] | None,
    ) -> None:
        self._corpus, self._settings = corpus, settings
        self.started: Coverage | None = None
        tokens, width = len(corpus.vocabulary), settings.width
        self._parts, subwords = _parts(corpus.vocabulary, settings)
        rows = tokens + (settings.buckets if subwords is not None else 0)
        table = random.uniform(-0.5 / width, 0.5 / width, (rows, width)).astype(np.float32)
        if start is not None:
            first, self.started = initialize_from_vectors(
                corpus.vocabulary, start, rms=_START_RMS, seed=settings.seed, fallbacks=fallbacks, dimension=width
            )
            table[tokens:] = 0.0  # so that the mean of the parts is the row of the start
            table[:tokens] = first * np.diff(self._parts.first)[:, None].astype(np.float32)
        self._inner, self._outer = Rows(table), Rows(np.zeros((tokens, width), dtype=np.float32))
        self.subwords = dataclasses.replace(subwords, matrix=table) if subwords is not None else None

    def vectors(self) -> Array:
        """Return the vector of every token, (V, D)."""
        every = np.arange(len(self._corpus.vocabulary))
        steps = np.split(every, range(_ROWS_AT_ONCE, len(every), _ROWS_AT_ONCE))
        return np.concatenate([self._parts.vectors(step, self._inner.table) for step in steps])

    def epoch(self, epoch: int, random: np.random.Generator, tell: Callable[[float], None]) -> float:
        """Read all texts once; return the mean loss of a pair. In epoch -1 only the rows of contexts learn."""
        settings, loss, pairs = self._settings, 0.0, 0
        drawn = self._corpus.batches(random, window=settings.window, negatives=settings.negatives, subsample=settings.subsample)
        for read, batch in drawn:
            learning_rate = settings.learning_rate * (1.0 - max(0.0, epoch + read) / settings.epochs)
            found = self._step(batch, learning_rate, frozen=epoch < 0)
            loss, pairs = loss + found.loss, pairs + found.pairs
            tell(epoch + read)
        return loss / max(1, pairs)

    def _step(self, batch: Batch, learning_rate: float, *, frozen: bool) -> Gradients:
        tokens, positions = np.unique(batch.centres, return_inverse=True)
        vectors = self._parts.vectors(tokens, self._inner.table)
        found = gradients(batch, vectors[positions.reshape(batch.centres.shape)], self._outer.table)
        width = vectors.shape[1]
        _, own = sums_by_row(positions.reshape(-1), found.centres.reshape(-1, width))
        self._inner.move(*self._parts.spread(tokens, own), learning_rate=0.0 if frozen else learning_rate)
        others = np.concatenate([batch.contexts.reshape(-1), batch.negatives])
        steps = np.concatenate([found.contexts.reshape(-1, width), found.negatives])
        self._outer.move(*sums_by_row(others, steps), learning_rate=learning_rate)
        return found
