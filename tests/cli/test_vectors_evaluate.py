"""``embtune vectors evaluate`` on files and bundles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune.embeddings.io import write_vectors
from tests.helpers import ROWS, Run, TinyRun, error_of

CHARACTERS = sorted(set("".join(text for text, _ in ROWS)))


@pytest.fixture
def work(work: Path) -> Path:
    table = np.random.default_rng(0).normal(size=(len(CHARACTERS), 6)).astype(np.float32)
    write_vectors(work / "some.vec", CHARACTERS, table, format="word2vec")
    (work / "groups.yaml").write_text("buying: [回购, 增长]\nselling: [减持, 亏损, 加息]\n", encoding="utf-8")
    (work / "analogies.txt").write_text(": all\n公 司 股 份\n公 司 股 甲\n", encoding="utf-8")
    return work


def test_a_file_and_a_run_side_by_side(work: Path, tiny_run: TinyRun, run: Run) -> None:
    asked = ("vectors", "evaluate", "some.vec", str(tiny_run.folder), "--groups", "groups.yaml", "--analogies", "analogies.txt")
    code, out, err = run(*asked, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert [row["width"] for row in told["sources"]] == [6, 128]
    assert told["groups"]["coverage"]["used"] == 4
    assert len(told["groups"]["alignment"]) == 2
    assert (told["analogies"]["asked"], told["analogies"]["questions"]) == (1, 2)
    code, out, err = run(*asked)
    assert code == 0, err
    assert "terms: 4 of 5 are used" in out
    assert "some.vec: 0 have a row, 4 stand for their parts, 1 are missing: 加息" in out
    assert "1 of 2" in out


def test_a_table_alone_is_measured_and_more_is_offered(work: Path, run: Run) -> None:
    code, out, err = run("vectors", "evaluate", "some.vec")
    assert code == 0, err
    assert "some.vec" in out
    assert "pass --groups or --domain, or --analogies" in err


def test_words_that_are_all_unknown_fail(work: Path, run: Run) -> None:
    (work / "other.yaml").write_text("a: [甲, 乙]\n", encoding="utf-8")
    message = error_of(run("vectors", "evaluate", "some.vec", "--groups", "other.yaml"), 1)
    assert "none of the 2 terms of the groups has a vector in" in message
