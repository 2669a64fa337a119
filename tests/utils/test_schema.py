from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from paddlenlp_embtune import BundleError, RecipeError
from paddlenlp_embtune.utils.schema import build, to_plain


@dataclasses.dataclass(frozen=True)
class Leaf:
    name: str
    size: int = 1


@dataclasses.dataclass(frozen=True)
class Tree:
    title: str
    ratio: float = 0.5
    flag: bool = False
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    tags: tuple[str, ...] | None = None
    by_name: Mapping[str, Leaf] = dataclasses.field(default_factory=dict)
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    either: int | str = 0
    anything: Any = None


FULL = {
    "title": "树",
    "ratio": 0.25,
    "flag": True,
    "leaf": {"name": "a", "size": 2},
    "leaves": [{"name": "b", "size": 1}, {"name": "c", "size": 3}],
    "tags": ["x", "y"],
    "by_name": {"k": {"name": "d", "size": 4}},
    "sizes": {"m": 5},
    "either": "text",
    "anything": {"deep": [1, None, {"e": 2.5}]},
}


def make(value: object) -> Tree:
    return build(Tree, value, where="tree", error=RecipeError)


def test_round_trip_through_json() -> None:
    tree = make(FULL)
    assert tree.leaves[1] == Leaf("c", 3)
    assert tree.by_name["k"] == Leaf("d", 4)
    assert to_plain(tree) == FULL
    assert make(json.loads(json.dumps(to_plain(tree)))) == tree


def test_defaults_stay() -> None:
    assert make({"title": "t"}) == Tree("t")


def test_null_where_it_is_legal() -> None:
    tree = make({"title": "t", "leaf": None, "tags": None, "anything": None})
    assert tree.leaf is None
    assert tree.tags is None


@pytest.mark.parametrize("value", ["5e-5", "0.00005", 5e-5])
def test_numbers_written_as_text(value: object) -> None:
    assert make({"title": "t", "ratio": value}).ratio == 5e-5


def test_whole_numbers_become_floats() -> None:
    ratio = make({"title": "t", "ratio": 1}).ratio
    assert isinstance(ratio, float)


@pytest.mark.parametrize("value", [3, "three"])
def test_union_of_two_kinds(value: object) -> None:
    assert make({"title": "t", "either": value}).either == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "tree must be a mapping of keys to values, got NoneType"),
        ([], "tree must be a mapping"),
        ("text", "tree must be a mapping .*'text'"),
        ({}, "tree is missing the key 'title'; required: title"),
        ({"title": "t", "tittle": 1}, r"tree has no key 'tittle'; did you mean 'title'\? Expected "),
        ({"title": 1}, "tree.title must be a string, got int 1"),
        ({"title": None}, "tree.title must be a string, got NoneType"),
        ({"title": "t", "ratio": "half"}, "tree.ratio must be a number, got str 'half'"),
        ({"title": "t", "ratio": True}, "tree.ratio must be a number, got bool True"),
        ({"title": "t", "flag": 1}, "tree.flag must be true or false, got int 1"),
        ({"title": "t", "flag": "true"}, "tree.flag must be true or false"),
        ({"title": "t", "leaf": {"size": 2}}, "tree.leaf is missing the key 'name'"),
        ({"title": "t", "leaf": {"name": "a", "size": 2.0}}, "tree.leaf.size must be a whole number, got float 2.0"),
        ({"title": "t", "leaf": {"name": "a", "size": True}}, "tree.leaf.size must be a whole number"),
        ({"title": "t", "leaves": {"name": "a"}}, r"tree.leaves must be a list"),
        ({"title": "t", "leaves": [{"name": "a"}, {"nme": "b"}]}, r"tree.leaves\[1\] has no key 'nme'; did you mean 'name'"),
        ({"title": "t", "tags": "xy"}, r"tree.tags must be a list, got 'xy'; write it as \[a, b\]"),
        ({"title": "t", "tags": ["x", 2]}, r"tree.tags\[1\] must be a string"),
        ({"title": "t", "by_name": []}, "tree.by_name must be a mapping"),
        ({"title": "t", "by_name": {"k": {"name": 1}}}, "tree.by_name.k.name must be a string"),
        ({"title": "t", "sizes": {"m": "5"}}, "tree.sizes.m must be a whole number"),
        ({"title": "t", "either": 2.5}, "tree.either must be"),
    ],
)
def test_refusals_name_the_path(value: object, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(value)


def test_the_error_is_of_the_kind_asked_for() -> None:
    with pytest.raises(BundleError, match=r"bundle\.json is missing the key 'title'"):
        build(Tree, {}, where="bundle.json", error=BundleError)


def test_the_mapping_given_is_left_alone() -> None:
    value = json.loads(json.dumps(FULL))
    make(value)
    assert value == FULL
