"""Loading the oneDNN library that Paddle ships: its version, its functions, and what of the processor it uses."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import platform
from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.utils.fork_safety import watch_forks

__all__ = ["Library", "load_library", "mark_unusable"]

_MAJOR = 3  # the C interface is stable within a major version
_AVX2, _AVX512, _BF16, _AMX = 0x4, 0x20, 0x80, 0x800  # bits of dnnl_cpu_isa_t
_FEATURES = {"AVX2": _AVX2, "AVX-512": _AVX512, "AVX512_BF16": _BF16, "AMX": _AMX}

_HANDLE = ctypes.c_void_p
_OUT = ctypes.POINTER(ctypes.c_void_p)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "dnnl_engine_create": (_OUT, ctypes.c_int, ctypes.c_size_t),
    "dnnl_stream_create": (_OUT, _HANDLE, ctypes.c_uint),
    "dnnl_memory_desc_create_with_strides": (_OUT, ctypes.c_int, _HANDLE, ctypes.c_int, _HANDLE),
    "dnnl_memory_desc_destroy": (_HANDLE,),
    "dnnl_memory_create": (_OUT, _HANDLE, _HANDLE, _HANDLE),
    "dnnl_memory_set_data_handle": (_HANDLE, _HANDLE),
    "dnnl_memory_destroy": (_HANDLE,),
    "dnnl_primitive_attr_create": (_OUT,),
    "dnnl_primitive_attr_destroy": (_HANDLE,),
    "dnnl_primitive_attr_set_fpmath_mode": (_HANDLE, ctypes.c_int),
    "dnnl_matmul_primitive_desc_create": (_OUT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE),
    "dnnl_reorder_primitive_desc_create": (_OUT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE),
    "dnnl_eltwise_forward_primitive_desc_create": (
        *(_OUT, _HANDLE, ctypes.c_int, ctypes.c_int, _HANDLE, _HANDLE),
        *(ctypes.c_float, ctypes.c_float, _HANDLE),
    ),
    "dnnl_eltwise_backward_primitive_desc_create": (
        *(_OUT, _HANDLE, ctypes.c_int, _HANDLE, _HANDLE, _HANDLE),
        *(ctypes.c_float, ctypes.c_float, _HANDLE, _HANDLE),
    ),
    "dnnl_layer_normalization_forward_primitive_desc_create": (
        *(_OUT, _HANDLE, ctypes.c_int, _HANDLE, _HANDLE, _HANDLE),
        *(ctypes.c_float, ctypes.c_uint, _HANDLE),
    ),
    "dnnl_layer_normalization_backward_primitive_desc_create": (
        *(_OUT, _HANDLE, ctypes.c_int, _HANDLE, _HANDLE, _HANDLE, _HANDLE),
        *(ctypes.c_float, ctypes.c_uint, _HANDLE, _HANDLE),
    ),
    "dnnl_primitive_desc_query": (_HANDLE, ctypes.c_int, ctypes.c_int, _HANDLE),
    "dnnl_primitive_desc_destroy": (_HANDLE,),
    "dnnl_primitive_create": (_OUT, _HANDLE),
    "dnnl_primitive_execute": (_HANDLE, _HANDLE, ctypes.c_int, _HANDLE),
    "dnnl_primitive_destroy": (_HANDLE,),
}
"""What every function that is called takes; all of them return a status, 0 for success."""


class _Version(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
        ("patch", ctypes.c_int),
        ("hash", ctypes.c_char_p),
        ("cpu_runtime", ctypes.c_uint),
        ("gpu_runtime", ctypes.c_uint),
    )


@dataclasses.dataclass(frozen=True)
class Library:
    """The library, ready to be called.

    Args:
        functions: its functions by name, with the types of their arguments set.
        version: for example ``3.6.2``.
        features: of the processor, as far as the library uses them.
        avx512: whether it uses AVX-512 on this processor.
        bf16: whether the processor multiplies bfloat16 itself.
        deterministic: sets an attribute so that equal inputs give equal bits; None where this version lacks it.
    """

    functions: Any
    version: str
    features: tuple[str, ...]
    avx512: bool
    bf16: bool
    deterministic: Any | None


_unusable = ""


def mark_unusable(reason: str) -> None:
    """Let :func:`load_library` refuse from now on."""
    global _unusable
    _unusable = reason


class _Forks:
    def after_fork(self) -> None:
        # The threads of the library's OpenMP runtime are not there, and a product would wait for them.
        mark_unusable("this process was forked from another one")


_forks = _Forks()
watch_forks(_forks)


def load_library() -> Library:
    """Return the library.

    Raises:
        HostError: it is not there, or of another version, or the processor is too old for it, or this process was forked.
    """
    if _unusable:
        raise HostError(_unusable)
    found = _find()
    if isinstance(found, str):
        raise HostError(found)
    return found


@functools.cache
def _find() -> Library | str:
    """Find the library once; return why it cannot be used otherwise."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"the processor is {platform.machine() or 'unknown'}, expected x86_64"
    folder = Path(require_paddle().__file__).parent / "libs"
    files = sorted(folder.glob("libdnnl.so.*"))
    if not files:
        return "this Paddle ships no libdnnl"
    try:
        return _open(files[-1])
    except OSError as error:
        return f"{files[-1].name} does not load ({error})"
    except AttributeError as error:  # ctypes names the function that is missing
        return f"{files[-1].name} lacks a function ({error})"


def _open(file: Path) -> Library | str:
    functions = ctypes.CDLL(str(file))
    functions.dnnl_version.restype = ctypes.POINTER(_Version)
    version = functions.dnnl_version().contents
    told = f"{version.major}.{version.minor}.{version.patch}"
    if version.major != _MAJOR:
        return f"{file.name} is version {told}, expected {_MAJOR}"
    for name, arguments in _SIGNATURES.items():
        function = getattr(functions, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    deterministic = getattr(functions, "dnnl_primitive_attr_set_deterministic", None)
    if deterministic is not None:
        deterministic.argtypes, deterministic.restype = (_HANDLE, ctypes.c_int), ctypes.c_int
    functions.dnnl_get_effective_cpu_isa.argtypes, functions.dnnl_get_effective_cpu_isa.restype = (), ctypes.c_int
    isa = functions.dnnl_get_effective_cpu_isa()
    if not isa & _AVX2:
        return "the processor has no AVX2"
    features = tuple(name for name, bit in _FEATURES.items() if isa & bit)
    has_bf16 = bool(isa & _BF16)
    return Library(functions, told, features, avx512=bool(isa & _AVX512), bf16=has_bf16, deterministic=deterministic)
