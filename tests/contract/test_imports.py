"""Who may import whom, and what importing and serving must not load."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import paddlenlp_embtune
from tests.helpers import TinyRun, python

NAME = "paddlenlp_embtune"
ROOT = Path(paddlenlp_embtune.__file__).parent
LAYERS = (
    ("errors", "hookspecs", "files", "imports", "schema", "arrays_only", "utils"),
    ("contracts",),
    ("host", "registry"),
    (
        "recipe",
        "specs",
        "distilling",
        "control",
        "adapting",
        "regularization",
        "guards",
        "domain",
        "text",
        "formats",
        "vectors",
        "versions",
    ),
    ("data", "serving", "encoders"),
    ("models", "evaluation"),
    ("tuning", "export"),
    (
        "taskflow",
        "report",
        "server",
        "checkpoints",
        "pretraining",
        "run_checks",
        "term_rows",
        "starting",
        "teaching",
        "preparation",
        "delivery",
        "pipeline",
        "resizing",
        "diagnosis",
    ),
    ("builtin",),
    ("manager",),
    ("cli", "__main__"),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def _label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import statement, wherever it stands, but not those for type checkers."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from _statements(ast.Module([other], []))
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        else:
            yield from _statements(child)


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted module); ``from package import a`` counts as ``package.a``."""
    for statement in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            yield from ((statement.lineno, alias.name) for alias in statement.names)
            continue
        assert statement.level == 0, f"{_label(path)}:{statement.lineno} imports relatively"
        assert statement.module is not None
        if statement.module == NAME:
            yield from ((statement.lineno, f"{NAME}.{alias.name}") for alias in statement.names)
        else:
            yield statement.lineno, statement.module


def _own_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, room) for imports of our own modules; the package itself does not count."""
    for line, module in _imported(path):
        parts = module.split(".")
        if parts[0] == NAME and len(parts) > 1:
            yield line, parts[1]


def test_the_walk_sees_imports_inside_functions_and_skips_those_for_type_checkers() -> None:
    source = "import a\nif TYPE_CHECKING:\n import b\nelse:\n import c\ndef f():\n try:\n  from d import e\n finally: pass\n"
    found = [ast.unparse(statement) for statement in _statements(ast.parse(source))]
    assert found == ["import a", "import c", "from d import e"]


def test_every_module_stands_in_a_layer() -> None:
    assert {_room(path) for path in MODULES} == set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=_label)
def test_nothing_is_imported_from_further_right(path: Path) -> None:
    for line, room in _own_rooms(path):
        assert room in RANK, f"{_label(path)}:{line} imports {room} through the package, not from its module"
        assert RANK[room] <= RANK[_room(path)], f"{_label(path)}:{line} imports {room}"


LEAN = {
    "text": set(),
    "formats": {"text"},
    "vectors": {"text", "formats"},
    "versions": {"text", "vectors"},
}


@pytest.mark.parametrize("path", [path for path in MODULES if _room(path) in LEAN], ids=_label)
def test_lean_rooms_need_numpy_only(path: Path) -> None:
    own = {"errors", "files", "schema", "arrays_only", "utils", _room(path), *LEAN[_room(path)]}
    for line, module in _imported(path):
        top = module.split(".")[0]
        assert top in (NAME, "numpy", *sys.stdlib_module_names), f"{_label(path)}:{line} imports {module}"
    assert {room for _, room in _own_rooms(path)} <= own


PROBE = """
import json, os, sys
before = dict(os.environ), set(sys.modules)
import paddlenlp_embtune
answer = {"same_environment": dict(os.environ) == before[0], "loaded": sorted(set(sys.modules) - before[1])}
answer["names"] = dir(paddlenlp_embtune)
if len(sys.argv) > 1:
    from paddlenlp_embtune import registry
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
    assert f"{NAME}.manager" not in answer["loaded"]
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
