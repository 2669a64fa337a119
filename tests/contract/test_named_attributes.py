"""Names of the package that tests, plugins and examples use are there, without running them: slow ones rot unseen otherwise."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "paddlenlp_embtune"
USERS = ("tests", "plugins", "examples")

IMPORTS = re.compile(rf"from {PACKAGE}(?:\.\w+)* import \w+(?: as \w+)?(?:, \w+(?: as \w+)?)*")

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
Bound = dict[str, str]
"""What a name stands for: the dotted name of a module of the package."""


@functools.cache
def source_of(module: str) -> Path | None:
    whole = ROOT.joinpath(*module.split("."))
    found = whole / "__init__.py" if whole.is_dir() else whole.with_suffix(".py")
    return found if found.is_file() else None


@functools.cache
def names_of(module: str) -> frozenset[str]:
    """Names that a module binds outside its functions, and its submodules; those under TYPE_CHECKING are the lazy ones."""
    source = source_of(module)
    assert source is not None, module
    found = {"__name__", "__file__", "__doc__", "__all__", "__path__", "__getattr__", "__dir__"}
    if source.name == "__init__.py":
        found |= {path.stem for path in source.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    waiting: list[ast.stmt] = list(ast.parse(source.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.For):
            waiting += [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)]
            waiting += [each for handler in getattr(node, "handlers", ()) for each in handler.body]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return frozenset(found)


def lacking(module: str, name: str) -> list[str]:
    return [] if name in names_of(module) else [f"{module}.{name}"]


def nodes_of(scope: Scope) -> list[ast.AST]:
    """What matters of a scope, but for what is within its functions, and where an error is expected."""
    found, waiting = [], list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node)
        elif not isinstance(node, ast.With) or "AttributeError" not in ast.unparse(node.items[0]):
            if isinstance(node, ast.Import | ast.ImportFrom | ast.Call | ast.Attribute | ast.Name):
                found.append(node)
            waiting += ast.iter_child_nodes(node)
    return found


def wrong_imports(node: ast.AST, bound: Bound) -> list[str]:
    """Note which names an import binds to modules, and return what it asks for in vain."""
    if isinstance(node, ast.ImportFrom) and not node.level and of_package(node.module or ""):
        module = str(node.module)
        if source_of(module) is None:
            return [module]
        below = {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
        bound.update({name: each for name, each in below.items() if source_of(each) is not None})
        return [wrong for alias in node.names if alias.name != "*" for wrong in lacking(module, alias.name)]
    if isinstance(node, ast.Import):
        ours = [alias for alias in node.names if of_package(alias.name)]
        bound.update({alias.asname or PACKAGE: alias.name if alias.asname else PACKAGE for alias in ours})
        return [alias.name for alias in ours if source_of(alias.name) is None]
    return []


def of_package(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] == PACKAGE


def rebound(scope: Scope, nodes: list[ast.AST]) -> set[str]:
    """Names that a scope gives another meaning: its parameters, and what it assigns."""
    found = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if not isinstance(scope, ast.Module):
        every = scope.args
        found |= {each.arg for each in (*every.posonlyargs, *every.args, *every.kwonlyargs)}
    return found


def wrong_uses(node: ast.AST, bound: Bound) -> Iterator[str]:
    """``module.name``, ``setattr(module, "name", …)`` and ``setattr("module.name", …)`` of names that are not there."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
        yield from lacking(bound[node.value.id], node.attr)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return
    if node.func.attr not in ("setattr", "delattr", "patch", "object") or any(each.arg == "raising" for each in node.keywords):
        return
    first, name = node.args[0], node.args[1] if len(node.args) > 1 else None
    if isinstance(first, ast.Name) and first.id in bound and isinstance(name, ast.Constant):
        yield from lacking(bound[first.id], str(name.value))
    if isinstance(first, ast.Constant) and str(first.value).startswith(f"{PACKAGE}."):
        module, _, attribute = str(first.value).rpartition(".")
        # Where what is before the last dot is a class, its module must have it.
        while source_of(module) is None and "." in module:
            module, _, attribute = module.rpartition(".")
        yield from lacking(module, attribute)


def in_string(found: re.Match[str]) -> Iterator[str]:
    """What an import asks for in vain that stands in one line, be it in a string for a child process."""
    for node in ast.parse(found[0]).body:
        yield from wrong_imports(node, {})


def wrong_names(scope: Scope, outer: Bound) -> Iterator[tuple[int, str]]:
    nodes = nodes_of(scope)
    other = rebound(scope, nodes)
    bound = {name: module for name, module in outer.items() if name not in other}
    for node in nodes:
        yield from ((node.lineno, wrong) for wrong in wrong_imports(node, bound))  # type: ignore[attr-defined]
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from wrong_names(node, bound)
        elif bound or isinstance(node, ast.Call):
            yield from ((node.lineno, wrong) for wrong in wrong_uses(node, bound))  # type: ignore[attr-defined]


def test_names_of_the_package_that_are_used_are_there() -> None:
    found = []
    for path in (path for folder in USERS for path in sorted((ROOT / folder).rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        if PACKAGE in text and path.name != Path(__file__).name:
            wrong = list(wrong_names(ast.parse(text), {}))
            wrong += [
                (text[: each.start()].count("\n") + 1, name) for each in IMPORTS.finditer(text) for name in in_string(each)
            ]
            found += [f"{path.relative_to(ROOT)}:{line} {name}" for line, name in sorted(set(wrong))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "from paddlenlp_embtune.export import no_such_name",
        "import paddlenlp_embtune.no_such_module",
        "from paddlenlp_embtune.export import onnx as exporting\nexporting._no_such_name()",
        "from paddlenlp_embtune.export import onnx\ndef f(monkeypatch):\n    monkeypatch.setattr(onnx, '_no_such_name', 1)",
        "def f(monkeypatch):\n    monkeypatch.setattr('paddlenlp_embtune.export.onnx._no_such_name', 1)",
        "import paddlenlp_embtune as embtune\ndef f():\n    def g():\n        return embtune.no_such_name",
    ],
)
def test_a_name_that_is_not_there_is_found(source: str) -> None:
    assert len(list(wrong_names(ast.parse(source), {}))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from paddlenlp_embtune.export import onnx\nonnx.export_onnx",
        "from paddlenlp_embtune.export import onnx\ndef f(onnx):\n    return onnx.anything",
        "from paddlenlp_embtune.inference import Predictor\nPredictor.anything",
        "def f(monkeypatch):\n    monkeypatch.setattr('paddlenlp_embtune.export.onnx.new', 1, raising=False)",
    ],
)
def test_what_is_there_or_is_of_no_module_passes(source: str) -> None:
    assert list(wrong_names(ast.parse(source), {})) == []
