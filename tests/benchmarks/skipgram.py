"""Skip-gram against gensim on one thread: running tokens a second, and the loss on texts that neither has seen.

Both with width 128, window 5, 5 negatives, tokens of 2 occurrences or more, subsampling at 0.001 and the rates that are usual
for each; words with n-grams of 1 to 3 characters in 131,072 rows. Runs alternate, and each figure is the least of 2 in seconds
of this process. The loss is that of a pair with the negatives' part taken exactly, over all tokens, and with the same windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.skipgram import train
from paddlenlp_embtune.text.factory import build_tokenizer

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "unlabelled" / "finance_news.txt"
HELD_OUT, EPOCHS, REPEATS = 300, 3, 2
NGRAMS = {"char": (0, 0), "word": (1, 3)}
Texts = Sequence[Sequence[str]]
Learnt = tuple[dict[str, int], Any, Any, Any]
"""Rows by token, the vectors, those as contexts, and counts."""


def ours(texts: Texts, shortest: int, longest: int) -> Learnt:
    kept: list[Any] = []

    class Learner(train._Learner):
        def vectors(self) -> Any:
            kept.append((self._outer.table[2:], self._corpus.counts[2:]))
            return super().vectors()

    plain, train._Learner = train._Learner, Learner  # type: ignore[misc]
    try:
        found = train.train_skipgram(texts, train.SkipGramConfig(epochs=EPOCHS, shortest=shortest, longest=longest)).vectors
    finally:
        train._Learner = plain  # type: ignore[misc]
    return dict(found.rows), found.table, *kept[0]


def gensim(texts: Texts, shortest: int, longest: int) -> Learnt:
    from gensim.models import FastText, Word2Vec

    same = {"vector_size": 128, "window": 5, "min_count": 2, "sg": 1, "negative": 5, "epochs": EPOCHS, "sample": 1e-3}
    if longest:
        model = FastText(texts, **same, workers=1, seed=0, min_n=shortest, max_n=longest, bucket=1 << 17)
    else:
        model = Word2Vec(texts, **same, workers=1, seed=0)
    rows = model.wv.key_to_index
    return rows, model.wv.vectors, model.syn1neg, np.array([model.wv.get_vecattr(token, "count") for token in rows])


def held_out(texts: Texts, learnt: Learnt) -> float:
    """Return the mean loss of a pair."""
    rows, inner, outer, counts = learnt
    noise = counts.astype(np.float64) ** 0.75
    random, pairs = np.random.default_rng(1), list[tuple[int, int]]()
    for text in texts:
        ids = [rows[token] for token in text if token in rows]
        for at, reach in enumerate(random.integers(1, 6, len(ids)).tolist()):
            near = range(max(0, at - reach), min(len(ids), at + reach + 1))
            pairs += [(ids[at], ids[other]) for other in near if other != at]
    one, other = np.array(pairs).T
    total = float(np.logaddexp(0, -(inner[one] * outer[other]).sum(axis=1, dtype=np.float64)).sum())
    used, times = np.unique(one, return_counts=True)
    for at in range(0, len(used), 500):
        centres = used[at : at + 500]
        far = np.logaddexp(0, inner[centres].astype(np.float64) @ outer.T) @ (noise / noise.sum())
        total += 5 * float(far @ times[at : at + 500])
    return total / len(pairs)


def main() -> None:
    if not DATA.is_file():
        print(f"skipgram: skipped, {DATA} is absent")
        return
    lines = DATA.read_text(encoding="utf-8").splitlines()
    ways: dict[str, Callable[[Texts, int, int], Learnt]] = {"ours": ours, "gensim": gensim}
    print("| tokens | ours, tokens/s | gensim, tokens/s | ours / gensim | held-out loss: ours | gensim |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, ngrams in NGRAMS.items():
        cut = list(map(build_tokenizer(name, texts=lines[HELD_OUT:], min_count=2).tokens, lines))
        running = sum(map(len, cut[HELD_OUT:])) * EPOCHS
        seconds, losses = dict.fromkeys(ways, float("inf")), dict[str, float]()
        for _ in range(REPEATS):
            for way, learn in ways.items():
                began = time.process_time()
                learnt = learn(cut[HELD_OUT:], *ngrams)
                seconds[way] = min(seconds[way], time.process_time() - began)
                losses[way] = held_out(cut[:HELD_OUT], learnt)
        speeds = [running / seconds[way] for way in ways]
        figures = f"{speeds[0]:,.0f} | {speeds[1]:,.0f} | {speeds[0] / speeds[1]:.2f}"
        print(f"| {name} | {figures} | {losses['ours']:.3f} | {losses['gensim']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
