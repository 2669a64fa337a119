"""The public face: what it names, that everything is documented, and the tree of exceptions."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import paddlenlp_embtune
from paddlenlp_embtune import errors

NAME = "paddlenlp_embtune"
ROOT = Path(paddlenlp_embtune.__file__).parent
PUBLIC = [
    "AlarmSpec",
    "Attribution",
    "BundleError",
    "DataError",
    "Domain",
    "EmbtuneError",
    "EngineOptions",
    "GroupSpec",
    "HostError",
    "Lazy",
    "MissingDependencyError",
    "ParityError",
    "PatternError",
    "PluginError",
    "Predictor",
    "Pretrained",
    "ReadOptions",
    "Recipe",
    "RecipeError",
    "Run",
    "StudyError",
    "TrainingError",
    "VectorError",
    "VectorTable",
    "attach",
    "hookimpl",
    "prepare_cpu",
    "train",
]
# Running it is what __main__ is for: it is looked at, never imported.
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__main__.py")


def _module(path: Path) -> str:
    parts = [NAME, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Both are public modules (no underscore) that list nothing.
_LISTED = [_module(path) for path in MODULES]


def test_the_package_exports_exactly_this() -> None:
    assert paddlenlp_embtune.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC
    assert set(PUBLIC) <= set(dir(paddlenlp_embtune))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves_to_something_documented(name: str) -> None:
    found = getattr(paddlenlp_embtune, name)
    assert found is getattr(paddlenlp_embtune, name)
    assert inspect.getdoc(found)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = paddlenlp_embtune.Trainer


def test_every_module_lists_what_is_public() -> None:
    for name in _LISTED:
        module = importlib.import_module(name)
        assert len(set(module.__all__)) == len(module.__all__), name
        for public in module.__all__:
            assert hasattr(module, public), f"{name}.__all__ names {public}, which is not there"


def _undocumented(node: ast.AST, where: str) -> Iterator[str]:
    """Public functions, classes and methods without a docstring; what stands inside a function is nobody's business."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or child.name.startswith("_"):
            continue
        if not ast.get_docstring(child):
            yield f"{where}.{child.name}"
        if isinstance(child, ast.ClassDef):
            yield from _undocumented(child, f"{where}.{child.name}")


def test_every_module_function_and_class_has_a_docstring() -> None:
    found = []
    for path in (*MODULES, ROOT / "__main__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [] if ast.get_docstring(tree) else [_module(path)]
        found += _undocumented(tree, _module(path))
    assert found == []


def _tree() -> dict[str, tuple[str, ...]]:
    """Read the drawing in the docstring of errors: name to the names of its bases."""
    drawn: dict[str, tuple[str, ...]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"(?P<margin>[ |]*)\+-- (?P<name>\w+)(?: \((?P<mixin>\w+)\))?  +\S", line)
        if branch is None:
            if re.fullmatch(r"\w+", line):
                drawn[line], above = ("Exception",), [(-1, line)]
            continue
        depth = len(branch["margin"])
        above = [(column, name) for column, name in above if column < depth]
        drawn[branch["name"]] = (above[-1][1], *([branch["mixin"]] if branch["mixin"] else []))
        above.append((depth, branch["name"]))
    return drawn


def test_exceptions_stand_in_the_tree_that_is_drawn() -> None:
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    built = {name: tuple(base.__name__ for base in value.__bases__) for name, value in classes.items()}
    assert _tree() == {name: bases for name, bases in built.items() if name in errors.__all__}
    assert {name for name, value in classes.items() if issubclass(value, Exception)} == set(_tree())
    assert set(_tree()) == {name for name in PUBLIC if name.endswith("Error")}


@pytest.mark.parametrize("name", [name for name in PUBLIC if name.endswith("Error")])
def test_every_exception_is_an_embtune_error(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.EmbtuneError)


def test_no_module_defines_an_exception_of_its_own() -> None:
    for name in map(_module, MODULES):
        for found in vars(importlib.import_module(name)).values():
            if isinstance(found, type) and issubclass(found, BaseException) and found.__module__.startswith(NAME):
                assert found.__module__ == errors.__name__


def test_names_in_a_message_come_nearest_first_and_are_cut() -> None:
    assert (
        errors.expected_names("encodr", ["decoder", "encoder", "head"])
        == "did you mean 'encoder'? Expected decoder, encoder or head"
    )
    assert errors.expected_names("zzz", []) == "expected (none)"
    many = errors.expected_names("zzz", map(str, range(20)), limit=2)
    assert many == "expected 0, 1, ... (20 in all)"
