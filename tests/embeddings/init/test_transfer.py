"""A new vocabulary in the space of an old model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.init import Origin, initialize_by_transfer
from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.text import PAD, UNK, Vocabulary
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]
SHARED = [f"w{number}" for number in range(120)]
NEW = ["new0", "new1"]


def worlds(*, scale: float = 0.05) -> tuple[VectorTable, Table, dict[str, int], Table]:
    """Vectors, a model whose space is a linear map of theirs, the model's rows, and where the new tokens belong in it."""
    names = [*SHARED, *NEW]
    source = gaussian(len(names), 8)
    goal = (source @ gaussian(8, 6, seed=1) * scale + np.float32(scale)).astype(np.float32)
    special = gaussian(3, 6, seed=2)
    reference = np.concatenate([special, goal[: len(SHARED)]])
    rows = {token: row for row, token in enumerate([PAD, "[CLS]", UNK, *SHARED])}
    return VectorTable({name: row for row, name in enumerate(names)}, source, "A"), reference, rows, goal[len(SHARED) :]


def test_tokens_of_the_model_keep_their_rows_and_new_ones_are_mapped() -> None:
    vectors, reference, rows, goal = worlds()
    vocabulary = Vocabulary([PAD, "w7", "new1", UNK, "NEW0", "[CLS]", "缺", "w0"])
    table, coverage = initialize_by_transfer(vocabulary, vectors, reference=reference, reference_rows=rows, seed=0, ridge=0.0)
    assert table.dtype == np.float32
    for token in (PAD, "w7", UNK, "[CLS]", "w0"):
        assert table[vocabulary.ids[token]].tobytes() == reference[rows[token]].tobytes()
    np.testing.assert_allclose(table[[4, 2]], goal, rtol=1e-3, atol=1e-4)
    kept = Origin.KEPT
    assert coverage.origins == (kept, kept, "exact", kept, "other case", kept, "sampled", kept)
    assert coverage.sources[4] == ("new0",)
    assert coverage.missing == ("缺",)
    assert coverage.found == pytest.approx(5 / 6)
    assert coverage.projection["kind"] == "ridge"
    assert coverage.projection["r2"] == pytest.approx(1.0)


def test_a_strong_penalty_shortens_rows_and_the_scale_brings_them_back() -> None:
    vectors, reference, rows, _ = worlds()
    names = [*NEW, *(f"W{number}" for number in range(120))]
    vocabulary = Vocabulary([PAD, UNK, *names])
    table, _ = initialize_by_transfer(vocabulary, vectors, reference=reference, reference_rows=rows, seed=0, ridge=5.0)
    sizes = [float(np.sqrt(np.mean(np.square(found)))) for found in (table[4:], reference[3:])]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-4)


def test_rows_without_a_vector_are_drawn_like_the_model_s_ordinary_rows() -> None:
    vectors, reference, rows, _ = worlds()
    reference[1] = 1000  # a special row has no say
    vocabulary = Vocabulary([PAD, UNK, *(chr(0x4E00 + number) for number in range(3000))])
    table, _ = initialize_by_transfer(vocabulary, vectors, reference=reference, reference_rows=rows, seed=0)
    np.testing.assert_allclose(table[2:].mean(axis=0), reference[3:].mean(axis=0), atol=0.02)
    np.testing.assert_allclose(table[2:].std(axis=0), reference[3:].std(axis=0), rtol=0.1)
    again, _ = initialize_by_transfer(vocabulary, vectors, reference=reference, reference_rows=rows, seed=0)
    np.testing.assert_array_equal(table, again)


def test_padding_that_the_model_does_not_have_is_zero() -> None:
    vectors, reference, rows, _ = worlds()
    del rows[PAD]
    table, coverage = initialize_by_transfer(Vocabulary([PAD, UNK]), vectors, reference=reference, reference_rows=rows, seed=0)
    assert not table[0].any()
    assert coverage.origins == ("padding", Origin.KEPT)


def test_the_fallbacks_can_be_chosen() -> None:
    vectors, reference, rows, _ = worlds()
    vocabulary = Vocabulary([PAD, UNK, "NEW0", "w1w2"])
    options = {"reference": reference, "reference_rows": rows, "seed": 0}
    assert initialize_by_transfer(vocabulary, vectors, fallbacks=[], **options)[1].origins[2:] == ("sampled", "sampled")  # type: ignore[arg-type]
    found = initialize_by_transfer(vocabulary, vectors, fallbacks=["case", "pieces"], **options)[1]  # type: ignore[arg-type]
    assert found.origins[2:] == ("other case", "mean of pieces")


def test_too_few_shared_tokens_and_rows_outside_are_refused() -> None:
    vectors, reference, rows, _ = worlds()
    few = dict(list(rows.items())[:10])
    with pytest.raises(VectorError, match="A and the model's table share 7 tokens; 16 or more are needed"):
        initialize_by_transfer(Vocabulary([PAD, UNK]), vectors, reference=reference, reference_rows=few, seed=0)
    with pytest.raises(VectorError, match="'w5' is given row 999 of the model's table"):
        initialize_by_transfer(Vocabulary([PAD, UNK]), vectors, reference=reference, reference_rows={**rows, "w5": 999}, seed=0)
    with pytest.raises(VectorError, match="reference is float64"):
        initialize_by_transfer(
            Vocabulary([PAD, UNK]),
            vectors,
            reference=reference.astype(np.float64),
            reference_rows=rows,
            seed=0,
        )
