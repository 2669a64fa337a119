"""A guard on ``paddle.load``: of files in certain folders, arrays and plain values are read, and nothing is run."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.utils.pickles.numpy_arrays import read_values

__all__ = ["loads_guarded"]

_NAMES = "StructuredToParameterName@@"
"""An entry that Paddle adds to the parameters that it saves, and removes when it loads them."""

_lock = threading.Lock()
_guards: list[Callable[[Path], bool]] = []
_original: Callable[..., Any] | None = None


@contextlib.contextmanager
def loads_guarded(concerns: Callable[[Path], bool]) -> Iterator[None]:
    """Guard ``paddle.load`` while the block runs, in every thread, for files of certain folders.

    Args:
        concerns: called with the folder of each file that is to be loaded; False has the file loaded as before.
            It may raise.
    """
    global _original
    paddle = require_paddle()
    with _lock:
        if not _guards:
            _original, paddle.load = paddle.load, _load
        _guards.append(concerns)
    try:
        yield
    finally:
        with _lock:
            _guards.remove(concerns)
            if not _guards:
                paddle.load, _original = _original, None


def _load(path: Any, *arguments: Any, **options: Any) -> Any:
    if isinstance(path, (str, os.PathLike)):
        file = Path(path)
        if any(concerns(file.parent) for concerns in list(_guards)):
            return _read(file, as_numpy=bool(options.get("return_numpy")))
    original = _original or require_paddle().load
    return original(path, *arguments, **options)


def _read(file: Path, *, as_numpy: bool) -> Any:
    state = read_values(file, error=HostError)
    if isinstance(state, dict):
        state.pop(_NAMES, None)
    return state if as_numpy else _tensors(state)


def _tensors(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray):
        return require_paddle().to_tensor(value)
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_tensors(item) for item in value])
    return value
