"""Outliers against the paper's own definition, pair by pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.embeddings.metrics._outliers import detect_outliers
from paddlenlp_embtune.errors import VectorError

Table = npt.NDArray[np.float32]


def drawn(count: int, *, seed: int, about: float = 0.0) -> Table:
    return (np.random.default_rng(seed).normal(size=(count, 5)) + about).astype(np.float32)


def compactness(words: Table) -> float:
    """Mean cosine of all pairs: equation 1."""
    unit = words.astype(np.float64) / np.linalg.norm(words.astype(np.float64), axis=1, keepdims=True)
    return float(np.mean([one @ other for one, other in combinations(unit, 2)]))


@pytest.mark.parametrize("seed", range(5))
def test_places_are_those_of_the_compactness_of_the_rest(seed: int) -> None:
    members, outliers = drawn(4, seed=seed, about=0.5), drawn(6, seed=seed + 100)
    places = []
    for outlier in outliers:
        together = np.concatenate([members, outlier[None]])
        scores = [compactness(np.delete(together, place, axis=0)) for place in range(len(together))]
        places.append(sum(score < scores[-1] for score in scores[:-1]))
    found = detect_outliers(members, outliers)
    assert found.tests == len(outliers)
    assert found.accuracy == pytest.approx(np.mean([place == len(members) for place in places]))
    assert found.position == pytest.approx(np.mean(places) / len(members))


def test_what_lies_apart_is_found_and_what_lies_among_them_is_not() -> None:
    members = np.array([[1, 0.1], [1, 0], [1, -0.1]], np.float32)
    assert detect_outliers(members, np.array([[0, 1]], np.float32)).accuracy == 1
    inside = detect_outliers(members, np.array([[2, 0]], np.float32))
    assert (inside.accuracy, inside.position) == (0, 0)


@pytest.mark.parametrize(("members", "outliers"), [(1, 1), (2, 0)])
def test_too_few_of_one_kind_are_refused(members: int, outliers: int) -> None:
    with pytest.raises(VectorError, match=f"{members} members and {outliers} outliers; expected two or more, and one or more"):
        detect_outliers(drawn(members, seed=0), drawn(outliers, seed=1))
