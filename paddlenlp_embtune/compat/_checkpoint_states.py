"""States of the model, the optimizer, the schedule and the loss scale in a checkpoint: written and read without pickles."""

from __future__ import annotations

import importlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import read_json, shorten
from paddlenlp_embtune.utils.pickles.numpy_arrays import read_arrays, read_values
from paddlenlp_embtune.utils.safetensors_io import LazyArray, SafetensorsFile, write_safetensors_file

__all__ = ["MODEL", "check_parameters", "read_model", "read_state", "write_state"]

MODEL = "model"

_PICKLED = {
    MODEL: "model_state.pdparams",
    "optimizer": "optimizer.pdopt",
    "scheduler": "scheduler.pdparams",
    "scaler": "scaler.pdparams",
}
"""Where the Trainer, left alone, puts the same states."""

_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "float32": "F32",
    "int64": "I64",
    "float64": "F64",
}
_NEXT_STEP = "resume from another checkpoint, or with the model that this one was made with"


def write_state(folder: Path, name: str, state: Mapping[str, Any]) -> None:
    """Write a state: its arrays, also those one level down, as ``NAME.safetensors``, and the rest, if any, as ``NAME.json``.

    Raises:
        HostError: the rest is more than JSON holds.
        OSError: the disk does not take the files.
    """
    paddle, numpy = require_paddle(), importlib.import_module("numpy")
    arrays: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, Mapping) and value and all(isinstance(item, paddle.Tensor) for item in value.values()):
            arrays.update({f"{key}/{inner}": _later(item) for inner, item in value.items()})
            rest.setdefault("nested", []).append(key)
        elif isinstance(value, paddle.Tensor):
            arrays[key] = _later(value)
        elif isinstance(value, numpy.ndarray):
            arrays[key] = value
        else:
            rest[key] = value.item() if isinstance(value, numpy.generic) else value
    if arrays:
        write_safetensors_file(folder / f"{name}.safetensors", arrays)
    if rest:
        try:
            text = json.dumps(rest, indent=1)
        except TypeError as error:
            raise HostError(
                f"the state of the {name} is more than JSON holds ({error}); keep numbers and arrays in it"
            ) from None
        write_text(folder / f"{name}.json", text + "\n")


def read_state(folder: Path, name: str, *, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read what :func:`write_state` wrote, or what the Trainer itself pickled, of which arrays and plain values are read.

    Args:
        folder: of the checkpoint.
        name: of the state.
        like: a state with the names and kinds of values that are expected; None skips this check.
    Raises:
        HostError: there is neither, or it is damaged, or it is another kind of state.
    """
    arrays, rest = folder / f"{name}.safetensors", folder / f"{name}.json"
    if _is_file(arrays) or _is_file(rest):
        state = read_json(rest, error=HostError, finite=False) if _is_file(rest) else {}
        if not isinstance(state, dict):
            raise HostError(f"{rest} is damaged: it holds no JSON object; {_NEXT_STEP}")
        nested = state.pop("nested", [])
        for key, value in (SafetensorsFile(arrays, error=HostError).read_all() if _is_file(arrays) else {}).items():
            outer, slash, inner = key.partition("/")
            if slash and outer in nested:
                state.setdefault(outer, {})[inner] = value
            else:
                state[key] = value
    elif _is_file(folder / _PICKLED[name]):
        state = read_values(folder / _PICKLED[name], error=HostError)
        if not isinstance(state, dict):
            raise HostError(f"{folder / _PICKLED[name]} holds no state by name; {_NEXT_STEP}")
        for other in ("LR_Scheduler", "StructuredToParameterName@@"):  # the first has a file of its own, too
            state.pop(other, None)
    else:
        raise HostError(f"{folder} lacks {arrays.name} or {rest.name}; {_NEXT_STEP}")
    if like is not None:
        _check_like(folder, name, state, like)
    return state


def read_model(folder: Path, model: Any) -> dict[str, Any]:
    """Read the parameters and buffers of a model, after their names, shapes and types have been compared.

    Raises:
        HostError: the checkpoint has none, or others than the model; the message shows the first difference.
    """
    file = folder / f"{MODEL}.safetensors"
    if _is_file(file):
        stored = SafetensorsFile(file, error=HostError)
        _compare({name: (one.shape, one.dtype) for name, one in stored.arrays.items()}, model, str(file))
        return stored.read_all()
    if _is_file(folder / _PICKLED[MODEL]):
        arrays = read_arrays(folder / _PICKLED[MODEL], error=HostError)
        check_parameters(arrays, model, str(folder / _PICKLED[MODEL]))
        return arrays
    raise HostError(f"{folder} lacks {file.name}; {_NEXT_STEP}")


def check_parameters(arrays: Mapping[str, Any], model: Any, where: str) -> None:
    """Compare arrays with the parameters and buffers of a model.

    Args:
        arrays: by name; bfloat16 as uint16.
        model: the model.
        where: what holds the arrays, for the message.
    Raises:
        HostError: some are missing, or are too many, or are of another shape or type.
    """
    numpy = importlib.import_module("numpy")
    names = {numpy.dtype(kind if kind != "bfloat16" else "uint16"): code for kind, code in _TYPES.items()}
    _compare({name: (tuple(value.shape), names.get(value.dtype, "?")) for name, value in arrays.items()}, model, where)


def _compare(stored: Mapping[str, tuple[tuple[int, ...], str]], model: Any, where: str) -> None:
    spared = set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    wanted = {name: (tuple(value.shape), _type(value)) for name, value in model.state_dict().items()}
    if missing := [name for name in wanted if name not in stored and name not in spared]:
        raise HostError(
            f"{where} lacks {len(missing)} of the model's {len(wanted)} parameters, {missing[0]!r} first; {_NEXT_STEP}"
        )
    if further := [name for name in stored if name not in wanted]:
        raise HostError(
            f"{where} holds {len(further)} parameters that this model does not have, {shorten(further[0])} first; {_NEXT_STEP}"
        )
    for name, (shape, kind) in stored.items():
        if (shape, kind) != wanted[name]:
            raise HostError(
                f"{where} holds {name!r} as {kind} of shape {list(shape)}, expected {wanted[name][1]} of shape "
                f"{list(wanted[name][0])}; {_NEXT_STEP}"
            )


def _check_like(folder: Path, name: str, state: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    if set(state) != set(like):
        names, expected = sorted(map(str, state)), sorted(like)
        raise HostError(f"the state of the {name} in {folder} has {shorten(names)}, expected {shorten(expected)}; {_NEXT_STEP}")
    for key, now in like.items():
        if not _same_kind(state[key], now):
            raise HostError(f"the state of the {name} in {folder} gives {key} as {shorten(state[key])}; {_NEXT_STEP}")


def _same_kind(value: Any, now: Any) -> bool:
    if hasattr(now, "shape"):
        return hasattr(value, "dtype") and bool(tuple(value.shape) == tuple(now.shape) and value.dtype == now.dtype)
    if now is None:
        return value is None or isinstance(value, (int, float, str))
    if isinstance(now, (bool, str)):
        return type(value) is type(now)
    return type(value) is int or (type(value) is float and (not isinstance(now, int) or value.is_integer()))


def _later(tensor: Any) -> LazyArray:
    return LazyArray(_type(tensor), tuple(int(size) for size in tensor.shape), tensor.numpy)


def _type(tensor: Any) -> str:
    name = str(tensor.dtype).rpartition(".")[2]
    if name not in _TYPES:
        raise HostError(f"a tensor of type {name} cannot be saved; expected one of {', '.join(_TYPES)}")
    return _TYPES[name]


def _is_file(path: Path) -> bool:
    """Return whether a file exists; what is not a regular file is refused.

    Raises:
        HostError: it is a link, a folder or a pipe.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(mode):
        raise HostError(f"{path} is no regular file; {_NEXT_STEP}")
    return True
