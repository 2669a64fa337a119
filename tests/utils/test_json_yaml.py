"""JSON and YAML from outside: bounded, and without duplicate keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.json_yaml import MAX_DEPTH, parse_json, parse_yaml, read_bounded, read_json, shorten


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[" * 100_000, "nests deeper"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nests deeper"),
        ('{"a":' * 500 + "1" + "}" * 500, "nests deeper"),
        ("9" * 5_000, "not valid JSON"),
        ("1e400", "too large"),
        ("[NaN]", "NaN is not a JSON value"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' twice"),
        (b"\xff", "not valid JSON"),
        ("{", "not valid JSON"),
    ],
)
def test_json_that_is_refused(content: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        parse_json(content, "x.json", error=DataError)
    assert str(caught.value).startswith("x.json")
    assert len(str(caught.value)) < 500


def test_json_that_is_read() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH, "x", error=DataError)
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 2.5, null, "x"]}', "x", error=DataError) == {"a": [1, 2.5, None, "x"]}
    assert parse_json("3", "x", error=DataError) == 3


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{former}'] * 10)}]\n" for former, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' twice in one mapping, on line 1 and on line 3"),
        ("- {x: 1, x: 1}\n", "'x' twice"),
        (BOMB, "aliases are expanded"),
        ("&a [*a]", "alias to a node that encloses it"),
        ("a: &b {c: *b}", "alias to a node that encloses it"),
        ("[" * 100_000, "nests deeper"),
        ("- " * 500 + "x", "nests deeper"),
        ("9" * 5_000, "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: [", "not valid YAML"),
        (b"\xff\xfe", "not valid YAML"),
        ("? [a]\n: b\n", "not valid YAML"),
    ],
)
def test_yaml_that_is_refused(content: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        parse_yaml(content, "x.yaml", error=DataError)
    assert str(caught.value).startswith("x.yaml")
    assert len(str(caught.value)) < 500


def test_yaml_that_is_read() -> None:
    assert parse_yaml("", "x", error=DataError) is None
    assert parse_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n", "x", error=DataError) == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 2},
    }


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="larger than the limit of 1,000 bytes"):
        read_bounded(Path("/dev/zero"), error=DataError, max_bytes=1000)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent.json", error=DataError)
    with pytest.raises(DataError, match="cannot read"):
        read_json(tmp_path, error=DataError)


def test_values_are_shortened_in_messages() -> None:
    held: list[object] = []
    held.append(held)
    assert len(shorten("x" * 10_000)) < 100
    assert len(shorten(list(range(10_000)))) < 100
    assert shorten(10**6_000) == "a int" or len(shorten(10**6_000)) < 100
    assert "..." in shorten(held)
