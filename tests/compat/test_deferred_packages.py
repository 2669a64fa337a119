"""Packages whose ``__init__`` is deferred hold in the end what they hold when they are imported as a whole."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from paddlenlp_embtune.compat._deferred_packages import deferring

FILES = {
    "__init__.py": """
__version__ = "1.2"
from . import core, tools
from .core import *
from .tools.big import Big
late = len(__version__)
""",
    "core.py": """
from . import __version__
from .tools import Small, shared
__all__ = ["Core"]
class Core(Small): version = __version__
""",
    "tools/__init__.py": "from .big import *\nfrom .small import *\nfrom .other import *\nran = True\n",
    "tools/big.py": "import json\nfrom ..heavy import weight\nclass Big: pass\n",
    "tools/small.py": "class Small: pass\ndef shared(): return 'small'\n",
    "tools/other.py": "__all__ = ['Other']\nclass Other: pass\ndef shared(): return 'not exported'\n",
    "heavy.py": "weight = 1\n",
    "further.py": "import deferred_example\nfrom .tools.big import Big\nstate = deferred_example.late\n",
    "broken.py": "from . import nothing_of_that_name\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package whose parts import each other, in no place that is imported yet."""
    for name, source in FILES.items():
        file = tmp_path / "deferred_example" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "deferred_example"
    for name in [name for name in sys.modules if name.partition(".")[0] == "deferred_example"]:
        del sys.modules[name]


@pytest.fixture
def core(package: str) -> str:
    """The same with one module of it imported, and its two packages deferred."""
    with deferring([package, f"{package}.tools"]):
        importlib.import_module(f"{package}.core")
    return package


def loaded(name: str) -> bool:
    return f"deferred_example.{name}" in sys.modules


def test_a_module_is_imported_with_what_it_asks_for_alone(core: str) -> None:
    assert loaded("tools.small")
    assert not loaded("heavy")
    assert not loaded("tools.big")
    module = sys.modules[f"{core}.core"]
    assert module.Core.version == "1.2"
    assert module.shared() == "small", "a name that the last module has but does not export is not its"


@pytest.mark.parametrize(
    "line",
    [
        "import deferred_example; assert deferred_example.late == 3",
        "from deferred_example import Big",
        "from deferred_example import *; assert Core and Big and late",
        "from deferred_example.tools import ran",
        "import deferred_example.further as further; assert further.state == 3",
        "import deferred_example; assert {'late', 'Big', 'tools'} <= set(dir(deferred_example))",
        "import deferred_example.heavy; assert deferred_example.Big",
    ],
)
def test_whoever_asks_for_more_gets_it(core: str, line: str) -> None:
    before = sys.modules[f"{core}.core"].Core
    scope: dict[str, object] = {}
    exec(line, scope)
    whole = importlib.import_module(core)
    assert whole.late == 3
    assert whole.Core is before
    assert whole.Big is sys.modules[f"{core}.tools.big"].Big
    assert whole.tools.ran
    assert type(whole) is type(sys)
    assert whole.__spec__.name == core


def test_a_module_that_the_init_imports_itself_is_executed_once(core: str) -> None:
    heavy = importlib.import_module(f"{core}.tools.big")
    assert sys.modules[f"{core}.tools.big"] is heavy
    assert sys.modules[core].Big is heavy.Big
    assert heavy.__spec__.origin.endswith("big.py")


def test_a_name_that_is_not_there_is_an_error_as_ever(core: str) -> None:
    whole = sys.modules[core]
    with pytest.raises(AttributeError, match="nothing"):
        whole.nothing  # noqa: B018
    with pytest.raises(ImportError, match="nothing_of_that_name"):
        importlib.import_module(f"{core}.broken")


def test_whoever_walks_through_all_modules_imports_nothing(core: str) -> None:
    for module in list(sys.modules.values()):
        getattr(module, "__warningregistry__", None)
    assert not loaded("heavy")
    with pytest.raises(AttributeError):
        sys.modules[core].__all__  # noqa: B018 - which only the whole package could have
    assert loaded("heavy")


def test_packages_that_are_loaded_and_others_are_left_alone(package: str) -> None:
    whole = importlib.import_module(package)
    with deferring([package, "nowhere"]):
        assert importlib.import_module(f"{package}.further").state == 3
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("nowhere")
    assert type(whole) is type(sys)


def test_an_init_that_fails_can_be_asked_again(core: str, tmp_path: Path) -> None:
    file = tmp_path / core / "heavy.py"
    file.write_text("raise OSError('disk')")
    whole = sys.modules[core]
    with pytest.raises(OSError, match="disk"):
        whole.late  # noqa: B018
    file.write_text("weight = 22")
    importlib.invalidate_caches()
    assert whole.late == 3


def test_threads_that_ask_at_once_get_the_same(core: str) -> None:
    whole, found = sys.modules[core], []
    threads = [threading.Thread(target=lambda: found.append((whole.late, whole.Big))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_further_name_can_be_looked_up_without_the_rest(core: str) -> None:
    whole = sys.modules[core]
    with deferring(()):
        assert whole.tools.Other is sys.modules[f"{core}.tools.other"].Other
    assert not loaded("heavy")
    assert whole.tools.ran


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("paddlenlp") is None, reason="needs PaddleNLP")
def test_paddlenlp_holds_the_same_whether_its_trainer_came_first_or_not() -> None:
    found = {}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for way in ("whole", "part"):
        command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "namespaces.py"), way]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        found[way] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", "{"))]
    assert not any(found["part"][0])
    whole, part = found["whole"][-1], found["part"][-1]
    assert set(whole) == set(part)
    for name, names in whole.items():
        # A module that is imported another way round may hold a module more.
        more = {key for key, what in part[name].items() if key not in names and what.startswith("module")}
        changed = {"datasets", "is_datasets_available"} if name.endswith(".trainer.trainer") else set()
        kept = {key: what for key, what in part[name].items() if key not in more | changed}
        assert kept == {key: what for key, what in names.items() if key not in changed}, name
