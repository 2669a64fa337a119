"""docs/architecture.md against the tree: rooms, import order, circles, faces of rooms, and the functions that it names."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import paddlenlp_embtune

NAME = "paddlenlp_embtune"
ROOT = Path(paddlenlp_embtune.__file__).parent
REPOSITORY = ROOT.parent
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path for path in ROOT.rglob("*.py")
}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}
LAYERS = [
    re.findall(r"`(\w+)`", line) for line in re.findall(r"^\d+\. (`.*)$", PAGE.partition("## Import order")[2], re.MULTILINE)
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
LEAN = {"text": set(), "embeddings": {"text", "bundle"}}
IN_STRINGS = re.compile(rf"{NAME}(?:\.\w+)+(?::\w+)?")


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@functools.cache
def uses(path: Path) -> list[tuple[int, str, str]]:
    """List (line, module, name) of every import, wherever it stands, and (line, module, "") of modules named in strings."""
    return list(_uses(path))


def _uses(path: Path) -> Iterator[tuple[int, str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(below)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in node.body
        for below in ast.walk(child)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == NAME:
            assert node.level == 0
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (node.lineno, whole, "") if whole in MODULES else (node.lineno, node.module, alias.name)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names if alias.name.split(".")[0] == NAME)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and IN_STRINGS.fullmatch(node.value):
            module, _, name = node.value.partition(":")
            if module in MODULES:
                yield node.lineno, module, name


def test_every_room_is_on_the_page_and_in_the_order() -> None:
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", PAGE, re.MULTILINE)
    there = {room_of(name) for name in MODULES} - {""}
    assert sorted(listed) == sorted(there)
    assert sorted(RANK) == sorted(there)


def test_nothing_is_imported_from_below() -> None:
    found = [
        f"{MODULES[name]}:{line} imports {module}"
        for name in sorted(set(MODULES) - {NAME})
        for line, module, _ in uses(MODULES[name])
        if room_of(module) and RANK[room_of(module)] > RANK[room_of(name)]
    ]
    assert found == []


def test_rooms_are_entered_by_their_faces() -> None:
    """Another room's names come from its ``__init__``, or from that of one of its parts."""

    def public(module: str) -> bool:
        parent, _, last = module.rpartition(".")
        return module in PACKAGES or last in getattr(importlib.import_module(parent), "__all__", ())

    found = [
        f"{MODULES[name]}:{line} imports {module}, which is not public"
        for name in sorted(set(MODULES) - PACKAGES)
        for line, module, _ in uses(MODULES[name])
        if room_of(module) not in ("", room_of(name), "errors", "utils", "builtin", "cli") and not public(module)
    ]
    assert found == []


def test_there_is_no_circle() -> None:
    edges = {name: {module for _, module, _ in uses(path)} - PACKAGES for name, path in MODULES.items() if name not in PACKAGES}
    rooms: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if name != NAME:
            rooms.setdefault(room_of(name), set()).update(room_of(module) for _, module, _ in uses(path))
    assert not circle({name: {room for room in used if room not in ("", name)} for name, used in rooms.items()})
    assert not circle(edges)


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Return the names on some circle; remove what imports nothing until nothing more can go."""
    left = {name: {other for other in used if other in edges and other != name} for name, used in edges.items()}
    while done := [name for name, used in left.items() if not used]:
        for name in done:
            del left[name]
        for used in left.values():
            used.difference_update(done)
    return sorted(left)


def test_lean_rooms_need_numpy_only() -> None:
    allowed = {NAME, "numpy", *sys.stdlib_module_names}
    for name in sorted(name for name in MODULES if room_of(name) in LEAN):
        for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {each.split(".")[0] for each in names} <= allowed, f"{name}:{node.lineno}"
        own = {room_of(module) for _, module, _ in uses(MODULES[name])}
        assert own <= {"errors", "utils", room_of(name), *LEAN[room_of(name)]}, name


def test_faces_say_the_same_to_people_and_to_type_checkers() -> None:
    for package in sorted(PACKAGES - {NAME}):
        tree = ast.parse(MODULES[package].read_text(encoding="utf-8"))
        typed = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for child in node.body
            if isinstance(child, ast.ImportFrom)
            for alias in child.names
        }
        if "lazy_exports" in MODULES[package].read_text(encoding="utf-8"):
            assert sorted(importlib.import_module(package).__all__) == sorted(typed), package


def test_no_face_exports_a_name_that_a_module_of_its_room_has() -> None:
    """Importing the module would put it in the place of the name."""
    for package in sorted(PACKAGES - {NAME}):
        modules = {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == package}
        for name in modules & set(importlib.import_module(package).__all__):
            assert inspect.ismodule(getattr(importlib.import_module(package), name)), f"{package}.{name}"


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`([\w/]+\.py)` `\w+`", PAGE))))
def test_the_page_names_functions_that_are_there(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    there = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    assert set(re.findall(rf"`{re.escape(file)}`\s+`(\w+)`", PAGE)) <= there


def test_one_module_names_where_the_trainer_comes_from() -> None:
    named = re.compile(r"\bpaddlenlp\.trainer\b|\bpaddleformers\b")
    assert [name for name, path in MODULES.items() if named.search(path.read_text(encoding="utf-8"))] == [f"{NAME}.compat.host"]


def test_few_modules_stand_at_the_top() -> None:
    assert len([path for path in ROOT.glob("*.py") if path.name != "__init__.py"]) <= 5


# Words that read as translated, or that an engineer of the field would not use; each with what stands in its place.
FORBIDDEN = re.compile(
    r"\b(?:"
    r"mend|mends|mended"  # fix
    r"|twins?"  # counterpart
    r"|rightly|afresh"  # correctly, again
    r"|astray"  # diverged
    r"|talks?|talking"  # logs to stderr
    r"|worded"  # formatted
    r"|goes on"  # continues
    r"|is told|are told"  # knows, gets, is called
    r"|at the begin|begin of"  # at the start
    r"|make believe"  # suggest
    r"|told apart|brought back"  # distinguished, restored
    r")\b|\blegal: |well\?",
    re.IGNORECASE,
)
OWN_TEXT = [
    path
    for place in ("paddlenlp_embtune", "docs", "examples", "plugins", "README.md", "README_en.md", "CHANGELOG.md")
    for path in sorted((REPOSITORY / place).rglob("*") if (REPOSITORY / place).is_dir() else [REPOSITORY / place])
    if path.suffix in (".py", ".md", ".html", ".css", ".cfg", ".toml", ".yaml") and "build" not in path.parts
]


def test_words_that_we_no_longer_use() -> None:
    found = {str(path): FORBIDDEN.search(path.read_text(encoding="utf-8")) for path in OWN_TEXT}
    assert {path: match for path, match in found.items() if match} == {}


SHORTEST = 4
"""Words of a docstring; fewer repeat the name."""


def _documented(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name = getattr(node, "name", "")
            if not name.startswith("_") and (text := ast.get_docstring(node)):
                yield name, text


def test_docstrings_say_more_than_the_name() -> None:
    found = [
        (name, owner, text)
        for name, path in MODULES.items()
        for owner, text in _documented(ast.parse(path.read_text(encoding="utf-8")))
        if len(text.split()) < SHORTEST
    ]
    assert found == []
