"""What importing and serving must not load. Who may import whom is in test_architecture.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import paddlenlp_embtune
from tests.helpers import TinyRun, python

NAME = "paddlenlp_embtune"

PROBE = """
import json, os, sys
before = dict(os.environ), set(sys.modules)
import paddlenlp_embtune
answer = {"same_environment": dict(os.environ) == before[0], "loaded": sorted(set(sys.modules) - before[1])}
answer["names"] = dir(paddlenlp_embtune)
if len(sys.argv) > 1:
    from paddlenlp_embtune.plugin import registry
    answer["models"] = registry.current().names("model")
print(json.dumps(answer))
"""


@pytest.fixture
def installed_plugin(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with a plugin that is installed there."""
    (tmp_path / "probe_plugin.py").write_text(
        "import paddlenlp_embtune\n\n@paddlenlp_embtune.hookimpl\ndef embtune_register_models():\n    return {'probe': print}\n"
    )
    metadata = tmp_path / "probe_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: probe-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{NAME}]\nprobe = probe_plugin\n")
    return tmp_path


def test_importing_the_package_has_no_side_effects(installed_plugin: Path) -> None:
    done = python("-c", PROBE, cwd=installed_plugin, env={"PYTHONPATH": str(installed_plugin)})
    answer = json.loads(done.stdout)
    tops = {name.split(".")[0] for name in answer["loaded"]}
    assert answer["same_environment"]
    assert not tops & {"paddle", "paddlenlp", "numpy", "onnxruntime", "pluggy", "typer", "rich", "yaml", "probe_plugin"}
    assert f"{NAME}.plugin.manager" not in answer["loaded"]
    assert set(paddlenlp_embtune.__all__) <= set(answer["names"])
    assert done.stderr == ""


def test_plugins_are_loaded_by_the_first_lookup(installed_plugin: Path) -> None:
    done = python("-c", PROBE, "look up", cwd=installed_plugin, env={"PYTHONPATH": str(installed_plugin)})
    assert {"textcnn", "probe"} <= set(json.loads(done.stdout)["models"])


PREDICT = """
import json, sys
sys.modules["paddle"] = None
from paddlenlp_embtune import MissingDependencyError, Predictor
results = Predictor(sys.argv[1], engine="onnxruntime").predict(json.loads(sys.argv[2]), scores=True)
loaded = sorted(name for name, module in sys.modules.items() if name.startswith("paddle") and module is not None)
refused = []
for engine in ("paddle", "paddle_inference"):
    try:
        Predictor(sys.argv[1], engine=engine)
    except MissingDependencyError as error:
        refused.append(str(error))
print(json.dumps([results, loaded, refused]))
"""
TEXTS = ["公司拟回购股份", "", "集团被立案调查"]


def test_onnxruntime_serves_without_paddle_and_other_engines_say_that_they_need_it(tiny_run: TinyRun) -> None:
    done = python("-c", PREDICT, str(tiny_run.bundle), json.dumps(TEXTS), cwd=tiny_run.folder)
    assert done.returncode == 0, done.stderr
    results, loaded, refused = json.loads(done.stdout)
    assert [result["text"] for result in results] == TEXTS
    assert [result["label"] is None for result in results] == [False, True, False]
    # Where the wheel is installed, Python reads its start-up file before anything else.
    assert {name.split(".")[0] for name in loaded} - {f"{NAME}_startup"} == {NAME}
    assert len(refused) == 2
    assert all("paddlenlp-embtune[cpu]" in message for message in refused)


@pytest.mark.parametrize("command", [("predict",), ("evaluate", "--data", "train.tsv"), ("plugins",), ("params",)])
def test_the_command_line_serves_without_paddle(command: tuple[str, ...], tiny_run: TinyRun) -> None:
    code = "import sys; sys.modules['paddle'] = None; from paddlenlp_embtune.cli.main import main; main()"
    target = [] if command[0] == "plugins" else [str(tiny_run.bundle)]
    done = python("-c", code, command[0], *target, *command[1:], cwd=tiny_run.data.parent, text="公司拟回购股份\n")
    if command[0] == "params":
        assert done.returncode == 1
        assert done.stderr.startswith("error: paddle is not installed")
    else:
        assert done.returncode == 0, done.stderr
