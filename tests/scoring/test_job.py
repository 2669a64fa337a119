"""``embtune score``: every row answered once, in order, with its columns; what is killed or broken loses nothing else."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from paddlenlp_embtune import DataError, EmbtuneError, Predictor, RecipeError
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.export import write_bundle
from paddlenlp_embtune.scoring import PackedBundle, RayScorer, ScoringSpec, score_files
from paddlenlp_embtune.scoring._executors import EXECUTORS
from paddlenlp_embtune.scoring._worker import Task, score_partition
from paddlenlp_embtune.scoring.partitions import Partition
from tests import bundles
from tests.bundles import TEXTS
from tests.helpers import Run, error_of

ROWS = [{"id": at, "text": TEXTS[at % len(TEXTS)], "day": at % 7} for at in range(60)]


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet", row_group_size=16)
    return tmp_path / "rows.parquet"


class _Here:
    """Runs partitions in this process."""

    workers = 1

    def __init__(self, task: Task) -> None:
        self._task = task

    def submit(self, partition: Partition) -> Future[dict[str, Any]]:
        ended: Future[dict[str, Any]] = Future()
        try:
            ended.set_result(score_partition(self._task, partition))
        except EmbtuneError as fault:
            ended.set_exception(fault)
        return ended


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes, which take a second to start."""
    monkeypatch.setitem(EXECUTORS, "processes", lambda task, workers: contextlib.nullcontext(_Here(task)))


def answers_of(bundle: Bundle) -> list[tuple[str, float]]:
    found = Predictor(bundle, num_threads=1).predict([row["text"] for row in ROWS])
    return [(each["label"] or "", each["score"]) for each in found]


def read(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("part-*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


def test_parquet_keeps_columns_kinds_and_order(bundle: Bundle, parquet: Path, tmp_path: Path) -> None:
    spec = ScoringSpec(bundle=bundle.path, data=[parquet], rows_per_partition=25)

    report = score_files(spec, tmp_path / "out", workers=2)

    found = read(tmp_path / "out")
    assert [{name: row[name] for name in ("id", "text", "day")} for row in found] == ROWS
    assert [row["predicted_label"] for row in found] == [label for label, _ in answers_of(bundle)]
    assert [row["predicted_score"] for row in found] == pytest.approx([score for _, score in answers_of(bundle)], abs=1e-6)
    schema = pq.read_schema(tmp_path / "out" / "part-00001.parquet")
    assert schema.field("day").type == pa.int64()
    assert (report["rows"], report["partitions"], report["resumed"], report["failed"]) == (60, 3, 0, [])
    assert report["blank"] == sum(not row["text"] for row in ROWS)


@pytest.mark.usefixtures("here")
def test_every_format_gets_the_same_answers(bundle: Bundle, tmp_path: Path, run: Run) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")

    code, out, err = run(
        *("score", tmp_path / "rows.jsonl", "--bundle", bundle.path, "--out", tmp_path / "out", "--workers", "1"),
        *("--rows-per-partition", "25", "--scores", "--json"),
    )

    assert code == 0, err
    assert json.loads(out)["rows"] == 60
    parts = sorted((tmp_path / "out").glob("part-*.jsonl"))
    found = [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["predicted_label"]) for row in found] == [
        (at, label) for at, (label, _) in enumerate(answers_of(bundle))
    ]
    assert {"predicted_利空", "predicted_中性", "predicted_利好"} <= set(found[0])


@pytest.mark.usefixtures("here")
def test_several_labels_are_columns_of_lists(parquet: Path, tmp_path: Path) -> None:
    several = write_bundle(tmp_path / "several", bundles.content(kind="multi", ordered=False), engines=("onnxruntime",))

    score_files(ScoringSpec(bundle=several.path, data=[parquet], rows_per_partition=25), tmp_path / "out")

    answers = Predictor(several, num_threads=1).predict([row["text"] for row in ROWS])
    found = read(tmp_path / "out")
    assert [row["predicted_labels"] for row in found] == [[each["label"] for each in answer["labels"]] for answer in answers]
    assert pq.read_schema(tmp_path / "out" / "part-00000.parquet").field("predicted_scores").type == pa.list_(pa.float64())
    with pytest.raises(DataError, match="RayScorer knows one label a text"):
        RayScorer(str(several.path))


def test_a_worker_that_is_killed_loses_no_row_and_repeats_none(bundle: Bundle, parquet: Path, tmp_path: Path) -> None:
    killed = list[int]()

    def kill_one(record: Mapping[str, Any]) -> None:
        if not killed:
            children = multiprocessing.active_children()
            killed.append(children[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    spec = ScoringSpec(bundle=bundle.path, data=[parquet], rows_per_partition=5)
    report = score_files(spec, tmp_path / "out", workers=2, listener=kill_one)

    assert killed
    assert (report["rows"], report["failed"]) == (60, [])
    assert [row["id"] for row in read(tmp_path / "out")] == list(range(60))


@pytest.mark.slow
def test_a_job_that_is_killed_continues_with_what_is_missing(bundle: Bundle, tmp_path: Path) -> None:
    many = [{**ROWS[at % 60], "id": at} for at in range(20_000)]
    pq.write_table(pa.Table.from_pylist(many), tmp_path / "many.parquet")
    command = [sys.executable, "-m", "paddlenlp_embtune", "score", "many.parquet", "--bundle", str(bundle.path)]
    command += ["--out", "out", "--workers", "1", "--rows-per-partition", "200", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE)
    done = tmp_path / "out" / "_partitions"
    while len(list(done.glob("*.json"))) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("part-*.parquet")}

    again = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)

    report = json.loads(again.stdout)
    assert 5 <= report["resumed"] < 100
    assert (report["rows"], report["partitions"], report["failed"]) == (20_000, 100, [])
    assert [row["id"] for row in read(tmp_path / "out")] == list(range(20_000))
    kept = sum(file.stat().st_mtime_ns == stamp for file, stamp in before.items())
    assert kept >= report["resumed"]


@pytest.mark.usefixtures("here")
def test_a_broken_row_fails_its_partition_only(bundle: Bundle, tmp_path: Path) -> None:
    table = pa.table({"text": [b"a", b"b"]})
    pq.write_table(table, tmp_path / "b.parquet")
    pq.write_table(pa.table({"other": ["x"]}), tmp_path / "c.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS[:5]), tmp_path / "a.parquet")
    (tmp_path / "d.tsv").write_text("text\n好\n", encoding="utf-8")
    (tmp_path / "e.jsonl").write_text('{"text": "好"}\n{"text": ["a"]}\n', encoding="utf-8")
    failed = list[str]()
    spec = ScoringSpec(bundle=bundle.path, data=[tmp_path / "[a-e].*"])

    def note(record: Mapping[str, Any]) -> None:
        failed.extend([record["error"]] if "error" in record else [])

    report = score_files(spec, tmp_path / "out", workers=1, listener=note)

    assert (report["rows"], report["partitions"], len(report["failed"])) == (6, 2, 3)
    assert "row 1 of" in failed[0] + failed[1]
    assert any("no column 'text'" in each and "c.parquet" in each for each in failed)
    assert any("e.jsonl from row 1 on" in each for each in failed)
    (tmp_path / "b.parquet").touch()
    with pytest.raises(RecipeError, match="another job, with other data"):
        score_files(spec, tmp_path / "out", workers=1)


@pytest.mark.usefixtures("here")
def test_the_same_job_again_does_nothing_and_another_one_is_refused(
    bundle: Bundle, parquet: Path, tmp_path: Path, run: Run
) -> None:
    arguments = ("score", parquet, "--bundle", bundle.path, "--out", tmp_path / "out", "--workers", "1")
    assert run(*arguments)[0] == 0
    code, out, _ = run(*arguments, "--json")
    assert (code, json.loads(out)["resumed"], json.loads(out)["texts_per_second"]) == (0, 1, None)

    assert "other scores" in error_of(run(*arguments, "--scores"), 2)
    assert run(*arguments, "--scores", "--overwrite")[0] == 0
    assert "predicted_利好" in pq.read_schema(tmp_path / "out" / "part-00000.parquet").names
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    other = ("score", parquet, "--bundle", bundle.path, "--out", tmp_path / "mine")
    assert "something else" in error_of(run(*other), 2)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_misuse_is_refused_before_any_worker_starts(
    bundle: Bundle, parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("a worker was started")

    monkeypatch.setitem(EXECUTORS, "processes", never)

    def refusal(error: type[Exception], **changes: Any) -> str:
        options = {"bundle": bundle.path, "data": [parquet], **changes}
        engine = {name: options.pop(name) for name in ("engine", "workers") if name in options}
        with pytest.raises(error) as caught:
            score_files(ScoringSpec(**options), tmp_path / "out", **engine)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    assert "xpected processes, ray or spark" in refusal(RecipeError, engine="dask")
    assert "--workers must be 1 or more, got 0" in refusal(RecipeError, workers=0)
    assert "named twice" in refusal(DataError, data=[parquet, parquet.parent / "*.parquet"])
    assert "no file is called" in refusal(DataError, data=[tmp_path / "nothing-*.csv"])
    assert "--to is 'xls'" in refusal(RecipeError, format="xls")
    assert "--rows-per-partition must be 1 or more" in refusal(RecipeError, rows_per_partition=0)


def test_a_packed_bundle_opens_where_its_folder_is_not(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    folder = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    packed, seen = PackedBundle.of(folder), PackedBundle.of(folder, ship=False)
    folder.rename(tmp_path / "gone")

    opened = packed.open()

    assert opened.fingerprint == bundle.fingerprint
    assert packed.open().path == opened.path
    with pytest.raises(BundleError, match="this worker has no folder"):
        seen.open()
    (opened.path / "vocab.txt").write_text("x", encoding="utf-8")
    with pytest.raises(BundleError):
        packed.open()
