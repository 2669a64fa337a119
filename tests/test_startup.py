"""``import paddlenlp`` works above ``import paddlenlp_embtune`` where the start-up file is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.compat import diagnostics

ROOT = Path(__file__).parent.parent
PTH = "paddlenlp_embtune.pth"
STARTUP = "paddlenlp_embtune_startup"


def started(code: str, site: Path, *, paths: tuple[Path, ...] = (ROOT,)) -> str:
    """Run code as Python does that has read the start-up file."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    whole = f"import site; site.addsitedir({str(site)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", whole], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Holds what the wheel puts beside the packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name in (PTH, f"{STARTUP}.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """An aistudio-sdk that lost what PaddleNLP needs."""
    folder = tmp_path / "newer" / "aistudio_sdk"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "hub.py").write_text("def upload(): pass\n")
    return folder.parent


ORDERS = (
    "from paddlenlp import Taskflow\nimport paddlenlp_embtune\n",
    "import paddlenlp_embtune\nfrom paddlenlp import Taskflow\n",
)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS, ids=["paddlenlp first", "ours first"])
def test_either_package_may_be_imported_first(site: Path, order: str) -> None:
    answer = 'print(Taskflow("domain_sentiment")("公司拟回购股份")[0]["label"] is not None)'
    assert started(order + answer, site) == "True"


def test_what_aistudio_lost_is_there_before_we_are_imported(site: Path, newer: Path) -> None:
    code = "import sys, aistudio_sdk.hub as hub; print(hub.download.embtune_shim, hub.upload())"
    assert started(code, site, paths=(newer, ROOT)) == "True None"
    assert started("import aistudio_sdk.hub; " + code, site, paths=(newer, ROOT)) == "True None"


def test_nothing_is_loaded_until_it_is_needed(site: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import json\n"
        "print([name for name in sys.modules if name.startswith(('paddle', 'aistudio'))])"
    )
    assert started(code, site) == f"['{STARTUP}']"


def test_without_our_package_nothing_happens(site: Path, newer: Path) -> None:
    hidden = "import sys; sys.modules['paddlenlp_embtune'] = None\n"
    code = "import aistudio_sdk.hub as hub; print(hasattr(hub, 'download'), [f for f in sys.meta_path if 'Waiting' in repr(f)])"
    assert started(hidden + code, site, paths=(newer,)) == "False []"
    (site / f"{STARTUP}.py").unlink()
    assert started("print('silent')", site, paths=(newer,)) == "silent"


def test_the_wheel_holds_the_startup_file(tmp_path: Path) -> None:
    assert importlib.util.find_spec("setuptools") is not None
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", PTH, f"{STARTUP}.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    package = tmp_path / "paddlenlp_embtune"
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "0.1.0"\n')
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", "build_py", "--build-lib", "built"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (tmp_path / "built").iterdir()} == {"paddlenlp_embtune", PTH, f"{STARTUP}.py"}


def finding(name: str) -> diagnostics.Finding | None:
    return next((each for each in diagnostics._beside_paddlenlp() if each.name == name), None)


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    given: dict[str, str | None] = {"paddlenlp": "3.0.0b4", "numpy": "1.26.4", "pyarrow": "20.0.0"}
    monkeypatch.setattr(diagnostics, "_version", given.get)
    return given


def test_the_doctor_names_what_paddlenlp_misses(versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.name for each in diagnostics._beside_paddlenlp()] == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    pip = finding("pip")
    assert pip is not None
    assert (pip.state, pip.fix) == ("broken", "uv pip install pip, or: python -m ensurepip")
    versions |= {"pyarrow": "21.0.0"}
    arrow = finding("pyarrow")
    assert arrow is not None
    assert arrow.fix == 'pip install "pyarrow<21"'
    versions |= {"numpy": "2.1.0"}
    numpy = finding("numpy")
    assert numpy is not None
    assert numpy.fix == 'pip install "numpy<2" "pyarrow<21"'


def test_the_doctor_says_whether_the_startup_file_is_there(
    versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions["aistudio-sdk"] = "0.3.9"
    monkeypatch.delitem(sys.modules, STARTUP, raising=False)
    without = finding("aistudio-sdk")
    assert without is not None
    assert without.state == "note"
    assert "pip install --force-reinstall --no-deps paddlenlp-embtune" in without.fix
    monkeypatch.setitem(sys.modules, STARTUP, sys)
    there = finding("aistudio-sdk")
    assert there is not None
    assert (there.state, there.fix) == ("ok", "")


@pytest.mark.parametrize(
    ("error", "state"),
    [(None, None), ("TypeError: Expected an int, got a boolean.", "note"), ("ImportError: cannot import name 'x'", "note")],
)
def test_the_doctor_tries_visualdl(
    versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch, error: str | None, state: str | None
) -> None:
    versions |= {"visualdl": "2.5.3", "protobuf": "7.36.2"}
    monkeypatch.setattr(diagnostics, "_failure", lambda code: error)
    found = finding("visualdl")
    assert (found and found.state) == state
    assert found is None or "protobuf<7" in found.fix


def test_the_doctor_prints_both(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "_imports", lambda: iter(()))
    _, out, _ = run("doctor", "--json")
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert {"name", "state", "what", "fix"} == set(rows[0])


def test_visualdl_takes_booleans_once_we_are_imported(tmp_path: Path) -> None:
    visualdl = pytest.importorskip("visualdl")
    with visualdl.LogWriter(logdir=str(tmp_path)) as writer:
        writer.add_hparams({"flag": True, "rate": 0.5, "name": "x", "steps": 3, "none": None}, ["loss"])
    (file,) = tmp_path.glob("vdlrecords*")
    reader = visualdl.LogReader(file_path=str(file))
    (record,) = reader.get_data("hyper_parameters", reader.get_tags()["hyper_parameters"][0])
    values = {info.name: info.int_value for info in record.hparam.hparamInfos}
    assert values["flag"] == 1
    assert values["steps"] == 3
