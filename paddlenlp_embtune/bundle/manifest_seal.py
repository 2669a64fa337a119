"""The seal of ``bundle.json``: its last line, the SHA-256 of everything before it.

The file ends with ``"seal": "<64 hexadecimal digits>"``, a line break, ``}`` and a line break, and nothing else. So every byte
is covered by the digest, or part of it, or fixed: whichever bit is flipped, the file is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.utils.json_yaml import parse_json

__all__ = ["SCHEMA_VERSION", "read_sealed", "sealed_text"]

SCHEMA_VERSION = 2
"""What is written. Version 1 is the same without a seal; it is still read."""

_READ = (1, SCHEMA_VERSION)
_SEAL = "seal"
_TAIL = re.compile(rb'"seal": "([0-9a-f]{64})"\n\}\n')
_TAIL_BYTES = len(f'"{_SEAL}": "{"0" * 64}"\n}}\n')


def sealed_text(plain: Mapping[str, Any]) -> str:
    """Lay out a manifest as JSON, and seal it.

    Args:
        plain: what it says; plain values, at least one, and ``schema_version`` 2 among them. A figure that is not finite, as a
            metric of a plugin may be, becomes null: JSON has no such numbers.
    """
    text = json.dumps(_finite(plain), ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace").decode()
    head = text.removesuffix("\n}") + ",\n "  # half a character, as a path may hold, has become an escape
    digest = hashlib.sha256(head.encode()).hexdigest()
    return f'{head}"{_SEAL}": "{digest}"\n}}\n'


def read_sealed(content: bytes, where: str) -> dict[str, Any]:
    """Parse a manifest after its seal has been checked; what is returned is without the seal.

    Args:
        content: of the file.
        where: the file, for messages.
    Raises:
        BundleError: the content is not what was sealed, is not JSON, or is of another schema.
    """
    tail = _TAIL.fullmatch(content[-_TAIL_BYTES:])
    if tail is not None:
        found = hashlib.sha256(content[:-_TAIL_BYTES]).hexdigest()
        if found != tail[1].decode():
            raise BundleError(
                f"{where} has changed since it was written: its content is {found[:12]}..., its seal says "
                f"{tail[1][:12].decode()}...; restore it, or train again; change a bundle with embtune calibrate, quantize or "
                "export, never by hand"
            )
    # Earlier releases wrote NaN.
    value = parse_json(content, f"{where} is damaged: the file", error=BundleError, finite=False)
    version = value.get("schema_version") if isinstance(value, dict) else None
    if type(version) is not int or version not in _READ:
        raise BundleError(
            f"{where} has the schema version {version!r}; this release reads {' and '.join(map(str, _READ))}; use the release "
            "that wrote it, or train again"
        )
    if (tail is None) != (version == 1) or (version == 1 and _SEAL in value):
        raise BundleError(
            f"{where} has changed since it was written: version 1 has no seal, version {SCHEMA_VERSION} ends with one; restore "
            "it, or train again"
        )
    value.pop(_SEAL, None)
    return dict(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
