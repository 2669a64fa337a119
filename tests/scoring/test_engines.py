"""Ray and Spark, each on this machine, where they are installed: the answers of one process, whatever runs the workers."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import types
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from paddlenlp_embtune import HostError, MissingDependencyError, Predictor
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.scoring import ScoringSpec, score_files
from tests.bundles import TEXTS
from tests.helpers import embtune, python

INSTALLED = {
    "ray": importlib.util.find_spec("ray") is not None,
    "spark": importlib.util.find_spec("pyspark") is not None and shutil.which("java") is not None,
}

RAY = """
import json, sys, ray
import paddlenlp_embtune.scoring as scoring
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
packed = scoring.PackedBundle.of(sys.argv[1])
rows = ray.data.from_items(json.load(open(sys.argv[2])))
scored = rows.map_batches(
    scoring.RayScorer, fn_constructor_kwargs={"bundle": packed}, batch_size=8, compute=ray.data.ActorPoolStrategy(size=1)
)
print(json.dumps(sorted([row["id"], row["predicted_label"], float(row["predicted_score"])] for row in scored.take_all())))
"""

SPARK = """
import json, sys
from pyspark.sql import SparkSession
import paddlenlp_embtune.scoring as scoring
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
frame = spark.createDataFrame([(row["id"], row["text"]) for row in json.load(open(sys.argv[2]))], "id long, text string")
scored = frame.withColumn("answer", scoring.spark_udf(sys.argv[1])("text")).collect()
print(json.dumps(sorted([row.id, row.answer.label or "", row.answer.score] for row in scored)))
"""


def engine_or_skip(name: str) -> None:
    if not INSTALLED[name]:
        pytest.skip(f"{name} is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "spark"])
def test_a_job_gives_the_answers_of_one_process(engine: str, bundle: Bundle, tmp_path: Path) -> None:
    engine_or_skip(engine)
    rows = [{"id": at, "text": TEXTS[at % len(TEXTS)]} for at in range(60)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "b.jsonl").write_text(lines)
    command = ("score", "a.parquet", "b.jsonl", "--bundle", str(bundle.path), "--rows-per-partition", "16", "--json")

    ran = embtune(*command, "--engine", engine, "--workers", "2", "--out", "out", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    plain = embtune(*command, "--workers", "1", "--out", "plain", cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr

    assert (json.loads(ran.stdout)["rows"], json.loads(ran.stdout)["workers"]) == (120, 2)
    for file in (tmp_path / "plain").glob("part-*"):
        here, there = pq.read_table(file), pq.read_table(tmp_path / "out" / file.name)
        assert here.drop(["predicted_score"]).equals(there.drop(["predicted_score"]))
        assert here["predicted_score"].to_pylist() == pytest.approx(there["predicted_score"].to_pylist(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "script"), [("ray", RAY), ("spark", SPARK)])
def test_a_pipeline_gives_the_answers_of_one_process(engine: str, script: str, bundle: Bundle, tmp_path: Path) -> None:
    engine_or_skip(engine)
    rows = [{"id": at, "text": TEXTS[at % len(TEXTS)]} for at in range(30)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))

    python_of_spark = {"PYSPARK_PYTHON": sys.executable}
    ran = python("-W", "ignore", "-c", script, str(bundle.path), "rows.json", cwd=tmp_path, env=python_of_spark)

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    answers = Predictor(bundle, num_threads=1).predict([row["text"] for row in rows])
    assert [row[:2] for row in found] == [[at, each["label"] or ""] for at, each in enumerate(answers)]
    assert [row[2] for row in found] == pytest.approx([each["score"] for each in answers], abs=1e-6)


def test_a_cluster_with_too_few_processors_is_refused(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = types.SimpleNamespace(is_initialized=lambda: True, cluster_resources=lambda: {"CPU": 2.0})
    monkeypatch.setitem(sys.modules, "ray", cluster)
    (tmp_path / "a.tsv").write_text("text\n好\n", encoding="utf-8")
    spec = ScoringSpec(bundle=bundle.path, data=[tmp_path / "a.tsv"])
    with pytest.raises(HostError, match="--workers is 3, and Ray has 2 processors"):
        score_files(spec, tmp_path / "out", engine="ray", workers=3)


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("spark", "pyspark")])
def test_an_engine_that_is_not_installed_names_its_extra(
    engine: str, package: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "a.tsv").write_text("text\n好\n", encoding="utf-8")
    spec = ScoringSpec(bundle=bundle.path, data=[tmp_path / "a.tsv"])
    with pytest.raises(MissingDependencyError, match=rf"paddlenlp-embtune\[{engine}\]"):
        score_files(spec, tmp_path / "out", engine=engine)
