"""``embtune vocabulary``: comparing tokenizers, proposing terms, and bundles with more or fewer tokens."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import Predictor, Recipe, train
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.bundle.embedding import embedding_table
from paddlenlp_embtune.text import read_term_list
from paddlenlp_embtune.text.factory import build_tokenizer
from paddlenlp_embtune.text.term_extraction import propose_terms
from tests.helpers import ROWS, Run, TinyRun, error_of, hidden, tsv

TEXTS = [text for text, _ in ROWS]
CHARACTERS = sorted(set("".join(TEXTS)))
TERMS = ("控股股东", "回购股份", "公司")
BUILT = ["char", "word", "sentencepiece"]


def corpus() -> list[str]:
    """Invented texts with 质押式回购 and 绿鞋机制 among characters at random."""
    draw, letters = random.Random(0), "".join(CHARACTERS)
    parts = ["质押式回购", "绿鞋机制", *letters]
    weights = [20, 20, *[1] * len(letters)]
    return ["".join(draw.choices(parts, weights, k=12)) for _ in range(400)]


@pytest.fixture(scope="module")
def whole(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a model that hashes no ids, with 200 tokens that the texts do not have."""
    recipe = Recipe.load(tiny_run.recipe)
    recipe = dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, options={"filters": 16, "ngram_buckets": 0}),
        text=dataclasses.replace(recipe.text, extra_rows=200),
        export=dataclasses.replace(recipe.export, engines=("onnxruntime",), calibrate=False),
    )
    return train(recipe, tmp_path_factory.mktemp("whole") / "run").bundle


@pytest.fixture
def work(work: Path) -> Path:
    (work / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    (work / "terms.txt").write_text("\n".join([*TERMS, TERMS[0]]) + "\n", encoding="utf-8")
    (work / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS[5:]]), encoding="utf-8"
    )
    (work / "corpus.txt").write_text("\n".join(corpus()) + "\n", encoding="utf-8")
    return work


def told(result: tuple[int, str, str]) -> Any:
    assert result[0] == 0, result[2]
    return json.loads(result[1])


def test_compare_as_json(work: Path, run: Run) -> None:
    model = build_tokenizer("sentencepiece", texts=TEXTS, size=100).files()
    (work / "own.model").write_bytes(next(iter(model.values())))
    files = ("--vocabulary", "ernie=vocab.txt", "--vocabulary", "own=own.model")
    options = ("--terms", "terms.txt", "--pieces", "120", "--max-length", "8", *files)
    answer = told(run("vocabulary", "compare", "--data", "train.tsv", *options, "--json"))
    assert (answer["texts"], answer["terms"]) == (len(TEXTS), 4)
    rows = {row["name"]: row for row in answer["tokenizers"]}
    assert list(rows) == [*BUILT, "ernie", "own"]
    assert [row["kind"] for row in rows.values()] == [*BUILT, "wordpiece", "sentencepiece"]
    assert rows["char"]["vocabulary"] == len(CHARACTERS) + 2
    assert rows["char"]["tokens_mean"] == pytest.approx(np.mean([len(text) for text in TEXTS]))
    assert (rows["char"]["unknown_rate"], rows["char"]["terms_whole"]) == (0.0, 0.0)
    count = sum(text.count(character) for text in TEXTS for character in CHARACTERS[:5])
    assert rows["ernie"]["unknown_rate"] == pytest.approx(count / sum(map(len, TEXTS)))
    assert rows["char"]["longer_than_max_length"] == pytest.approx(np.mean([len(text) > 8 for text in TEXTS]))
    assert rows["word"]["terms_whole"] > 0


def test_compare_as_a_table(work: Path, run: Run) -> None:
    code, out, err = run("vocabulary", "compare", "--texts", "texts.txt", "--terms", "terms.txt", "--pieces", "0")
    assert code == 0, err
    for part in ("tokenizer", "length: mean", "texts/s", "char", "word", "0.0%"):
        assert part in out, part
    assert "sentencepiece" not in out
    assert "char splits 控股股东: 控 股 股 东" in err
    assert "built from these texts: char, word; they cover other texts less well" in err


def test_compare_without_sizes_or_terms_takes_what_the_texts_give(work: Path, run: Run) -> None:
    answer = told(run("vocabulary", "compare", "--texts", "texts.txt", "--min-count", "10", "--json"))
    assert [row["name"] for row in answer["tokenizers"]] == BUILT
    assert answer["tokenizers"][0]["terms_whole"] is None
    assert answer["tokenizers"][0]["unknown_rate"] > 0


def test_what_is_not_installed_is_left_out_of_the_comparison(work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    code, out, err = run("vocabulary", "compare", "--texts", "texts.txt", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)["tokenizers"]] == ["char", "word"]
    assert "sentencepiece left out: " in err


def test_propose_prints_a_line_each_and_writes_the_terms(work: Path, run: Run) -> None:
    code, out, err = run("vocabulary", "propose", "--texts", "corpus.txt", "--out", "deep/found.txt", "--json")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines == [dataclasses.asdict(each) for each in propose_terms(corpus(), min_count=10, max_terms=200)]
    assert {"质押式回购", "绿鞋机制"} <= {line["term"] for line in lines}
    assert read_term_list(work / "deep" / "found.txt").terms == tuple(line["term"] for line in lines)
    assert f"{len(lines)} terms: deep/found.txt" in err
    assert hidden(work) == []


def test_propose_passes_over_what_is_known(work: Path, run: Run, tiny_run: TinyRun) -> None:
    (work / "known.txt").write_text("绿鞋机制\n", encoding="utf-8")
    code, out, _ = run("vocabulary", "propose", "--texts", "corpus.txt", "--known", "known.txt", "--most", "1")
    assert code == 0
    assert "质押式回购" in out
    assert "绿鞋机制" not in out
    assert run("vocabulary", "propose", "--texts", "corpus.txt", "--bundle", tiny_run.folder)[0] == 0


def test_propose_against_a_background(work: Path, run: Run) -> None:
    (work / "other.txt").write_text("\n".join(text.replace("绿鞋机制", "公司") for text in corpus()), encoding="utf-8")
    options = ("--texts", "corpus.txt", "--background", "other.txt")
    _, out, _ = run("vocabulary", "propose", *options, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["term"] for line in lines] == ["绿鞋机制"]
    assert lines[0]["contrast"] > 10
    assert "contrast" in run("vocabulary", "propose", *options)[1]


def test_extend_says_what_became_of_each_term(work: Path, run: Run, whole: Path) -> None:
    before = Bundle.open(whole)
    code, out, err = run("vocabulary", "extend", whole.parent, "--terms", "terms.txt", "--out", "longer")
    assert (code, out) == (0, "longer\n"), err
    longer = Bundle.open("longer")
    assert longer.vocabulary.tokens == (*before.vocabulary.tokens, *TERMS)
    np.testing.assert_array_equal(embedding_table(longer)[: len(before.vocabulary)], embedding_table(before))
    size = len(before.vocabulary)
    for part in (
        "3 terms are new tokens: 控股股东 回购股份 公司",
        "1 terms are repeated lines: 控股股东",
        "rows: 3 mean of pieces",
        f"tokens {size:,} -> {size + 3:,}, bundle ",
        "to continue training, set model: {start: longer} in a recipe and run: embtune train RECIPE --out RUN",
        "parity: onnxruntime differs by at most",
    ):
        assert part in " ".join(err.split()), part
    assert hidden(work) == []
    (work / "more.txt").write_text("退市风险\n公司\n", encoding="utf-8")
    answer = told(
        run(
            "vocabulary",
            "extend",
            "longer",
            "--terms",
            "more.txt",
            "--out",
            "longer",
            "--overwrite",
            "--data",
            "train.tsv",
            "--json",
        )
    )
    assert (answer["added"], answer["known"], answer["repeated"]) == (["退市风险"], ["公司"], [])
    assert (answer["before"]["tokens"], answer["after"]["tokens"]) == (size + 3, size + 4)
    assert answer["bundle"] == "longer"
    assert set(answer) == {"bundle", "added", "known", "repeated", "origins", "before", "after", "notes"}
    assert Bundle.open("longer").manifest.metrics["dev"]["n"] == len(ROWS)


def test_cut_keeps_what_the_texts_use(work: Path, run: Run, whole: Path) -> None:
    before = Bundle.open(whole)
    answer = told(run("vocabulary", "cut", whole, "--texts", "texts.txt", "--out", "small", "--json"))
    small = Bundle.open("small")
    assert len(small.vocabulary) == len(CHARACTERS) + 2
    assert answer["dropped"] == [token for token in before.vocabulary.tokens if token not in small.vocabulary]
    assert (answer["texts"], answer["resegmented"], answer["unknown_after"]) == (len(TEXTS), 0, 0.0)
    assert answer["after"]["bytes"] < answer["before"]["bytes"]
    np.testing.assert_allclose(Predictor(small).probabilities(TEXTS), Predictor(before).probabilities(TEXTS), atol=1e-6)
    code, out, err = run(
        "vocabulary", "cut", whole, "--data", "train.tsv", "--out", "small", "--overwrite", "--check-data", "train.tsv"
    )
    assert (code, out) == (0, "small\n")
    assert f"dropped {len(answer['dropped']):,} tokens: " in err
    assert f"{len(TEXTS)} texts: 0 are split differently than before; unknown 0.000% -> 0.000%" in err
    assert Bundle.open("small").manifest.calibration is not None


def test_rows_that_cannot_be_used_are_refused_before_anything_is_exported(
    work: Path, run: Run, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paddlenlp_embtune.export.resize_vocabulary.new_bundle", None)
    (work / "few.tsv").write_text(tsv(ROWS[:1]), encoding="utf-8")
    extend = ("extend", whole, "--terms", "terms.txt", "--out", "b", "--data", "few.tsv")
    cut = ("cut", whole, "--texts", "texts.txt", "--out", "b", "--check-data", "few.tsv")
    for arguments in (extend, cut):
        assert "1 labelled rows are too few; expected 20 or more" in error_of(run("vocabulary", *arguments), 1)


FAILURES: list[tuple[tuple[str, ...], int, str]] = [
    (("compare",), 2, "pass the texts to compare on: --data ROWS or --texts TEXTS"),
    (("compare", "--data", "train.tsv", "--texts", "texts.txt"), 2, "--data and --texts do not go together"),
    (("compare", "--texts", "absent.txt"), 1, "there is no file absent.txt"),
    (("compare", "--texts", "blank.txt"), 1, "blank.txt holds no text"),
    (("compare", "--data", "train.tsv", "--text-column", "body"), 1, "has no column 'body'"),
    (("compare", "--texts", "texts.txt", "--vocabulary", "vocab.txt"), 2, "expected NAME=FILE, such as ernie=vocab.txt"),
    (("compare", "--texts", "texts.txt", "--vocabulary", "char=vocab.txt"), 2, "uses the name 'char', which is taken"),
    (("compare", "--texts", "texts.txt", "--pieces", "0", "--vocabulary", "a=absent.txt"), 1, "cannot read absent.txt"),
    (
        ("compare", "--texts", "texts.txt", "--pieces", "0", "--vocabulary", "a=train.tsv"),
        1,
        "a vocabulary must begin with [PAD]",
    ),
    (("compare", "--texts", "texts.txt", "--pieces", "0", "--vocabulary", "a=bad.model"), 1, "SentencePiece model"),
    (("compare", "--texts", "texts.txt", "--pieces", "5"), 1, "size must be greater than 73"),
    (("compare", "--texts", "texts.txt", "--terms", "blank.txt"), 1, "blank.txt has no terms"),
    (("propose", "--texts", "absent.txt"), 1, "there is no file absent.txt"),
    (("propose", "--texts", "corpus.txt", "--out", "terms.txt"), 1, "terms.txt already exists; replace it with --overwrite"),
    (("propose", "--texts", "corpus.txt", "--known", "blank.txt"), 1, "blank.txt contains no token"),
    (("propose", "--texts", "corpus.txt", "--known", "vocab.txt", "--bundle", "run"), 2, "--known and --bundle do not go"),
    (("propose", "--texts", "corpus.txt", "--bundle", "absent"), 1, "absent is not a bundle"),
    (("propose", "--texts", "few.txt", "--out", "found.txt"), 1, "few.txt contains no term that occurs 10 times"),
    (("propose", "--texts", "few.txt", "--background", "absent.txt"), 1, "there is no file absent.txt"),
    (("extend", "absent", "--terms", "terms.txt", "--out", "b"), 1, "absent is not a bundle"),
    (("extend", "run", "--terms", "absent.txt", "--out", "b"), 1, "cannot read the terms absent.txt"),
    (("extend", "run", "--terms", "single.txt", "--out", "b"), 1, "is a single character that already has an id"),
    (("extend", "run", "--terms", "terms.txt", "--out", "texts.txt"), 1, "is no bundle, so it will not be replaced"),
    (("extend", "run", "--terms", "terms.txt", "--out", "b", "--data", "other.tsv"), 1, "has the label '涨'"),
    (("cut", "run", "--out", "b"), 2, "pass the texts that the vocabulary must cover"),
    (("cut", "run", "--out", "b", "--texts", "texts.txt", "--data", "train.tsv"), 2, "--texts and --data do not go together"),
    (("cut", "run", "--out", "b", "--texts", "blank.txt"), 1, "blank.txt holds no text"),
    (("cut", "run", "--out", "b", "--texts", "texts.txt"), 1, "hashes ids"),
    (("cut", "run", "--out", "b", "--texts", "texts.txt", "--check-data", "other.tsv"), 1, "has the label '涨'"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), FAILURES)
def test_what_cannot_be_done_is_said_in_one_line(
    work: Path, run: Run, tiny_run: TinyRun, arguments: tuple[str, ...], code: int, says: str
) -> None:
    (work / "blank.txt").write_text("\n \n", encoding="utf-8")
    if "--known" in arguments:
        (work / "blank.txt").write_text("\n", encoding="utf-8")
    (work / "few.txt").write_text("公司\n", encoding="utf-8")
    (work / "single.txt").write_text("股\n", encoding="utf-8")
    (work / "bad.model").write_bytes(b"no model")
    (work / "other.tsv").write_text(tsv([("公司", "涨")]), encoding="utf-8")
    if "run" in arguments:
        shutil.copytree(tiny_run.bundle, work / "run" / "bundle")
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    assert says in error_of(run("vocabulary", *arguments), code)
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()} == before
    assert hidden(work) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("propose",),
        ("propose", "--texts", "corpus.txt", "--least-count", "1"),
        ("extend", "run", "--out", "b"),
        ("cut", "run", "--texts", "texts.txt"),
        ("cut", "run", "--texts", "texts.txt", "--out", "b", "--min-count", "0"),
    ],
)
def test_misuse_of_the_parser_is_2(work: Path, run: Run, arguments: tuple[str, ...]) -> None:
    code, out, _ = run("vocabulary", *arguments)
    assert (code, out) == (2, "")
