"""``embtune vectors inspect``, ``convert`` and ``coverage`` on small files made here."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune import Recipe
from paddlenlp_embtune.cli.commands import vectors_convert
from paddlenlp_embtune.embeddings.io import ReadOptions, read_lac, read_vectors, write_vectors
from paddlenlp_embtune.text import WordTokenizer
from paddlenlp_embtune.training.initialize import initialize_embedding
from tests.embeddings.io.fasttext_files import pack
from tests.helpers import ROWS, Run, error_of, hidden, python

TEXTS = [text for text, _ in ROWS]
COUNTS = Counter("".join(TEXTS))
CHARACTERS = sorted(COUNTS)
NAMES = [*CHARACTERS, "公司", "股份", "龘", "ETF", "##业", "▁the", "7", "[UNK]"]
TABLE = np.random.default_rng(0).normal(size=(len(NAMES), 6)).astype(np.float32)


@pytest.fixture
def work(work: Path) -> Path:
    write_vectors(work / "some.vec", NAMES, TABLE, format="word2vec")
    (work / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    (work / "tokens.txt").write_bytes("\ufeff公\r\n司\n\n公\netf\n甲\n".encode())
    (work / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS]), encoding="utf-8")
    return work


def told(result: tuple[int, str, str]) -> Any:
    assert result[0] == 0, result[2]
    return json.loads(result[1])


def rows_of(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    read = read_vectors(path)
    return {name: read.table[row] for name, row in read.rows.items()}


def same_rows(path: Path, names: list[str]) -> None:
    """The file has the rows of these names and no others, in this order, bit for bit."""
    rows = rows_of(path)
    assert list(rows) == names
    np.testing.assert_array_equal(np.stack(list(rows.values())), TABLE[[NAMES.index(name) for name in names]])


def test_inspect_as_json(work: Path, run: Run) -> None:
    answer = told(run("vectors", "inspect", "some.vec", "--term", "股", "--term", "甲", "--neighbours", "3", "--json"))
    assert set(answer) == {
        *("source", "format", "bytes", "rows", "width", "first", "kinds", "marked", "norms", "zero_rows", "subwords"),
        *("unknown_row", "notes", "neighbours"),
    }
    assert (answer["format"], answer["rows"], answer["width"], answer["subwords"]) == ("word2vec", len(NAMES), 6, False)
    assert answer["bytes"] == (work / "some.vec").stat().st_size
    assert answer["first"] == NAMES[:10]
    assert answer["kinds"] == {
        "Han character": len(CHARACTERS) + 2,
        "Han word": 2,
        "Latin": 2,
        "number": 1,
        "special": 1,
        "other": 0,
    }
    assert answer["marked"] == {"##": 1, "▁": 1}
    assert answer["norms"]["mean"] == pytest.approx(float(np.linalg.norm(TABLE, axis=1).mean()), abs=1e-5)
    assert answer["neighbours"]["甲"] is None
    assert len(answer["neighbours"]["股"]) == 3


def test_inspect_as_text_counts_damage(work: Path, run: Run) -> None:
    lines = (work / "some.vec").read_text(encoding="utf-8").splitlines()
    lines += [lines[1], "坏 1 2 nan 4 5 6", "零 0 0 0 0 0 0"]
    (work / "bad.vec").write_text("\n".join([f"{len(lines) - 1} 6", *lines[1:]]) + "\n", encoding="utf-8")
    code, out, err = run("vectors", "inspect", "bad.vec", "--term", "零", "--term", "股")
    assert code == 0, err
    for part in (f"word2vec: {len(NAMES) + 1} rows of width 6", "zero rows: 1", "with ▁", "Han character", "\n股: "):
        assert part in out, part
    assert "1 duplicate tokens, the first row of each kept" in err
    assert "1 rows skipped: with NaN or infinite values" in err
    assert "'零' has a zero row in bad.vec" in err


def test_inspect_the_first_rows_only(work: Path, run: Run) -> None:
    answer = told(run("vectors", "inspect", "some.vec", "--most", "4", "--json"))
    assert (answer["rows"], answer["rows_in_file"], answer["first"]) == (4, len(NAMES), NAMES[:4])
    assert f"4 rows (the first of {len(NAMES)})" in run("vectors", "inspect", "some.vec", "--most", "4")[1]


def test_inspect_lac_and_arrays(work: Path, run: Run) -> None:
    answer = told(run("vectors", "inspect", "lac", "--json"))
    assert (answer["format"], answer["width"], answer["bytes"], answer["unknown_row"]) == ("lac", 128, None, True)
    np.save(work / "some.npy", TABLE)
    (work / "names.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    assert told(run("vectors", "inspect", "some.npy", "--tokens", "names.txt", "--json"))["rows"] == len(NAMES)


@pytest.mark.parametrize("name", ["a.txt", "a.vec.gz", "a.bin", "a.glove", "a.npz", "a.safetensors"])
def test_convert_keeps_every_row_bit_for_bit(work: Path, run: Run, name: str) -> None:
    code, out, err = run("vectors", "convert", "some.vec", f"deep/{name}")
    assert (code, out) == (0, f"deep/{name}\n"), err
    same_rows(work / "deep" / name, NAMES)
    assert f"{len(NAMES)} rows -> {len(NAMES)} of width 6" in err
    assert hidden(work) == []


def test_every_format_that_the_ending_may_say_can_be_written(work: Path) -> None:
    for number, form in enumerate(vectors_convert._WRITABLE):
        write_vectors(work / f"{number}.any", NAMES, TABLE, format=form)
        read = read_vectors(work / f"{number}.any", ReadOptions(format=form))
        assert list(read.rows) == NAMES, form
        np.testing.assert_array_equal(read.table, TABLE, err_msg=form)


def test_convert_by_texts_is_the_subset_with_its_report(work: Path, run: Run) -> None:
    answer = told(
        run("vectors", "convert", "some.vec", "small.npz", "--keep-texts", "train.tsv", "--fallbacks", "none", "--json")
    )
    same_rows(work / "small.npz", [*CHARACTERS, "[UNK]"])
    assert answer["rows"] == {"before": len(NAMES), "after": len(CHARACTERS) + 1, "composed": 0}
    assert answer["bytes"] == {
        name: (work / file).stat().st_size for name, file in (("before", "some.vec"), ("after", "small.npz"))
    }
    assert answer["dropped"] == {"count": 7, "first": NAMES[-8:-1]}
    assert answer["coverage"]["running"] == {"tokens": COUNTS.total(), "found": 1.0, "approximated": 0.0, "outside": 0.0}
    assert (answer["coverage"]["missing"], answer["notes"]) == ([], [])


def test_convert_leaves_rare_tokens_out_and_says_what_that_costs(work: Path, run: Run) -> None:
    options = ("--keep-texts", "texts.txt", "--min-count", "10", "--fallbacks", "none")
    answer = told(run("vectors", "convert", "some.vec", "small.vec", *options, "--json"))
    often = [character for character in CHARACTERS if COUNTS[character] >= 10]
    same_rows(work / "small.vec", [*often, "[UNK]"])
    covered = sum(COUNTS[character] for character in often)
    assert answer["coverage"]["running"]["found"] == pytest.approx(covered / COUNTS.total(), abs=1e-6)
    rare = sorted((c for c in CHARACTERS if COUNTS[c] < 10), key=lambda c: (-COUNTS[c], c))
    assert answer["coverage"]["missing_tokens"] == len(rare)
    assert answer["coverage"]["missing"][:3] == [{"token": c, "count": COUNTS[c]} for c in rare[:3]]
    code, out, err = run("vectors", "convert", "some.vec", "small.vec", *options, "--overwrite")
    assert (code, out) == (0, "small.vec\n")
    assert "outside the" in err
    assert f"{len(rare)} tokens of the texts without a row, first: {rare[0]} {COUNTS[rare[0]]}" in err


def test_convert_by_vocabulary_keeps_other_spellings_unless_told_otherwise(work: Path, run: Run) -> None:
    answer = told(run("vectors", "convert", "some.vec", "a.vec", "--keep-vocabulary", "tokens.txt", "--json"))
    same_rows(work / "a.vec", [name for name in NAMES if name in ("公", "司", "ETF", "[UNK]")])
    assert answer["coverage"]["running"] is None
    assert answer["coverage"]["missing"] == [{"token": "甲", "count": None}]
    assert {row["origin"]: row["examples"] for row in answer["coverage"]["origins"]}["other case"] == ["etf <- ETF"]
    run("vectors", "convert", "some.vec", "b.vec", "--keep-vocabulary", "tokens.txt", "--fallbacks", "none")
    same_rows(work / "b.vec", [name for name in NAMES if name in ("公", "司", "[UNK]")])


def test_convert_by_words_and_by_pieces(work: Path, run: Run) -> None:
    words = WordTokenizer.count(TEXTS, lowercase=True)
    assert "公司" in words
    options = ("--keep-texts", "texts.txt", "--fallbacks", "none")
    run("vectors", "convert", "some.vec", "words.vec", *options, "--tokenizer", "word")
    same_rows(work / "words.vec", [name for name in NAMES if name in words or name in CHARACTERS or name == "[UNK]"])
    run("vectors", "convert", "some.vec", "pieces.vec", *options, "--tokenizer", "wordpiece", "--vocabulary", "vocab.txt")
    same_rows(work / "pieces.vec", [*CHARACTERS, "[UNK]"])


def test_pieces_that_frame_a_text_are_kept_too(work: Path, run: Run) -> None:
    write_vectors(work / "framed.npz", ["[CLS]", "[SEP]", "[MASK]", "股"], TABLE[:4], format="npz")
    options = ("--keep-texts", "texts.txt", "--tokenizer", "wordpiece", "--vocabulary", "vocab.txt")
    assert run("vectors", "convert", "framed.npz", "small.npz", *options)[0] == 0
    assert list(rows_of(work / "small.npz")) == ["[CLS]", "[SEP]", "股"]


def test_what_is_composed_of_subwords_is_written_as_rows(work: Path, run: Run) -> None:
    words, matrix = [name.encode() for name in ("公司", "股份", "别的")], np.random.default_rng(1).normal(size=(53, 4))
    (work / "model.bin").write_bytes(pack(words, matrix, buckets=50, shortest=1, longest=3))
    (work / "two.txt").write_text("公司\n股份公司\n", encoding="utf-8")
    answer = told(run("vectors", "convert", "model.bin", "sub.vec", "--keep-vocabulary", "two.txt", "--json"))
    source = read_vectors(work / "model.bin", ReadOptions(format="fasttext"))
    assert source.compose is not None
    expected = source.compose("股份公司")
    rows = rows_of(work / "sub.vec")
    assert list(rows) == ["公司", "股份公司"]
    np.testing.assert_array_equal(rows["股份公司"], expected)
    assert answer["rows"]["composed"] == 1
    assert "1 rows were composed of them" in answer["notes"][0]


def test_convert_lac_says_that_its_unknown_row_is_lost(work: Path, run: Run) -> None:
    code, _, err = run("vectors", "convert", "lac", "lac.safetensors", "--keep-texts", "train.tsv")
    assert code == 0
    assert "the row for unknown tokens is not in the new file" in err
    lac = read_lac()
    rows = rows_of(work / "lac.safetensors")
    assert set(CHARACTERS) <= set(rows)
    np.testing.assert_array_equal(rows["股"], lac.table[lac.rows["股"]])


def test_a_packed_file_is_read_and_damage_may_be_skipped(work: Path, run: Run) -> None:
    content = (work / "some.vec").read_bytes().replace(f"{len(NAMES)} 6".encode(), f"{len(NAMES) + 1} 6".encode(), 1)
    (work / "bad.vec.gz").write_bytes(gzip.compress(content + "坏 1 2\n".encode()))
    assert "has 2 values; expected 6" in error_of(run("vectors", "convert", "bad.vec.gz", "good.vec"), 1)
    code, _, err = run("vectors", "convert", "bad.vec.gz", "good.vec", "--damaged", "skip")
    assert code == 0
    assert "1 rows skipped" in err
    same_rows(work / "good.vec", NAMES)


@pytest.mark.parametrize("tokenizer", ["char", "word"])
@pytest.mark.parametrize("source", ["lac", "./some.vec"])
def test_coverage_is_what_training_would_say(work: Path, run: Run, source: str, tokenizer: str) -> None:
    plain = {"text": {"extra_rows": 0, "tokenizer": tokenizer}, "vectors": {"source": source}}
    expected = initialize_embedding(Recipe.from_dict(plain), TEXTS).coverage
    answer = told(run("vectors", "coverage", source, "--data", "train.tsv", "--tokenizer", tokenizer, "--json"))
    rows = {row["origin"]: row["rows"] for row in answer["origins"] if row["rows"]}
    ordinary = Counter(dict(zip(expected.tokens[2:], expected.origins[2:], strict=True)).values())
    assert rows == dict(ordinary)
    assert (answer["found"], answer["approximated"]) == (expected.found, expected.approximated)
    assert sum(row["running_share"] for row in answer["origins"]) == pytest.approx(1)
    assert sum(row["share"] for row in answer["origins"]) == pytest.approx(1)
    assert set(answer["origins"][0]) == {"origin", "rows", "share", "running_tokens", "running_share", "examples"}


def test_coverage_as_tables(work: Path, run: Run) -> None:
    write_vectors(work / "few.vec", ["公", "司", "Ａ"], TABLE[:3], format="word2vec")
    (work / "mixed.txt").write_text("公司 A股\n公司公告\n", encoding="utf-8")
    code, out, err = run("vectors", "coverage", "few.vec", "--texts", "mixed.txt")
    assert code == 0, err
    for part in (
        "2 texts, by char: 6 tokens; few.vec",
        "exact",
        "sampled",
        "a <- Ａ",
        "without a row, first: ' ' 1  告 1  股 1",
    ):
        assert part in out, part


def test_coverage_of_a_vocabulary_has_no_running_text(work: Path, run: Run) -> None:
    answer = told(run("vectors", "coverage", "some.vec", "--keep-vocabulary", "vocab.txt", "--json"))
    assert (answer["running"], answer["texts"], answer["tokenizer"]) == (None, 0, None)
    assert [row["token"] for row in answer["missing"]] == ["[CLS]", "[SEP]", "[MASK]"]
    assert answer["origins"][0]["running_share"] is None


FAILURES: list[tuple[tuple[str, ...], int, str]] = [
    (("inspect", "absent.vec"), 1, "there are no vectors at absent.vec"),
    (("inspect", "texts.txt"), 1, "is not recognised; declare it as format"),
    (("inspect", "some.vec", "--format", "word2vek"), 2, "--format is 'word2vek'; did you mean 'word2vec'"),
    (("inspect", "some.vec", "--format", "npz"), 1, "some.vec"),
    (("inspect", "empty.txt"), 1, "is empty"),
    (("convert", "some.vec", "tokens.txt"), 1, "tokens.txt already exists; replace it with --overwrite"),
    (("convert", "some.vec", "."), 2, "the extension of . is unknown"),
    (("convert", "some.vec", "a.xyz"), 2, "the extension of a.xyz is unknown"),
    (("convert", "some.vec", "a.xyz", "--to", "fasttext"), 2, "--to is 'fasttext'; "),
    (("convert", "some.vec", "a.npz.gz"), 2, "npz is read in place; choose a name without .gz"),
    (("convert", "some.vec", "folder", "--to", "npz"), 1, "folder is a folder"),
    (("convert", "absent.vec", "a.vec"), 1, "there are no vectors at absent.vec"),
    (("convert", "some.vec", "a.vec", "--min-count", "2"), 2, "--min-count set how --keep-texts is read"),
    (("convert", "some.vec", "a.vec", "--tokenizer", "word", "--keep-vocabulary", "tokens.txt"), 2, "how --keep-texts is read"),
    (("convert", "some.vec", "a.vec", "--fallbacks", "case"), 2, "--fallbacks decides which rows are kept"),
    (
        ("convert", "some.vec", "a.vec", "--keep-texts", "texts.txt", "--keep-vocabulary", "tokens.txt"),
        2,
        "--keep-vocabulary and --keep-texts do not go together",
    ),
    (("convert", "some.vec", "a.vec", "--keep-texts", "texts.txt", "--fallbacks", "cas"), 2, "did you mean 'case'"),
    (("convert", "some.vec", "a.vec", "--keep-texts", "texts.txt", "--fallbacks", "case,case"), 2, "names a fallback twice"),
    (("convert", "some.vec", "a.vec", "--keep-texts", "texts.txt", "--fallbacks", "subwords"), 1, "cannot compose tokens"),
    (("convert", "some.vec", "a.vec", "--keep-texts", "absent.txt"), 1, "there is no file absent.txt"),
    (("convert", "some.vec", "a.vec", "--keep-texts", "empty.txt"), 1, "empty.txt holds no text"),
    (("convert", "some.vec", "a.vec", "--keep-texts", "train.tsv", "--text-column", "body"), 1, "has no column 'body'"),
    (("convert", "some.vec", "a.vec", "--keep-vocabulary", "empty.txt"), 1, "empty.txt contains no token"),
    (("convert", "some.vec", "a.vec", "--keep-vocabulary", "other.txt"), 1, "none of the 1 tokens to keep has a row"),
    (("convert", "nolac.vec", "a.vec", "--keep-vocabulary", "other.txt"), 1, "none of its 1 tokens is wanted"),
    (("convert", "bare.bin", "a.vec"), 1, "has no rows, only subwords"),
    (
        ("convert", "some.vec", "a.vec", "--keep-texts", "texts.txt", "--tokenizer", "wordpiece"),
        2,
        "needs --vocabulary: a v",
    ),
    (("convert", "some.vec", "a.vec", "--keep-texts", "texts.txt", "--tokenizer", "chars"), 2, "did you mean 'char'"),
    (("convert", "some.vec", "a.vec", "--keep-texts", "texts.txt", "--vocabulary", "vocab.txt"), 2, "goes with --tokenizer"),
    (("convert", "some.vec", "a.vec", "--damaged", "keep"), 2, "--damaged is 'keep'"),
    (("convert", "spaced.npz", "a.vec"), 1, "cannot stand in the format 'word2vec'"),
    (("coverage", "lac"), 2, "pass one of --data"),
    (("coverage", "lac", "--data", "train.tsv", "--texts", "texts.txt"), 2, "--data and --texts do not go together"),
    (("coverage", "lac", "--keep-vocabulary", "tokens.txt", "--tokenizer", "word"), 2, "set how texts are read"),
    (("coverage", "lca", "--texts", "texts.txt"), 1, "did you mean 'lac'"),
    (("coverage", "lac", "--texts", "texts.txt", "--tokenizer", "sentencepiece"), 2, "needs --vocabulary: a .model file"),
    (("coverage", "lac", "--data", "folder"), 1, "folder"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), FAILURES)
def test_what_cannot_be_done_is_said_in_one_line(
    work: Path, run: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    (work / "empty.txt").write_text("\n" if "inspect" not in arguments else "", encoding="utf-8")
    (work / "other.txt").write_text("甲\n", encoding="utf-8")
    (work / "folder").mkdir()
    (work / "bare.bin").write_bytes(pack([], np.ones((50, 4)), buckets=50, shortest=1, longest=3))
    write_vectors(work / "nolac.vec", ["股"], TABLE[:1], format="word2vec")
    write_vectors(work / "spaced.npz", ["a b"], TABLE[:1], format="npz")
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    assert says in error_of(run("vectors", *arguments), code)
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()} == before
    assert hidden(work) == []


@pytest.mark.parametrize(
    "arguments",
    [("inspect",), ("inspect", "some.vec", "--neighbours", "0"), ("convert", "some.vec"), ("coverage", "--texts", "texts.txt")],
)
def test_misuse_of_the_parser_is_2(work: Path, run: Run, arguments: tuple[str, ...]) -> None:
    code, out, _ = run("vectors", *arguments)
    assert (code, out) == (2, "")


WITHOUT_PADDLE = """
import json, sys
sys.modules["paddle"] = None
from paddlenlp_embtune.cli.main import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["embtune", *command]
    try:
        main()
    except SystemExit as left:
        if left.code:
            raise
"""


def test_looking_at_files_and_texts_needs_no_paddle(work: Path) -> None:
    commands = [
        ("vectors", "inspect", "some.vec", "--term", "股"),
        ("vectors", "convert", "some.vec", "small.npz", "--keep-texts", "texts.txt"),
        ("vectors", "coverage", "small.npz", "--data", "train.tsv", "--tokenizer", "word"),
        ("vocabulary", "compare", "--texts", "texts.txt", "--pieces", "0"),
        ("vocabulary", "propose", "--texts", "texts.txt", "--least-count", "3"),
    ]
    done = python("-c", WITHOUT_PADDLE, json.dumps(commands), cwd=work)
    assert done.returncode == 0, done.stderr


@pytest.mark.shared_data
def test_a_real_table_cut_down_gives_training_the_same_start(work: Path, run: Run, shared_data: Path) -> None:
    source = shared_data / "vectors" / "tencent_char.200d.vec"
    rows = shared_data / "finfe" / "dev.tsv"
    answer = told(run("vectors", "convert", source, "small.safetensors", "--keep-texts", rows, "--json"))
    assert answer["rows"]["after"] < answer["rows"]["before"] == 4729
    whole, small = (told(run("vectors", "coverage", file, "--data", rows, "--json")) for file in (source, "small.safetensors"))
    assert {**whole, "source": "", "format": ""} == {**small, "source": "", "format": ""}
