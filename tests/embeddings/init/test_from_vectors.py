from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import VectorError
from paddlenlp_embtune.embeddings.init import FALLBACKS, Origin, initialize_from_vectors, initialize_random
from paddlenlp_embtune.embeddings.io import VectorTable, read_lac
from paddlenlp_embtune.text import PAD, PAD_ID, UNK, UNK_ID, Vocabulary

WIDTH = 16
VOCABULARY = Vocabulary([PAD, UNK, "涨", "a", "跌", "B", "缺", "少"])
FOUND = [2, 3, 4, 5]
SOURCE_ROWS = [0, 2, 1, 3]  # where the found tokens stand in the vectors, in the order of their ids


def vectors(*, unknown: bool = True, names: tuple[str, ...] = ("涨", "跌", "a", "b")) -> VectorTable:
    table = np.random.default_rng(7).normal(0.5, 3.0, (len(names) + 1, WIDTH)).astype(np.float32)
    return VectorTable({name: row for row, name in enumerate(names)}, table, "test vectors", len(names) if unknown else None)


def rms_of(table: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(table, dtype=np.float64))))


def cosines(table: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = table.astype(np.float64)
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = unit @ unit.T
    return result


def test_origins_and_missing() -> None:
    _, coverage = initialize_from_vectors(VOCABULARY, vectors(), rms=0.1, seed=0)
    exact, case, sampled = Origin.EXACT, Origin.CASE, Origin.SAMPLED
    assert coverage.origins == (Origin.PADDING, Origin.UNKNOWN, exact, exact, exact, case, sampled, sampled)
    assert coverage.missing == ("缺", "少")
    assert coverage.found == pytest.approx(4 / 6)
    assert coverage.counts()[exact] == 3
    assert coverage.summary()["rows"] == len(VOCABULARY)


@pytest.mark.parametrize("rms", [0.01, 0.1, 2.0])
def test_found_rows_reach_the_rms_and_keep_angles_and_ratios(rms: float) -> None:
    source = vectors()
    table, _ = initialize_from_vectors(VOCABULARY, source, rms=rms, seed=0)
    assert table.dtype == np.float32
    assert table.shape == (len(VOCABULARY), WIDTH)
    assert rms_of(table[FOUND]) == pytest.approx(rms, rel=1e-6)
    np.testing.assert_allclose(cosines(table[FOUND]), cosines(source.table[SOURCE_ROWS]), atol=1e-6)
    factors = table[FOUND] / source.table[SOURCE_ROWS]
    np.testing.assert_allclose(factors, factors[0, 0], rtol=1e-5)
    # The row for unknown tokens is scaled by the same factor, though it does not count towards the rms.
    np.testing.assert_allclose(table[UNK_ID], source.table[4] * factors[0, 0], rtol=1e-5)


def test_padding_is_zero_even_where_the_vectors_name_it() -> None:
    table, coverage = initialize_from_vectors(VOCABULARY, vectors(names=(PAD, "涨", "a")), rms=0.1, seed=0)
    assert not table[PAD_ID].any()
    assert coverage.origins[PAD_ID] == Origin.PADDING


@pytest.mark.parametrize(("held", "asked"), [("b", "B"), ("B", "b"), ("Ω", "ω")])
def test_case_fallback(held: str, asked: str) -> None:
    source = vectors(names=("涨", held))
    table, coverage = initialize_from_vectors(Vocabulary([PAD, UNK, "涨", asked]), source, rms=0.1, seed=0)
    assert coverage.origins[3] == Origin.CASE
    assert cosines(np.stack([table[3], source.table[1]]))[0, 1] == pytest.approx(1.0, abs=1e-6)


def test_the_right_case_wins_over_the_other() -> None:
    source = vectors(names=("b", "B"))
    table, coverage = initialize_from_vectors(Vocabulary([PAD, UNK, "B"]), source, rms=rms_of(source.table[1:2]), seed=0)
    assert coverage.origins[2] == Origin.EXACT
    np.testing.assert_allclose(table[2], source.table[1], rtol=1e-5)


def test_same_seed_same_table_other_seed_other_sampled_rows_only() -> None:
    first, again, other = (initialize_from_vectors(VOCABULARY, vectors(), rms=0.1, seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:6], other[:6])
    assert not np.isclose(first[6:], other[6:]).all(axis=1).any()


def test_sampled_rows_are_distributed_like_the_found_ones() -> None:
    names = [f"w{i}" for i in range(400)]
    drawn = np.random.default_rng(1).normal(np.linspace(-2, 2, WIDTH), np.linspace(0.5, 2, WIDTH), (400, WIDTH))
    source = VectorTable({name: row for row, name in enumerate(names)}, drawn.astype(np.float32), "test vectors")
    vocabulary = Vocabulary([PAD, UNK, *names, *(f"missing{i}" for i in range(2000))])
    table, _ = initialize_from_vectors(vocabulary, source, rms=rms_of(source.table), seed=0)
    np.testing.assert_allclose(table[402:].mean(axis=0), drawn.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(table[402:].std(axis=0), drawn.std(axis=0), rtol=0.1)


def test_without_an_unknown_row_one_is_drawn() -> None:
    table, coverage = initialize_from_vectors(VOCABULARY, vectors(unknown=False), rms=0.1, seed=0)
    assert coverage.origins[UNK_ID] == Origin.SAMPLED
    assert table[UNK_ID].any()


def test_missing_lists_ordinary_tokens_only() -> None:
    _, coverage = initialize_from_vectors(VOCABULARY, vectors(unknown=False), rms=0.1, seed=0)
    assert coverage.missing == ("缺", "少")


@pytest.mark.parametrize("tokens", [[], ["缺", "少"]])
def test_empty_intersection(tokens: list[str]) -> None:
    with pytest.raises(VectorError, match=rf"none of the {len(tokens)} tokens is among the 4 tokens of test vectors"):
        initialize_from_vectors(Vocabulary([PAD, UNK, *tokens]), vectors(), rms=0.1, seed=0)


def test_found_rows_of_zero_are_refused() -> None:
    source = VectorTable({"涨": 0}, np.zeros((1, WIDTH), dtype=np.float32), "test vectors")
    with pytest.raises(VectorError):
        initialize_from_vectors(VOCABULARY, source, rms=0.1, seed=0)


def test_rows_outside_the_table_are_refused() -> None:
    with pytest.raises(VectorError):
        initialize_from_vectors(
            VOCABULARY, VectorTable({"涨": 9}, np.ones((1, WIDTH), dtype=np.float32), "test vectors"), rms=0.1, seed=0
        )


def test_random_table() -> None:
    vocabulary = Vocabulary([PAD, UNK, *(f"w{i}" for i in range(1000))])
    table, coverage = initialize_random(vocabulary, 32, rms=0.1, seed=5)
    assert table.shape == (1002, 32)
    assert table.dtype == np.float32
    assert not table[PAD_ID].any()
    assert rms_of(table[1:]) == pytest.approx(0.1, rel=0.02)
    assert coverage.found == 0.0
    assert coverage.missing == vocabulary.tokens[2:]
    np.testing.assert_array_equal(table, initialize_random(vocabulary, 32, rms=0.1, seed=5)[0])
    assert not np.array_equal(table, initialize_random(vocabulary, 32, rms=0.1, seed=6)[0])


# --- fallbacks, unknown row anywhere, widths ----------------------------------------------------------------------------


def plain_initialise(vocabulary: Vocabulary, source: VectorTable, *, rms: float, seed: int) -> npt.NDArray[np.float32]:
    """The table as it was before there were fallbacks other than the other case."""
    found = [source.rows.get(token, source.rows.get(token.swapcase())) for token in vocabulary.tokens]
    found[:2] = [None, source.unknown_row]
    known = source.table[[row for row in found[2:] if row is not None]]
    table = np.random.default_rng(seed).normal(known.mean(axis=0), known.std(axis=0), (len(vocabulary), source.dimension))
    for index, row in enumerate(found):
        if row is not None:
            table[index] = source.table[row]
    table *= rms / float(np.sqrt(np.mean(np.square(known, dtype=np.float64))))
    table[PAD_ID] = 0.0
    return table.astype(np.float32)


def test_further_fallbacks_leave_rows_that_had_a_name_as_they_were() -> None:
    """Bit for bit, with the vectors of the box: what is found by new fallbacks has no say in scale and distribution."""
    lac = read_lac()
    generator = np.random.default_rng(0)
    names = [str(name) for name in generator.choice(sorted(lac.rows), 700, replace=False)]
    others = ["##股", "##a", "▁的", "①", "㎡", "ﬁ", "鿃", "🚀", "[CLS]", "Ⓐ"]
    vocabulary = Vocabulary(list(dict.fromkeys([PAD, UNK, *names, *others])))
    table, coverage = initialize_from_vectors(vocabulary, lac, rms=0.1, seed=7)
    before = plain_initialise(vocabulary, lac, rms=0.1, seed=7)
    new = {Origin.MARKER, Origin.WIDTH, Origin.SCRIPT} & set(coverage.origins)
    assert new == {Origin.MARKER, Origin.WIDTH}
    same = [index for index, origin in enumerate(coverage.origins) if origin not in new]
    np.testing.assert_array_equal(table[same], before[same])
    assert not np.array_equal(table, before)


def test_what_other_fallbacks_found_counts_where_little_has_a_name() -> None:
    names = tuple(f"w{number}" for number in range(200))
    source = vectors(names=names)
    table, coverage = initialize_from_vectors(Vocabulary([PAD, UNK, *(f"##{name}" for name in names)]), source, rms=0.5, seed=0)
    assert set(coverage.origins[2:]) == {Origin.MARKER}
    assert rms_of(table[2:]) == pytest.approx(0.5, rel=1e-6)


def test_fallbacks_can_be_chosen() -> None:
    source = vectors(names=("a", "股", "份"))
    vocabulary = Vocabulary([PAD, UNK, "a", "A", "股份", "##股"])
    assert initialize_from_vectors(vocabulary, source, rms=0.1, seed=0)[1].origins[2:] == (
        "exact",
        "other case",
        "sampled",
        "without marker",
    )
    chosen = initialize_from_vectors(vocabulary, source, rms=0.1, seed=0, fallbacks=["pieces"])[1]
    assert chosen.origins[2:] == ("exact", "sampled", "mean of pieces", "mean of pieces")
    assert chosen.sources[4:] == (("股", "份"), ("股",))
    assert initialize_from_vectors(vocabulary, source, rms=0.1, seed=0, fallbacks=[])[1].found == pytest.approx(1 / 4)
    with pytest.raises(VectorError, match="no fallback 'nearest'"):
        initialize_from_vectors(vocabulary, source, rms=0.1, seed=0, fallbacks=["nearest"])


def test_no_row_but_padding_is_zero() -> None:
    source = vectors(names=("a", "b", "c"))
    source.table[1] = 0.0
    vocabulary = Vocabulary([PAD, UNK, "a", "b", "c", "d"])
    table, coverage = initialize_from_vectors(vocabulary, source, rms=0.1, seed=0)
    assert coverage.origins[3] == Origin.SAMPLED
    assert coverage.missing == ("b", "d")
    assert table[1:].any(axis=1).all()


def test_the_unknown_token_may_stand_anywhere() -> None:
    source = vectors(names=("a", "b"))
    table, coverage = initialize_from_vectors(Vocabulary([PAD, "[CLS]", "a", UNK, "b"]), source, rms=0.1, seed=0)
    assert coverage.origins == ("padding", "sampled", "exact", "unknown row", "exact")
    assert coverage.missing == ("[CLS]",)
    assert coverage.found == pytest.approx(2 / 3)
    np.testing.assert_allclose(table[3] / table[2], source.table[2] / source.table[0], rtol=1e-5)


def test_a_token_that_stands_twice_gets_its_row_twice() -> None:
    table, coverage = initialize_from_vectors(Vocabulary([PAD, UNK, "$", "a", "$"]), vectors(names=("a", "$")), rms=0.1, seed=0)
    np.testing.assert_array_equal(table[2], table[4])
    assert coverage.origins[2:] == ("exact", "exact", "exact")


@pytest.mark.parametrize("projection", ["pca", "orthonormal"])
@pytest.mark.parametrize("dimension", [4, 16, 40])
def test_the_width_can_be_chosen(dimension: int, projection: str) -> None:
    names = tuple(f"w{number}" for number in range(300))
    source = vectors(names=names)
    vocabulary = Vocabulary([PAD, UNK, *names, "w1x"])
    options = {"rms": 0.1, "seed": 3, "dimension": dimension, "projection": projection}
    table, coverage = initialize_from_vectors(vocabulary, source, **options)  # type: ignore[arg-type]
    assert table.shape == (303, dimension)
    assert table.dtype == np.float32
    assert rms_of(table[2:302]) == pytest.approx(0.1, rel=1e-6)
    assert not table[PAD_ID].any()
    assert table[1:].any(axis=1).all()
    if dimension == 16:
        assert coverage.projection == {}
        np.testing.assert_array_equal(table, initialize_from_vectors(vocabulary, source, rms=0.1, seed=3)[0])
        return
    kind = "pca" if dimension == 4 and projection == "pca" else "orthonormal"
    assert [coverage.projection[key] for key in ("kind", "from", "to")] == [kind, 16, dimension]
    assert coverage.summary()["projection"] == coverage.projection
    if dimension == 40:
        np.testing.assert_allclose(cosines(table[2:302]), cosines(source.table[:300]), atol=1e-5)
    np.testing.assert_array_equal(table, initialize_from_vectors(vocabulary, source, **options)[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "width must be 1 to 16, got 0"),
        ({"dimension": 8, "projection": "umap"}, "invalid projection 'umap'.*xpected orthonormal or pca"),
    ],
)
def test_illegal_widths_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(VectorError, match=message):
        initialize_from_vectors(VOCABULARY, vectors(), rms=0.1, seed=0, **options)  # type: ignore[arg-type]


@pytest.mark.shared_data
def test_the_vocabulary_of_ernie_3(shared_data: Path) -> None:
    vocabulary = Vocabulary.load(shared_data / "vocab" / "ernie-3.0-base-zh.vocab.txt")
    fallbacks = [name for name in FALLBACKS if name != "subwords"]
    table, coverage = initialize_from_vectors(vocabulary, read_lac(), rms=0.1, seed=0, fallbacks=fallbacks)
    counts = coverage.counts()
    assert counts[Origin.EXACT] == 20687
    assert counts[Origin.SCRIPT] == 359
    assert 0.53 < coverage.found < 0.54
    assert 0.4 < coverage.approximated < 0.41
    assert table[1:].any(axis=1).all()
    origins = dict(zip(vocabulary.tokens, coverage.origins, strict=True))
    assert [origins[token] for token in ("[CLS]", "[SEP]", "[MASK]", "##s")] == [*["sampled"] * 3, "without marker"]


def test_a_zero_row_for_the_unknown_counts_as_none() -> None:
    source = VectorTable({"a": 0, "b": 1}, np.array([[1, 2], [2, 1], [0, 0]], np.float32), "s", unknown_row=2)
    table, coverage = initialize_from_vectors(Vocabulary(["[PAD]", "[UNK]", "a", "b"]), source, rms=0.1, seed=0)
    assert table[1].any()
    assert coverage.origins[1] == Origin.SAMPLED
