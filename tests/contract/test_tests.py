"""The tests themselves: every one asserts something, none imports another, and their folders are the rooms of the package."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import paddlenlp_embtune

TESTS = Path(__file__).resolve().parents[1]
ROOMS = Path(paddlenlp_embtune.__file__).parent
CROSS_CUTTING = {"benchmarks", "contract", "hostile", "plugins"}
"""Folders of tests that are no room: benchmarks, what holds for all rooms, attacks, and the example plugins."""
ASSERTIONS = re.compile(r"pytest\.(raises|warns|fail|deprecated_call)|([\w.]+\.)?assert_\w+")
DEEP = 3
"""Levels of helper functions that are followed."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> dict[str, Function]:
    """Functions by name, and methods by ``.name``."""
    found: dict[str, Function] = {}
    for node in tree_of(path).body:
        if isinstance(node, Function):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= {f".{each.name}": each for each in node.body if isinstance(each, Function)}
    return found


@functools.cache
def helpers(path: Path) -> dict[str, tuple[Path, Function]]:
    """Functions that a module of tests can call: its own, and those that it imports from helper modules."""
    found = {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tests":
            for alias in node.names:
                whole = TESTS.parent.joinpath(*node.module.split("."))
                source = whole.with_suffix(".py")
                if source.is_file():
                    there = functions(source)
                    found |= {name: (source, each) for name, each in there.items() if name.startswith(".")}
                    if alias.name in there:
                        found[alias.asname or alias.name] = (source, there[alias.name])
                elif (module := (whole / alias.name).with_suffix(".py")).is_file():
                    found |= {f".{name.lstrip('.')}": (module, each) for name, each in functions(module).items()}
    return found | {name: (path, each) for name, each in functions(path).items()}


def asserts(function: ast.AST, path: Path, depth: int = DEEP) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            if ASSERTIONS.fullmatch(ast.unparse(node.func)):
                return True
            called = node.func.id if isinstance(node.func, ast.Name) else f".{getattr(node.func, 'attr', '')}"
            helper = helpers(path).get(called)
            if helper and depth and helper[1] is not function and asserts(helper[1], helper[0], depth - 1):
                return True
    return False


def modules() -> Iterator[Path]:
    yield from sorted(TESTS.rglob("test_*.py"))


def test_every_test_asserts_something() -> None:
    without = [
        f"{path.relative_to(TESTS)}:{function.lineno} {name}"
        for path in modules()
        for name, function in functions(path).items()
        if name.startswith("test_") and not asserts(function, path)
    ]
    assert without == []


def test_no_test_module_is_imported() -> None:
    """What several modules need is in a conftest or in a helper module; strings that child processes run count too."""
    imported = re.compile(r"(?:from|import) tests\.(?:\w+\.)*test_\w+|from tests(?:\.\w+)* import (?:\w+, )*test_\w+")
    found = [
        f"{path.relative_to(TESTS)}: {match}"
        for path in sorted(TESTS.rglob("*.py"))
        for match in imported.findall(path.read_text(encoding="utf-8")) or []
    ]
    assert found == []


def test_folders_of_tests_are_rooms() -> None:
    folders = {path.parent.relative_to(TESTS) for path in modules()} - {Path()}
    strange = {str(folder) for folder in folders if folder.parts[0] not in CROSS_CUTTING and not (ROOMS / folder).is_dir()}
    assert strange == set()


def test_scripts_that_tests_run_are_there() -> None:
    """Paths below ``tests``, given in parts, and names of modules, as scripts that child processes run are named."""
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        named = [match.replace('"', "").replace(" ", "") for match in re.findall(r'"tests"((?: / "[\w.]+")+)', text)]
        named += [match.replace(".", "/") + ".py" for match in re.findall(r'"tests((?:\.[a-z]\w*)+)"', text)]
        for name in named:
            assert TESTS.joinpath(name.lstrip("/")).is_file(), f"{path.relative_to(TESTS)} names {name}"


def test_tests_take_the_trainer_from_one_place() -> None:
    """Else they cannot run on PaddleFormers'. Scripts of users, and what is about PaddleNLP alone, are no test modules."""
    named = [str(path.relative_to(TESTS)) for path in modules() if "paddlenlp" + ".trainer" in path.read_text(encoding="utf-8")]
    assert named == []
