"""Skip-gram on small texts made here: gradients against loops, batches against counting, and structure that was planted."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.embeddings.skipgram._corpus import read_corpus
from paddlenlp_embtune.embeddings.skipgram._step import Batch, Parts, Rows, gradients, sums_by_row
from paddlenlp_embtune.embeddings.skipgram.train import SkipGramConfig, SkipGramResult, train_skipgram
from paddlenlp_embtune.errors import DataError, VectorError

WORDS = {side: [f"{side}{number}" for number in range(6)] for side in "ab"}
QUICK = SkipGramConfig(width=16, epochs=8, window=3, subsample=0.0)


def planted(texts: int = 300, seed: int = 0) -> list[list[str]]:
    """Each text is of one side; the word ``both`` is in all of them."""
    random = np.random.default_rng(seed)
    return [
        [*random.choice(WORDS["ab"[number % 2]], 8).tolist(), "both", *random.choice(WORDS["ab"[number % 2]], 4).tolist()]
        for number in range(texts)
    ]


def cosine(trained: SkipGramResult, one: str, other: str) -> float:
    first, second = (trained.vectors.table[trained.vectors.rows[name]] for name in (one, other))
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def drawn_batch(seed: int = 0) -> tuple[Batch, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return a batch of two stretches, vectors of its centres, and those of ten tokens as contexts."""
    random = np.random.default_rng(seed)
    contexts = random.integers(0, 10, (2, 7))
    batch = Batch(contexts[:, 2:-2], contexts, random.random((2, 3, 7)) < 0.4, random.integers(0, 10, 5), 3.0)
    return batch, random.normal(size=(2, 3, 4)).astype(np.float32), random.normal(size=(10, 4)).astype(np.float32)


Floats = npt.NDArray[np.float64]


def slow_loss(batch: Batch, centres: Floats, around: Floats, apart: Floats) -> float:
    """Return the loss of a batch pair by pair; every place and every negative has a vector of its own."""
    total = 0.0
    for stretch, place, other in zip(*np.nonzero(batch.pairs), strict=True):
        centre = centres[stretch, place]
        total += np.log1p(np.exp(-centre @ around[stretch, other]))
        total += batch.ratio * np.mean([np.log1p(np.exp(centre @ vector)) for vector in apart])
    return total


def test_gradients_are_those_of_the_loss_pair_by_pair() -> None:
    batch, centres, output = drawn_batch()
    found = gradients(batch, centres, output)
    given = [centres.astype(np.float64), output[batch.contexts].astype(np.float64), output[batch.negatives].astype(np.float64)]
    assert found.pairs == batch.pairs.sum() > 5
    assert found.loss == pytest.approx(slow_loss(batch, *given), rel=1e-5)
    for array, gradient in zip(given, (found.centres, found.contexts, found.negatives), strict=True):
        assert gradient.dtype == np.float32
        for at in np.ndindex(array.shape):
            kept, ends = array[at], []
            for moved in (1e-5, -1e-5):
                array[at] = kept + moved
                ends.append(slow_loss(batch, *given))
            array[at] = kept
            assert gradient[at] == pytest.approx(-(ends[0] - ends[1]) / 2e-5, abs=2e-5)


def test_gradients_of_vectors_that_are_far_too_long_stay_finite() -> None:
    batch, centres, output = drawn_batch()
    found = gradients(batch, centres * 1e6, output)
    assert np.isfinite(found.loss)
    assert all(np.isfinite(part).all() for part in (found.centres, found.contexts, found.negatives))


def test_sums_by_row_add_what_belongs_together() -> None:
    random = np.random.default_rng(0)
    rows, values = random.integers(0, 7, 40), random.normal(size=(40, 3)).astype(np.float32)
    expected = np.zeros((7, 3))
    np.add.at(expected, rows, values)
    found, sums = sums_by_row(rows, values)
    assert found.tolist() == sorted(set(rows.tolist()))
    np.testing.assert_allclose(sums, expected[found], atol=1e-6)


def test_rows_move_by_what_they_have_met() -> None:
    table, slow, squares = np.zeros((3, 2), dtype=np.float32), np.zeros((3, 2)), np.full(3, 4.0)
    rows = Rows(table)
    for number, rate in enumerate((0.5, 0.0, 0.25)):
        step = np.array([[1.0, -2.0], [0.0, 0.5]], dtype=np.float32) * (number + 1)
        rows.move(np.array([0, 2]), step, learning_rate=rate)
        squares[[0, 2]] += (step**2).mean(axis=1)
        slow[[0, 2]] += rate * step / np.sqrt(squares[[0, 2]])[:, None]
    np.testing.assert_allclose(table, slow, rtol=1e-5)
    assert not table[1].any()


def test_parts_are_averaged_and_hand_their_steps_on() -> None:
    parts = Parts(np.array([0, 3, 4, 1, 2, 3, 3]), np.array([0, 3, 4, 7]))
    table = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    tokens = np.array([2, 0])
    np.testing.assert_allclose(parts.vectors(tokens, table), [table[[2, 3, 3]].mean(0), table[[0, 3, 4]].mean(0)], rtol=1e-5)
    rows, steps = parts.spread(tokens, np.array([[3.0, 0.0], [0.0, 6.0]], dtype=np.float32))
    assert rows.tolist() == [0, 2, 3, 4]
    np.testing.assert_allclose(steps, [[0, 2], [1, 0], [2, 2], [0, 2]], rtol=1e-6)


def test_batches_hold_every_pair_of_neighbours_once_and_none_across_texts() -> None:
    texts = [[f"{number}.{place}" for place in range(3 + number % 60)] for number in range(70)]
    corpus = read_corpus(texts, min_count=1)
    names, found = corpus.vocabulary.tokens, Counter[tuple[str, str]]()
    batches = corpus.batches(np.random.default_rng(0), window=1, negatives=5, subsample=0.0)
    shares = []
    for share, batch in batches:
        shares.append(share)
        for stretch, place, other in zip(*np.nonzero(batch.pairs), strict=True):
            found[names[batch.centres[stretch, place]], names[batch.contexts[stretch, other]]] += 1
    expected = [pair for text in texts for one, two in itertools.pairwise(text) for pair in ((one, two), (two, one))]
    assert found == Counter(expected)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_windows_are_drawn_evenly_and_negatives_by_counts() -> None:
    corpus = read_corpus([["x"] * 16000, ["y"] * 1000], min_count=1)
    distances, negatives = Counter[int](), Counter[int]()
    for _, batch in corpus.batches(np.random.default_rng(0), window=3, negatives=5, subsample=0.0):
        _, places, others = np.nonzero(batch.pairs)
        distances.update(np.abs(others - 3 - places).tolist())
        negatives.update(batch.negatives.tolist())
    assert [distances[far] / distances[1] for far in (1, 2, 3)] == pytest.approx([1, 2 / 3, 1 / 3], abs=0.02)
    assert set(distances) == {1, 2, 3}
    assert negatives[corpus.vocabulary.ids["x"]] / negatives.total() == pytest.approx(8 / 9, abs=0.03)


def test_frequent_tokens_are_passed_over_and_rare_ones_left_out() -> None:
    text = [word for number in range(1000) for word in ("the", "the", "the", f"w{number % 50}")]
    corpus = read_corpus([[*text, "once"], ["once more"]], min_count=2)
    assert (corpus.rare, len(corpus.ids), "once" in corpus.vocabulary) == (2, 4000, False)
    centres = Counter[str]()
    for _, batch in corpus.batches(np.random.default_rng(0), window=2, negatives=5, subsample=2e-2):
        centres.update(corpus.vocabulary.tokens[number] for number in batch.centres[batch.pairs.any(axis=2)].tolist())
    ratio = 2e-2 / (3000 / 4000)
    assert centres["the"] / 3000 == pytest.approx(np.sqrt(ratio) + ratio, abs=0.03)
    assert centres.total() - centres["the"] == 1000


def test_what_shares_contexts_comes_close_and_what_does_not_stays_apart() -> None:
    told: list[tuple[int, int]] = []
    trained = train_skipgram(planted(), QUICK, progress=lambda done, total: told.append((done, total)))
    assert trained.losses[-1] < trained.losses[0]
    within = [cosine(trained, one, two) for names in WORDS.values() for one in names for two in names if one < two]
    across = [cosine(trained, one, two) for one in WORDS["a"] for two in WORDS["b"]]
    assert min(within) > max(across) + 0.3
    assert told[-1] == (8000, 8000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert (trained.tokens, trained.rare, trained.started, trained.vectors.compose) == (13 * 300, 0, None, None)
    counts = Counter(token for text in planted() for token in text)
    assert [counts[name] for name in trained.vectors.rows] == sorted(counts.values(), reverse=True)


def test_texts_without_structure_give_none() -> None:
    random = np.random.default_rng(0)
    names = [name for side in WORDS.values() for name in side]
    trained = train_skipgram([random.choice(names, 13).tolist() for _ in range(300)], QUICK)
    within = [cosine(trained, one, two) for names in WORDS.values() for one in names for two in names if one < two]
    across = [cosine(trained, one, two) for one in WORDS["a"] for two in WORDS["b"]]
    assert abs(np.mean(within) - np.mean(across)) < 0.1


def test_a_seed_gives_the_same_rows() -> None:
    settings = SkipGramConfig(width=8, epochs=1, shortest=1, longest=2, buckets=50)
    first, again = (train_skipgram(iter(planted(100)), settings).vectors.table for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = train_skipgram(planted(100), SkipGramConfig(width=8, epochs=1, shortest=1, longest=2, buckets=50, seed=1))
    assert not np.array_equal(first, other.vectors.table)


def test_ngrams_share_in_a_vector_and_compose_words_that_were_not_seen() -> None:
    texts = [[{"a": "公司", "b": "天气"}[word[0]] + word[1:] for word in text if word != "both"] for text in planted()]
    settings = SkipGramConfig(width=16, epochs=4, window=3, subsample=0.0, shortest=1, longest=3, buckets=1000)
    trained = train_skipgram(texts, settings)
    compose = trained.vectors.compose
    assert compose is not None
    for name, row in trained.vectors.rows.items():
        known = compose(name)
        assert known is not None
        np.testing.assert_allclose(known, trained.vectors.table[row], atol=1e-5)
    unseen = compose("公司9")
    assert unseen is not None
    table, rows = trained.vectors.table, trained.vectors.rows
    alike = table @ unseen / np.linalg.norm(table, axis=1)
    assert min(alike[row] for name, row in rows.items() if "公司" in name) > max(
        alike[row] for name, row in rows.items() if "天气" in name
    )


@pytest.mark.parametrize("longest", [0, 2])
def test_training_goes_on_from_vectors(longest: int) -> None:
    names = [*WORDS["a"], *WORDS["b"][:3]]
    given = np.random.default_rng(3).normal(size=(len(names), 16)).astype(np.float32)
    start = VectorTable({name.upper(): row for row, name in enumerate(names)}, given, "given")
    settings = SkipGramConfig(width=16, epochs=1, learning_rate=1e-7, shortest=int(longest > 0), longest=longest, buckets=100)
    trained = train_skipgram(planted(), settings, start=start)
    rows = np.stack([trained.vectors.table[trained.vectors.rows[name]] for name in names])
    ratio = np.linalg.norm(rows) / np.linalg.norm(given)
    np.testing.assert_allclose(rows, given * ratio, atol=1e-3)
    assert trained.started is not None
    assert (trained.started.source, set(trained.started.missing)) == ("given", {"both", *WORDS["b"][3:]})
    assert len(trained.losses) == 2
    moved = train_skipgram(planted(), QUICK, start=start)
    assert cosine(moved, "a0", "a1") > cosine(moved, "a0", "b1") + 0.3


def test_a_start_of_another_width_is_brought_to_this_one() -> None:
    start = VectorTable({"a0": 0, "a1": 1}, np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32), "narrow")
    assert train_skipgram(planted(100), SkipGramConfig(width=8, epochs=1), start=start).vectors.dimension == 8
    with pytest.raises(VectorError, match="none of the 13 tokens"):
        train_skipgram(planted(100), start=VectorTable({"z": 0}, np.ones((1, 5), dtype=np.float32), "other"))


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        ([], "of 0 texts with 0 running tokens"),
        ([["a", "b"]], r"0 different ones; the most frequent occurs 1 times\); expected 1,000 or more"),
        ([["a"] * 5000], "1 different ones; the most frequent occurs 5,000 times"),
        ([["[PAD]", "[UNK]"] * 5000], "0 are of tokens"),
    ],
)
def test_too_little_text_is_refused(texts: list[list[str]], part: str) -> None:
    with pytest.raises(DataError, match=part):
        train_skipgram(texts)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"learning_rate": float("inf")}, "skipgram.learning_rate must be a finite number"),
        ({"width": 0}, "skipgram.width must be 1 or more, got 0"),
        ({"window": 0}, "window"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"subsample": 1.0}, "0 to below 1"),
        ({"shortest": 3, "longest": 2}, "skipgram.shortest, skipgram.longest"),
        ({"longest": 2}, "skipgram.shortest, skipgram.longest"),
        ({"seed": -1}, "seed"),
        ({"epochs": "many"}, "epochs"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], part: str) -> None:
    with pytest.raises(VectorError, match=part):
        SkipGramConfig(**settings)  # type: ignore[arg-type]
