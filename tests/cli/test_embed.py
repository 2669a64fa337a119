"""``embtune embed`` and ``embtune evaluate --retrieval``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.inference import Predictor
from tests.helpers import Run, error_of


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts.txt").write_text("公司拟回购股份\n\n停牌\n", encoding="utf-8")
    return tmp_path / "texts.txt"


def test_vectors_are_those_of_the_predictor(bundle: Bundle, texts: Path, run: Run) -> None:
    lines = texts.read_text(encoding="utf-8").splitlines()
    out, table = texts.with_name("v.npy"), texts.with_name("v.parquet")
    code, said, _ = run("embed", texts, "--bundle", bundle.path, "--out", out, "--dimensions", "3", "--json")
    assert code == 0
    told = {"rows": 3, "dimensions": 3, "pooling": "max", "normalized": True, "cut": 0, "out": str(out)}
    assert json.loads(said) == told
    np.testing.assert_array_equal(np.load(out), Predictor(bundle).embed(lines, dimensions=3))
    assert run("embed", texts, "--bundle", bundle.path, "--out", table, "--raw")[:2] == (0, "")
    columns = pyarrow.parquet.read_table(table)
    assert columns["text"].to_pylist() == lines
    np.testing.assert_allclose(columns["vector"].to_pylist(), Predictor(bundle).embed(lines, normalize=False), rtol=1e-6)


def test_wrong_files_are_refused_before_anything_is_read(bundle: Bundle, texts: Path, run: Run) -> None:
    assert ".npy or .parquet" in error_of(run("embed", texts, "--bundle", bundle.path, "--out", "v.txt"), 2)
    array = texts.with_name("a.npy")
    assert "which is read" in error_of(run("embed", array, "--bundle", bundle.path, "--out", array), 2)


def test_retrieval_is_evaluated_on_classes_and_pairs(bundle: Bundle, tmp_path: Path, run: Run) -> None:
    rows, pairs, scored = (tmp_path / name for name in ("rows.tsv", "pairs.tsv", "scored.tsv"))
    rows.write_text("text\tlabel\n公司回购股份\t好\n股份回购\t好\n减持股份\t坏\n股东减持\t坏\n", encoding="utf-8")
    pairs.write_text("anchor\tpositive\tnegative\n回购\t公司回购股份\t停牌\n减持\t股东减持\t开会\n", encoding="utf-8")
    scored.write_text("sentence1\tsentence2\tscore\n回购\t回购股份\t1\n减持\t开会\t0\n", encoding="utf-8")

    def measured(*options: str | Path) -> dict[str, object]:
        code, said, told = run("evaluate", bundle.path, "--retrieval", *options, "--json")
        assert code == 0, told
        return dict(json.loads(said))

    alone, both = measured("--data", rows), measured("--data", rows, "--index", rows, "--k", "1")
    assert (alone["queries"], alone["k"], both["mrr"]) == (4, 10, 1.0)
    assert {"median_rank", "recall_at_k", "ndcg_at_k", "alignment", "uniformity"} < set(alone)
    assert (measured("--pairs", pairs)["rows"], measured("--pairs", pairs)["pairs"]) == (4, 2)
    assert "spearman" in measured("--pairs", scored)
    assert "--pairs FILE" in error_of(run("evaluate", bundle.path, "--retrieval"), 2)
    assert "--data FILE" in error_of(run("evaluate", bundle.path, "--pairs", pairs), 2)
