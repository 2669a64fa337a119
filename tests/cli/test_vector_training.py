"""``embtune vectors train`` on small texts made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune import Recipe
from paddlenlp_embtune.embeddings.io import read_vectors, write_vectors
from paddlenlp_embtune.training.initialize import initialize_embedding
from tests.helpers import ROWS, Run, error_of, hidden

TEXTS = [text for text, _ in ROWS] * 5
CHARACTERS = set("".join(TEXTS))
FEW = ("--epochs", "1", "--width", "8")


@pytest.fixture
def work(work: Path) -> Path:
    (work / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return work


def test_train_writes_vectors_that_a_recipe_starts_from(work: Path, run: Run) -> None:
    code, out, err = run("vectors", "train", "texts.txt", "train.tsv", "--out", "deep/own.vec", *FEW)
    assert (code, out) == (0, "deep/own.vec\n"), err
    assert f"{len(TEXTS) + len(ROWS):,} texts" in err
    assert f"-> {len(CHARACTERS)} rows of width 8; 0 rare tokens left out" in err
    vectors = read_vectors(work / "deep" / "own.vec")
    assert set(vectors.rows) == CHARACTERS
    recipe = Recipe.from_dict({"data": {"train": "train.tsv"}, "vectors": {"source": str(work / "deep" / "own.vec")}})
    assert initialize_embedding(recipe, TEXTS).coverage.found == 1.0
    assert hidden(work) == []


def test_train_as_json_is_the_same_for_the_same_seed(work: Path, run: Run) -> None:
    answers = []
    for name, seed in (("a.npz", "0"), ("b.npz", "0"), ("c.npz", "1")):
        code, out, err = run("vectors", "train", "texts.txt", "--out", name, *FEW, "--seed", seed, "--json")
        assert code == 0, err
        answers.append(json.loads(out))
    assert set(answers[0]) == {
        *("target", "format", "bytes", "texts", "tokens", "rows", "width", "rare", "losses", "seconds", "start")
    }
    assert (answers[0]["format"], answers[0]["tokens"], answers[0]["start"]) == ("npz", sum(map(len, TEXTS)), None)
    first, again, other = (read_vectors(work / name).table for name in ("a.npz", "b.npz", "c.npz"))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_words_are_learnt_with_their_characters(work: Path, run: Run) -> None:
    code, _, err = run("vectors", "train", "texts.txt", "--out", "words.vec", "--tokenizer", "word", "--min-count", "2", *FEW)
    assert code == 0, err
    rows = set(read_vectors(work / "words.vec").rows)
    assert "公司" in rows
    assert "司" not in rows  # it stands in that word only, which is never cut
    assert {token for token in rows if len(token) == 1} & CHARACTERS


def test_training_starts_from_lac_and_says_so(work: Path, run: Run) -> None:
    code, out, err = run(
        "vectors", "train", "texts.txt", "--out", "a.vec", "--start", "lac", "--width", "128", "--epochs", "1", "--json"
    )
    assert code == 0, err
    answer = json.loads(out)
    assert answer["start"]["source"].startswith("LAC")
    assert answer["start"]["origins"]["exact"] == len(CHARACTERS)
    assert len(answer["losses"]) == 2
    write_vectors(work / "given.vec", sorted(CHARACTERS)[:3], np.eye(3, 8), format="word2vec")
    err = run("vectors", "train", "texts.txt", "--out", "b.vec", "--start", "given.vec", *FEW)[2]
    assert f"started from given.vec: 1 padding, {len(CHARACTERS) - 2} sampled, 3 exact" in err


@pytest.mark.parametrize(
    ("code", "options", "part"),
    [
        (2, ("--tokenizer", "wordpiece"), "--tokenizer is 'wordpiece'; did you mean 'word'? Expected char or word"),
        (2, ("--out", "own"), "the extension of own is unknown"),
        (2, ("--to", "wordtovec"), "--to is 'wordtovec'; did you mean 'word2vec'"),
        (1, ("--out", "there.vec"), "there.vec already exists; replace it with --overwrite"),
        (1, ("--min-count", "100000"), "0 are of tokens that occur 100000 times or more"),
        (1, ("--epochs", "0"), "skipgram.epochs must be 1 or more, got 0"),
        (1, ("--start", "nothing.vec"), "there are no vectors at nothing.vec"),
    ],
)
def test_what_cannot_be_is_refused(work: Path, run: Run, code: int, options: tuple[str, ...], part: str) -> None:
    (work / "there.vec").write_text("mine", encoding="utf-8")
    assert part in error_of(run("vectors", "train", "texts.txt", "--out", "own.vec", *options), code)
    assert (work / "there.vec").read_text(encoding="utf-8") == "mine"
    assert not (work / "own.vec").exists()


def test_too_few_texts_and_missing_ones_are_refused(work: Path, run: Run) -> None:
    (work / "few.txt").write_text("涨\n涨\n", encoding="utf-8")
    (work / "blank.txt").write_text("\n \n", encoding="utf-8")
    for name, part in (("few.txt", "give more texts"), ("blank.txt", "holds no text"), ("none.txt", "none.txt")):
        assert part in error_of(run("vectors", "train", name, "--out", "own.vec"), 1)
    assert hidden(work) == []
