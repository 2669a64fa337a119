"""Reading untrusted JSON and YAML: bounded in size, depth and expansion, without duplicate keys."""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from paddlenlp_embtune.errors import EmbtuneError

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_BYTES", "MAX_DEPTH", "dump_json", "parse_json", "parse_yaml", "read_bounded", "read_json", "shorten"]

MAX_DEPTH = 64
"""Maximum nesting depth of a document."""

MAX_BYTES = 256 << 20
"""Maximum size of a document in bytes, unless its reader sets another limit."""

_MAX_NODES = 1_000_000
"""Maximum number of nodes of a YAML document after its aliases are expanded."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WHOLE = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = _shortener.maxlong = 80
_shortener.maxlevel = 3
_MAX_SHOWN = 300


def shorten(value: object) -> str:
    """Return a value's ``repr`` for a message: at most 80 characters per item, six items per container, 300 in all."""
    try:
        shown = _shortener.repr(value)
        return shown if len(shown) <= _MAX_SHOWN else f"{shown[: _MAX_SHOWN - 3]}..."
    except Exception:  # a foreign object may raise anything; so does an int of more than 4,300 digits
        return f"a {type(value).__name__}"


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON that any Unicode encoding can hold: lone surrogates are escaped, all else is left as it is."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def parse_json(content: str | bytes, where: str, *, error: type[EmbtuneError], finite: bool = True) -> Any:
    """Parse one JSON document.

    Args:
        content: the text, or its bytes in UTF-8, with or without a byte order mark.
        where: where it came from, for messages.
        error: the exception to raise.
        finite: reject ``NaN`` and ``Infinity``, which are not JSON, although Python writes them.
    Raises:
        EmbtuneError: of the type given; it is not UTF-8 or not JSON, nests deeper than ``MAX_DEPTH``, contains a number that
            is not finite or has thousands of digits, or repeats a key in one object.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        constant = _refuse_constant if finite else None
        value = json.loads(text, parse_constant=constant, parse_float=_finite, object_pairs_hook=_once)
        _check_depth(value)
    except RecursionError:
        raise error(f"{where} nests deeper than {MAX_DEPTH} levels; flatten it") from None
    except ValueError as fault:
        raise error(f"{where} is not valid JSON: {_one_line(fault)}; correct it, or create it again") from None
    return value


def read_json(path: Path, *, error: type[EmbtuneError], max_bytes: int = MAX_BYTES, finite: bool = True) -> Any:
    """Read one JSON document from a file, as :func:`parse_json` does.

    Raises:
        EmbtuneError: of the type given; see :func:`parse_json` and :func:`read_bounded`.
    """
    return parse_json(read_bounded(path, error=error, max_bytes=max_bytes), str(path), error=error, finite=finite)


def read_bounded(path: Path, *, error: type[EmbtuneError], max_bytes: int = MAX_BYTES) -> bytes:
    """Read a whole file of at most ``max_bytes``, so that an endless device or pipe is rejected.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file; callers report this themselves.
        EmbtuneError: of the type given; the file is larger, is a named pipe (which might never end), or cannot be read.
    """
    try:
        if path.is_fifo():
            raise error(f"{path} is a named pipe; pass a regular file")
        with path.open("rb") as file:
            content = _read_up_to(file, max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError, EmbtuneError):
        raise
    except (OSError, ValueError) as fault:  # ValueError: a path with a null character
        raise error(f"cannot read {path}: {getattr(fault, 'strerror', None) or fault}; pass a readable file") from None
    if len(content) > max_bytes:
        raise error(f"{path} is larger than the limit of {max_bytes:,} bytes; pass a smaller file")
    return content


def _read_up_to(file: BinaryIO, size: int) -> bytes:
    """Read at most ``size`` bytes, without allocating all of them if the file is shorter."""
    content = file.read(min(size, os.fstat(file.fileno()).st_size + 1))
    if len(content) == size or not (more := file.read(1)):
        return content
    parts = [content, more]  # a pipe, a device, or a file that grows
    left = size - len(content) - 1
    while left > 0 and (part := file.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def parse_yaml(content: str | bytes, where: str, *, error: type[EmbtuneError]) -> Any:
    """Parse one YAML document with plain values only.

    Dates, numbers in base 60 (``1:30``) and numbers with a leading zero (``007``) stay strings, which YAML 1.1 would convert
    to something that the author did not write.

    Args:
        content: the text, or its bytes in UTF-8.
        where: where it came from, for messages.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; it is not YAML, nests deeper than ``MAX_DEPTH`` or refers to itself, exceeds a million
            nodes after its aliases are expanded, or repeats a key in one mapping.
    """
    import yaml

    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        loader = _loader()(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_nodes(node, loader, where, error)
            value = loader.construct_document(node)
            _check_plain(value)
            return value
        finally:
            loader.dispose()
    except RecursionError:
        raise error(f"{where} nests deeper than {MAX_DEPTH} levels; flatten it") from None
    except EmbtuneError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as fault:
        raise error(f"{where} is not valid YAML: {_one_line(fault)}; correct it") from None
    except (LookupError, AttributeError):  # PyYAML, for a tag whose value does not fit, such as !!bool maybe
        raise error(f"{where} is not valid YAML: a value does not match its tag; remove the tag") from None


def _loader() -> type[yaml.SafeLoader]:
    """Return PyYAML's safe loader with limits on depth and size, and with fewer strings read as numbers."""
    import yaml

    class Loader(yaml.SafeLoader):
        depth = nodes = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            self.nodes += 1
            try:
                if self.depth > MAX_DEPTH:
                    raise RecursionError
                if self.nodes > _MAX_NODES:
                    raise ValueError(f"it has more than the maximum of {_MAX_NODES:,} values")
                return super().compose_node(parent, index)
            finally:
                self.depth -= 1

    # PyYAML's writer treats the same strings as numbers, and therefore quotes them.
    kept = {
        "tag:yaml.org,2002:int": _WHOLE,
        "tag:yaml.org,2002:float": _FLOAT,
        "tag:yaml.org,2002:timestamp": None,
        "tag:yaml.org,2002:value": None,
    }
    Loader.yaml_implicit_resolvers = {
        first: [(tag, kept.get(tag, pattern)) for tag, pattern in rows if kept.get(tag, pattern) is not None]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def _check_plain(value: Any) -> None:
    """Reject everything but mappings, lists and scalars: what tags such as ``!!set``, ``!!binary`` and ``!!omap`` create."""
    level = [value]
    while level:
        for item in level:
            if not isinstance(item, (dict, list, str, bool, int, float, type(None))):
                raise ValueError(f"it contains a {type(item).__name__}; remove its tag")
        held = [item for item in level if isinstance(item, (dict, list))]
        level = [item for holder in held for item in (holder.values() if isinstance(holder, dict) else holder)]


def _check_nodes(root: yaml.Node, loader: yaml.SafeLoader, where: str, error: type[EmbtuneError]) -> None:
    """Reject duplicate keys, nodes that contain themselves, and aliases that expand to too much."""
    import yaml

    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size_of(node: yaml.Node) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise error(f"{where} contains an alias to a node that encloses it (line {node.start_mark.line + 1}); remove it")
        open_nodes.add(id(node))
        size = 1
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, loader, where, error)
            size += sum(size_of(key) + size_of(value) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(map(size_of, node.value))
        if size > _MAX_NODES:
            raise error(f"{where} has more than {_MAX_NODES:,} values after its aliases are expanded; use fewer aliases")
        open_nodes.discard(id(node))
        sizes[id(node)] = size
        return size

    size_of(root)


def _check_keys(node: yaml.MappingNode, loader: yaml.SafeLoader, where: str, error: type[EmbtuneError]) -> None:
    """Reject a repeated key, even in two spellings of one value, such as ``yes`` and ``true``."""
    import yaml

    lines: dict[Hashable, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        merges = key.tag == "tag:yaml.org,2002:merge"
        line, name = key.start_mark.line + 1, "<<" if merges else loader.construct_object(key)
        if not isinstance(name, (str, int, float, type(None))):
            continue
        if name in lines:
            raise error(
                f"{where} has the key {shorten(key.value)} twice in one mapping, on line {lines[name]} and on line {line}; "
                "remove one of them"
            )
        lines[name] = line


def _check_depth(value: Any) -> None:
    """Reject what nests deeper than ``MAX_DEPTH``, level by level, without recursion."""
    level, depth = [value] if isinstance(value, (dict, list)) else [], 1
    while level:
        if depth > MAX_DEPTH:
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
    raise ValueError(f"{name} is not a JSON value")


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:300]
