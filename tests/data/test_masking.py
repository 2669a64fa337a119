"""Hidden tokens: how many, which, and what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_embtune.data.masking import MaskingPolicy, mask_tokens

SPARED = np.zeros(100, dtype=bool)
SPARED[:5] = True


def batch(rows: int = 400, width: int = 50, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, 100, (rows, width))
    ids[:, 0] = 2
    ids[:, -5:] = 0
    return ids


def draws(ids: np.ndarray, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((3, *ids.shape))


def test_shares_are_those_of_the_paper() -> None:
    ids = batch()
    masked = mask_tokens(ids, draws(ids), MaskingPolicy(4, SPARED))
    free = ~SPARED[ids]
    assert len(masked.places) / free.sum() == pytest.approx(0.15, abs=0.01)
    now = masked.ids.reshape(-1)[masked.places]
    assert (now == 4).mean() == pytest.approx(0.8, abs=0.02)
    assert (now == masked.tokens).mean() == pytest.approx(0.1, abs=0.02)
    assert not SPARED[now[now != 4]].any()


def test_the_rest_stays_and_the_answers_are_what_stood_there() -> None:
    ids = batch()
    masked = mask_tokens(ids, draws(ids), MaskingPolicy(4, SPARED))
    np.testing.assert_array_equal(masked.tokens, ids.reshape(-1)[masked.places])
    same = np.ones(ids.size, dtype=bool)
    same[masked.places] = False
    np.testing.assert_array_equal(masked.ids.reshape(-1)[same], ids.reshape(-1)[same])
    assert not SPARED[masked.tokens].any()


def test_one_token_at_least_is_hidden() -> None:
    ids = np.array([[2, 7, 8, 3]])
    masked = mask_tokens(ids, np.full((3, 1, 4), 0.99), MaskingPolicy(4, SPARED))
    assert masked.tokens.tolist() == [7]


def test_nothing_to_hide() -> None:
    masked = mask_tokens(np.array([[2, 3, 0]]), np.zeros((3, 1, 3)), MaskingPolicy(4, SPARED))
    assert masked.places.size == 0
