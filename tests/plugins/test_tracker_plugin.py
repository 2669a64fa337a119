"""The example plugin for trackers: MLflow by its own files, SwanLab by a stand-in with its names."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from embtune_trackers.mlflow_tracker import MlflowTracker
from embtune_trackers.swanlab_tracker import SwanlabTracker

from paddlenlp_embtune import MissingDependencyError


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client, writing into a folder of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "texts")
    return pytest.importorskip("mlflow").MlflowClient()


pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning:mlflow.*")


def runs(client: Any) -> list[Any]:
    experiment = client.get_experiment_by_name("texts")
    return list(client.search_runs([experiment.experiment_id]))


def test_a_run_is_in_mlflows_files(client: Any, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>", encoding="utf-8")
    tracker = MlflowTracker()
    parameters = {f"part.{number}": number for number in range(150)} | {"data.labels": ["利好", "利空"], "long": "x" * 9000}
    found = tracker.start(name="first", parameters=parameters, previous=None)
    tracker.log(metrics={"eval_f1_macro": 0.5, "rate/嵌入 (1)": 1e-3}, step=4)
    tracker.log(metrics={"eval_f1_macro": 0.75}, step=8)
    tracker.finish(status="finished", files=[tmp_path / "report.html"], bundle=tmp_path / "bundle")
    (run,) = runs(client)
    assert (run.info.run_id, run.info.run_name, run.info.status) == (found, "first", "FINISHED")
    assert len(run.data.params) == 152
    assert run.data.params["data.labels"] == '["利好", "利空"]'
    assert run.data.metrics == {"eval_f1_macro": 0.75, "rate/嵌入 _1_": 1e-3}
    history = [(metric.step, metric.value) for metric in client.get_metric_history(found, "eval_f1_macro")]
    assert history == [(4, 0.5), (8, 0.75)]
    assert [file.path for file in client.list_artifacts(found)] == ["report.html"]
    assert run.data.tags["bundle"] == str(tmp_path / "bundle")


def test_a_run_that_was_cut_is_continued(client: Any) -> None:
    first, again = MlflowTracker(), MlflowTracker()
    begun = first.start(name="cut", parameters={"seed": 1}, previous=None)
    first.finish(status="failed", files=[], bundle=None)
    assert runs(client)[0].info.status == "FAILED"
    assert again.start(name="cut", parameters={"seed": 1}, previous=begun) == begun
    again.log(metrics={"loss": 0.5}, step=9)
    again.finish(status="finished", files=[], bundle=None)
    (run,) = runs(client)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 0.5})


def test_swanlab_is_called_by_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SwanLab 0.10 has them: it is not a package that tests install."""
    calls: list[tuple[Any, ...]] = []
    run = types.SimpleNamespace(
        id="abc",
        config={},
        log=lambda metrics, step: calls.append(("log", metrics, step)),
        finish=lambda state: calls.append(("finish", state)),
    )

    def init(**told: Any) -> Any:
        calls.append(("init", told))
        return run

    monkeypatch.setitem(sys.modules, "swanlab", types.SimpleNamespace(init=init))
    monkeypatch.setenv("SWANLAB_PROJ_NAME", "texts")
    tracker = SwanlabTracker()
    assert tracker.start(name="one", parameters={"a": 1}, previous="abc") == "abc"
    tracker.log(metrics={"loss": 0.5}, step=2)
    tracker.finish(status="failed", files=[], bundle=tmp_path)
    expected = {"project": "texts", "name": "one", "config": {"a": 1}, "id": "abc", "resume": "allow"}
    assert calls == [("init", expected), ("log", {"loss": 0.5}, 2), ("finish", "crashed")]
    assert run.config == {"files": [], "bundle": str(tmp_path)}


@pytest.mark.parametrize(("name", "tracker"), [("mlflow", MlflowTracker), ("swanlab", SwanlabTracker)])
def test_a_missing_package_is_named(name: str, tracker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=f"report_to names {name}, which is not installed; install it with: pip"):
        tracker()
