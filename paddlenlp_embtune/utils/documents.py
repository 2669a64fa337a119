"""Reading JSON and YAML that comes from outside: bounded in size, depth and expansion, without duplicate keys."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.errors import EmbtuneError

if TYPE_CHECKING:
    import yaml

__all__ = ["MOST_BYTES", "MOST_DEPTH", "parse_json", "parse_yaml", "read_bounded", "read_json", "shorten"]

MOST_DEPTH = 64
"""Levels of nesting that a document may have."""

MOST_BYTES = 256 << 20
"""Bytes that a document may have, unless its reader states another bound."""

_MOST_NODES = 1_000_000
"""Nodes that a YAML document may have once its aliases are expanded."""

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = _shortener.maxlong = 80


def shorten(value: object) -> str:
    """Return a value's ``repr`` for a message, at most about 80 characters of each part and six parts of each container."""
    try:
        return _shortener.repr(value)
    except Exception:  # a foreign object may raise anything, and so does an int of more than 4,300 digits
        return f"a {type(value).__name__}"


def parse_json(content: str | bytes, where: str, *, error: type[EmbtuneError], allow_nan: bool = False) -> Any:
    """Parse one JSON document.

    Args:
        content: the text, or its bytes in UTF-8, with or without a byte order mark.
        where: what it came from, for messages.
        error: the exception to raise.
        allow_nan: take ``NaN`` and ``Infinity``, which are no JSON but which Python writes.
    Raises:
        EmbtuneError: of the type given; it is not UTF-8 or not JSON, nests deeper than ``MOST_DEPTH``, holds a number that is
            not finite or has thousands of digits, or names a key twice in one object.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        constant = float if allow_nan else _refuse_constant
        value = json.loads(text, parse_constant=constant, parse_float=_finite, object_pairs_hook=_once)
        _check_depth(value)
    except RecursionError:
        raise error(f"{where} nests deeper than {MOST_DEPTH} levels; write it flatter") from None
    except ValueError as fault:
        raise error(f"{where} is not valid JSON: {_one_line(fault)}; correct it, or write it again") from None
    return value


def read_json(path: Path, *, error: type[EmbtuneError], most_bytes: int = MOST_BYTES) -> Any:
    """Read one JSON document from a file, as :func:`parse_json` does.

    Raises:
        EmbtuneError: of the type given; see :func:`parse_json` and :func:`read_bounded`.
    """
    return parse_json(read_bounded(path, error=error, most_bytes=most_bytes), str(path), error=error)


def read_bounded(path: Path, *, error: type[EmbtuneError], most_bytes: int = MOST_BYTES) -> bytes:
    """Read a whole file, but never more than ``most_bytes`` of one, so that a device or a pipe without end is refused.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file; callers word this themselves.
        EmbtuneError: of the type given; the file is larger, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as fault:  # ValueError: a path with a null character
        raise error(f"cannot read {path}: {getattr(fault, 'strerror', None) or fault}; give a readable file") from None
    if len(content) > most_bytes:
        raise error(f"{path} has more than {most_bytes:,} bytes, the most that is read of such a file; give a smaller one")
    return content


def parse_yaml(content: str | bytes, where: str, *, error: type[EmbtuneError]) -> Any:
    """Parse one YAML document with plain values only.

    Args:
        content: the text, or its bytes in UTF-8.
        where: what it came from, for messages.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; it is not YAML, nests deeper than ``MOST_DEPTH`` or refers to itself, grows beyond a
            million nodes once its aliases are expanded, or names a key twice in one mapping.
    """
    import yaml

    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        loader = _loader()(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_nodes(node, where, error)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise error(f"{where} nests deeper than {MOST_DEPTH} levels; write it flatter") from None
    except (yaml.YAMLError, ValueError, OverflowError) as fault:
        raise error(f"{where} is not valid YAML: {_one_line(fault)}; correct it") from None


def _loader() -> type[yaml.SafeLoader]:
    """PyYAML's safe loader, which counts levels while it reads."""
    import yaml

    class Loader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            try:
                if self.depth > MOST_DEPTH:
                    raise RecursionError
                return super().compose_node(parent, index)
            finally:
                self.depth -= 1

    return Loader


def _check_nodes(root: yaml.Node, where: str, error: type[EmbtuneError]) -> None:
    """Refuse duplicate keys, nodes that hold themselves, and aliases that expand to too much."""
    import yaml

    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size_of(node: yaml.Node) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise error(f"{where} holds an alias to a part that it stands in (line {node.start_mark.line + 1}); remove it")
        open_nodes.add(id(node))
        size = 1
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, where, error)
            size += sum(size_of(key) + size_of(value) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(map(size_of, node.value))
        if size > _MOST_NODES:
            raise error(f"{where} has more than {_MOST_NODES:,} values once its aliases are expanded; write them out, or fewer")
        open_nodes.discard(id(node))
        sizes[id(node)] = size
        return size

    size_of(root)


def _check_keys(node: yaml.MappingNode, where: str, error: type[EmbtuneError]) -> None:
    import yaml

    lines: dict[Hashable, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        line, name = key.start_mark.line + 1, (key.tag, key.value)
        if name in lines:
            raise error(
                f"{where} has the key {shorten(key.value)} twice in one mapping, in line {lines[name]} and in line {line}; "
                "keep one of them"
            )
        lines[name] = line


def _check_depth(value: Any) -> None:
    """Refuse what nests deeper than ``MOST_DEPTH``, level by level, without recursion."""
    level, depth = [value] if isinstance(value, (dict, list)) else [], 1
    while level:
        if depth > MOST_DEPTH:
            raise RecursionError
        held = (item for holder in level for item in (holder.values() if isinstance(holder, dict) else holder))
        level = [item for item in held if isinstance(item, (dict, list))]
        depth += 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"one object has the key {shorten(twice)} twice")
    return found


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {shorten(digits)} is too large")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:300]
