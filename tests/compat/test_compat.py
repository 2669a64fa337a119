"""What the host does around Paddle: hooks on imports, the shim, the processor, and the conversion of rates."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.utils import import_hooks
from tests.helpers import python

Seen = list[types.ModuleType]


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a module that has not been imported, different for every test."""
    name = f"embtune_probe_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def test_a_module_that_is_imported_already_is_handed_over_at_once() -> None:
    seen: Seen = []
    import_hooks.after_import("json", seen.append)
    assert seen == [json]


def test_a_module_is_handed_over_complete_when_it_is_imported_later(probe: str) -> None:
    seen: list[tuple[str, Any]] = []
    import_hooks.after_import(probe, lambda module: seen.append(("first", module.value)))
    import_hooks.after_import(probe, lambda module: seen.append(("second", module.value)))
    assert seen == []
    importlib.import_module(probe)
    importlib.import_module(probe)
    assert seen == [("first", 7), ("second", 7)]


def test_a_watched_module_keeps_its_spec_and_loader(probe: str) -> None:
    import_hooks.after_import(probe, lambda module: None)
    module = importlib.import_module(probe)
    assert module.__spec__ is not None
    assert type(module.__spec__.loader) is SourceFileLoader
    assert module.__loader__ is module.__spec__.loader
    assert inspect.getsource(module) == "value = 7\n"
    assert module.__spec__.origin == module.__file__
    assert importlib.reload(module) is module
    assert type(module.__spec__.loader) is SourceFileLoader


def test_a_watched_package_finds_its_submodules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "embtune_probe_package").mkdir()
    (tmp_path / "embtune_probe_package" / "__init__.py").write_text("from . import inner\n")
    (tmp_path / "embtune_probe_package" / "inner.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen: Seen = []
    import_hooks.after_import("embtune_probe_package.inner", seen.append)
    package = importlib.import_module("embtune_probe_package")
    assert seen == [package.inner]


def test_a_module_that_fails_to_import_is_handed_over_when_it_succeeds(probe: str, tmp_path: Path) -> None:
    seen: Seen = []
    import_hooks.after_import(probe, seen.append)
    file = tmp_path / f"{probe}.py"
    file.write_text("raise RuntimeError('not yet')\n")
    with pytest.raises(RuntimeError, match="not yet"):
        importlib.import_module(probe)
    assert seen == []
    file.write_text("value = 'at last'\n")
    importlib.invalidate_caches()
    assert importlib.import_module(probe).value == "at last"
    assert len(seen) == 1


def test_a_module_that_is_not_there_stays_absent() -> None:
    import_hooks.after_import("embtune_probe_absent", lambda module: None)
    assert importlib.util.find_spec("embtune_probe_absent") is None
    with pytest.raises(ModuleNotFoundError, match="embtune_probe_absent"):
        importlib.import_module("embtune_probe_absent")


def test_the_spec_of_a_watched_module_can_be_read_without_importing_it(probe: str) -> None:
    import_hooks.after_import(probe, lambda module: None)
    spec = importlib.util.find_spec(probe)
    assert spec is not None
    loader: Any = spec.loader
    assert loader.get_source(probe) == "value = 7\n"  # what runpy, pkgutil and debuggers ask for


def test_a_module_that_is_just_being_imported_is_handed_over_at_the_next_import(probe: str, tmp_path: Path) -> None:
    source = (
        "from paddlenlp_embtune.utils import import_hooks\n"
        f"seen = []\nimport_hooks.after_import({probe!r}, seen.append)\nvalue = 7\n"
    )
    (tmp_path / f"{probe}.py").write_text(source)
    module = importlib.import_module(probe)
    assert module.seen == []
    (tmp_path / f"{probe}_next.py").touch()
    importlib.import_module(f"{probe}_next")
    assert module.seen == [module]


SHIM = """
import paddlenlp_embtune, aistudio_sdk.hub as hub
try:
    print(hub.download(repo_id="x"), hasattr(hub.download, "embtune_shim"))
except paddlenlp_embtune.HostError as error:
    print("HostError:", error)
"""


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("def upload(): ...\n", "HostError: downloading from AI Studio is not possible"),
        ("def download(**kwargs): return 'theirs'\n", "theirs False"),
    ],
    ids=["without download", "with download"],
)
@pytest.mark.parametrize("late", [False, True], ids=["we first", "hub first"])
def test_the_shim_supplies_what_aistudio_dropped_and_nothing_else(tmp_path: Path, source: str, answer: str, late: bool) -> None:
    (tmp_path / "aistudio_sdk").mkdir()
    (tmp_path / "aistudio_sdk" / "__init__.py").touch()
    (tmp_path / "aistudio_sdk" / "hub.py").write_text(source)
    code = ("import aistudio_sdk.hub\n" if late else "") + SHIM
    done = python("-c", code, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout.startswith(answer), done.stderr


CPU = """
import dataclasses, json, os, sys, types
vendor, threads, loaded, given = json.loads(sys.argv[1])
for name in ("MKL_DEBUG_CPU_TYPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "FLAGS_paddle_num_threads"):
    os.environ.pop(name, None)
os.environ.update(given)
before = dict(os.environ)
from paddlenlp_embtune import prepare_cpu
from paddlenlp_embtune.compat import cpu
cpu._vendor = lambda: vendor
if loaded:
    sys.modules["paddle"] = types.ModuleType("paddle")
setup = dataclasses.asdict(prepare_cpu(threads=threads))
print(json.dumps([setup, {name: value for name, value in os.environ.items() if before.get(name) != value}]))
"""
AMD = "AuthenticAMD"


def _threads(count: int) -> dict[str, str]:
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "FLAGS_paddle_num_threads"), str(count))


@pytest.mark.parametrize(
    ("vendor", "threads", "loaded", "given", "changed", "setup"),
    [
        (AMD, 3, False, {}, {"MKL_DEBUG_CPU_TYPE": "5", **_threads(3)}, {"threads": 3, "avx2_path": True}),
        ("GenuineIntel", 3, False, {}, _threads(3), {"threads": 3, "avx2_path": True}),
        ("", 1, False, {}, _threads(1), {"threads": 1, "avx2_path": True}),
        (AMD, None, False, {"MKL_DEBUG_CPU_TYPE": "4", **_threads(6)}, {}, {"threads": 6, "avx2_path": False}),
        (AMD, 3, True, {}, {}, {"paddle_loaded": True, "avx2_path": False}),
        ("GenuineIntel", 3, True, _threads(2), {}, {"paddle_loaded": True, "threads": 2}),
    ],
)
def test_prepare_cpu(
    tmp_path: Path, vendor: str, threads: int | None, loaded: bool, given: Any, changed: Any, setup: dict[str, Any]
) -> None:
    done = python("-c", CPU, json.dumps([vendor, threads, loaded, given]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, differences = json.loads(done.stdout)
    assert differences == changed
    assert found | setup == found
    assert found["vendor"] == vendor


@pytest.mark.parametrize("threads", [0, -2])
def test_prepare_cpu_refuses_less_than_one_thread(threads: int) -> None:
    with pytest.raises(HostError, match=f"threads is {threads}; expected 1 or more"):
        compat.prepare_cpu(threads=threads)


def test_a_rate_becomes_a_multiple_of_the_base_rate() -> None:
    assert compat.learning_rate_multiplier(5e-5, 1e-3) == pytest.approx(0.05)
    assert compat.learning_rate_multiplier(2e-2, 2e-2) == 1.0


@pytest.mark.parametrize("base", [0.0, -1e-3])
def test_a_base_rate_must_be_above_zero(base: float) -> None:
    with pytest.raises(HostError, match="must be above 0, got"):
        compat.learning_rate_multiplier(1e-3, base)


def test_loading_the_host_leaves_its_loggers_on_the_real_stderr() -> None:
    log = f"{compat.host_name()}.utils.log"
    code = f"import paddlenlp_embtune.training; from {log} import logger; logger.warning('still heard')"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, text=True, capture_output=True)
    assert "still heard" in done.stdout + done.stderr
