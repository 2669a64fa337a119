"""New rows in an old table: old rows stay, new ones are means of their pieces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.init import extend_table
from paddlenlp_embtune.embeddings.metrics import row_norms

Table = npt.NDArray[np.float32]
TOKENS = ("[PAD]", "[UNK]", "降", "准", "息", "涨", "停")


def table(rows: int = 7, width: int = 12) -> Table:
    found = np.random.default_rng(0).normal(0.3, 0.1, (rows, width)).astype(np.float32)
    found[0] = 0
    return found


def test_old_rows_stay_bit_for_bit_and_new_ones_point_where_their_pieces_do() -> None:
    old = table()
    copy = old.copy()
    found, coverage = extend_table(old, [[2, 3], [5, 6, 6]], terms=["降准", "涨停停"], tokens=TOKENS)
    assert found.dtype == np.float32
    assert found[:7].tobytes() == copy.tobytes() == old.tobytes()
    for row, pieces in ((7, [2, 3]), (8, [5, 6, 6])):
        mean = old[pieces].mean(axis=0)
        size = row_norms(old[pieces]).mean()
        np.testing.assert_allclose(found[row], mean * size / np.linalg.norm(mean), rtol=1e-5)
    assert coverage.origins == ("mean of pieces", "mean of pieces")
    assert coverage.sources == (("降", "准"), ("涨", "停", "停"))
    assert (coverage.found, coverage.approximated, coverage.missing) == (0.0, 1.0, ())
    assert coverage.examples() == {"mean of pieces": ["降准 <- 降 准", "涨停停 <- 涨 停 停"]}


def test_a_plain_mean_on_request() -> None:
    found, _ = extend_table(table(), [[2, 3, 4]], keep_norm=False)
    np.testing.assert_allclose(found[7], table()[[2, 3, 4]].mean(axis=0), rtol=1e-6)


def test_padding_unknown_and_zero_rows_are_no_pieces() -> None:
    old = table()
    old[4] = 0
    found, coverage = extend_table(old, [[0, 1, 2, 4]], terms=["降"], tokens=TOKENS)
    np.testing.assert_allclose(found[7], old[2], rtol=1e-5)
    assert coverage.sources == (("降",),)
    other, _ = extend_table(old, [[1, 2]], excluded=[0])
    assert not np.allclose(other[7], old[2])


def test_terms_without_a_piece_are_drawn_like_the_other_rows() -> None:
    generator = np.random.default_rng(1)
    old = generator.normal(np.linspace(-1, 1, 8), np.linspace(0.2, 2, 8), (3000, 8)).astype(np.float32)
    old[0], old[1] = 0, 1000
    terms = [f"t{number}" for number in range(2000)]
    found, coverage = extend_table(old, [[]] * 1999 + [[0, 1]], terms=terms)
    assert coverage.counts() == {"sampled": 2000}
    assert coverage.missing == tuple(terms)
    np.testing.assert_allclose(found[3000:].mean(axis=0), old[2:].mean(axis=0), atol=0.2)
    np.testing.assert_allclose(found[3000:].std(axis=0), old[2:].std(axis=0), rtol=0.1)
    np.testing.assert_array_equal(found, extend_table(old, [[]] * 2000)[0])
    assert not np.array_equal(found, extend_table(old, [[]] * 2000, seed=1)[0])


def test_pieces_that_cancel_out_are_drawn() -> None:
    old = table()
    old[3] = -old[2]
    found, coverage = extend_table(old, [[2, 3]], terms=["降准"])
    assert coverage.origins == ("sampled",)
    assert found[7].any()


def test_nothing_to_add_changes_nothing() -> None:
    found, coverage = extend_table(table(), [])
    np.testing.assert_array_equal(found, table())
    assert coverage.origins == ()


@pytest.mark.parametrize(
    ("pieces", "options", "message"),
    [
        ([[2], [7]], {}, "the pieces of 'term 1' holds 7; expected 0 to 6"),
        ([[-1]], {"terms": ["降"]}, "the pieces of '降' holds -1"),
        ([[0.5]], {}, "expected whole numbers"),
        ([[2]], {"terms": ["降", "准"]}, "terms must have 1 entries or be empty, got 2"),
        ([[2]], {"tokens": ["降"]}, "tokens must have 7 entries or be empty, got 1"),
        ([[2]], {"excluded": range(7)}, "all 7 rows of the table are zero or excluded"),
    ],
)
def test_illegal_pieces_are_refused(pieces: list[list[int]], options: dict[str, object], message: str) -> None:
    with pytest.raises(VectorError, match=message):
        extend_table(table(), pieces, **options)  # type: ignore[arg-type]
