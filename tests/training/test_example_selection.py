"""Which examples are kept."""

from __future__ import annotations

from collections import Counter

import numpy as np

from paddlenlp_embtune.bundle import StoredExample
from paddlenlp_embtune.training._example_selection import choose_examples, herded, reservoir


def rows(task: str, count: int, *, labels: int = 2) -> list[StoredExample]:
    return [StoredExample(f"{task}{number}", str(number % labels), task) for number in range(count)]


def test_a_reservoir_gives_every_row_the_same_chance() -> None:
    counts: Counter[str] = Counter()
    for seed in range(3000):
        generator = np.random.default_rng(seed)
        first = reservoir([], rows("a", 6), count=4, seen=0, generator=generator)
        counts.update(each.text for each in reservoir(first, rows("b", 6), count=4, seen=6, generator=generator))
    shares = np.array([counts[f"{task}{number}"] / 3000 for task in "ab" for number in range(6)])
    np.testing.assert_allclose(shares, 4 / 12, atol=0.04)


def test_tasks_and_labels_share_the_room_evenly() -> None:
    first = choose_examples([], rows("a", 50), count=20, selection="by_class", seen=0, seed=0)
    assert Counter(each.label for each in first) == {"0": 10, "1": 10}
    second = choose_examples(first, rows("b", 3), count=20, selection="by_class", seen=50, seed=0)
    assert Counter(each.task for each in second) == {"a": 17, "b": 3}
    third = choose_examples(second, rows("c", 60, labels=3), count=21, selection="by_class", seen=53, seed=0)
    assert Counter((each.task, each.label) for each in third if each.task == "c") == {
        ("c", "0"): 3,
        ("c", "1"): 3,
        ("c", "2"): 3,
    }
    assert {each.text for each in third if each.task == "a"} <= {each.text for each in second}


def test_herding_follows_the_mean_of_the_vectors() -> None:
    vectors = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32) + 1
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    mean, taken = unit.mean(axis=0), list[int]()
    for _ in range(6):
        left = [row for row in range(30) if row not in taken]
        taken.append(min(left, key=lambda row: float(np.linalg.norm(mean - unit[[*taken, row]].mean(axis=0)))))
    assert herded(vectors, 6) == taken


def test_herding_chooses_by_label_and_keeps_its_order() -> None:
    def vectors(texts: object) -> np.ndarray:
        return np.array([[float(text[1:]), 1.0] for text in texts], dtype=np.float32)  # type: ignore[attr-defined]

    kept = choose_examples([], rows("a", 40), count=6, selection="herding", seen=0, seed=0, vectors=vectors)
    fewer = choose_examples(kept, rows("b", 40), count=6, selection="herding", seen=40, seed=0, vectors=vectors)
    for label in "01":
        before = [each.text for each in kept if each.label == label]
        after = [each.text for each in fewer if (each.label, each.task) == (label, "a")]
        assert after == before[: len(after)]
    assert Counter(each.task for each in fewer) == {"a": 3, "b": 3}
