"""Primitives of oneDNN, one set for each thread, kept by what they do, shape and layout."""

from __future__ import annotations

import collections
import ctypes
import os
import threading
from collections.abc import Hashable, Mapping
from typing import NamedTuple, Protocol

from paddlenlp_embtune.compat.onednn._library import Library, load_library
from paddlenlp_embtune.errors import HostError

__all__ = ["Builder", "Layout", "Primitive", "Task", "by_rows", "primitive_for"]

_F32, _BF16 = 3, 2  # dnnl_data_type_t
_CPU, _IN_ORDER, _STRICT = 1, 1, 0
_IMPLEMENTATION = 8  # dnnl_query_impl_info_str
_KEPT = 1024
"""Primitives that a thread keeps; a batch of another length makes about 15, at half a millisecond each."""

_Dims = ctypes.c_int64 * 12


class Layout(NamedTuple):
    """How values lie in memory; a transposed matrix differs in its strides alone.

    Args:
        shape: of a matrix or a stack of them the last two sizes are rows and columns.
        strides: values between neighbours along each axis; of a single row or column those of a matrix by rows, as the library
            has returned nothing for a product of a column and a row that was described as a transposed column.
        bf16: whether the values are bfloat16, not float32.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    bf16: bool = False


def by_rows(*shape: int, bf16: bool = False) -> Layout:
    """Return the layout of an array without gaps."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return Layout(shape, tuple(reversed(strides)), bf16)


class Task(Hashable, Protocol):
    """What a primitive does."""

    def arguments(self) -> Mapping[int, Layout]:
        """Return the library's numbers of the arguments, with what lies there, in the order of the addresses."""

    def plan(self, builder: Builder) -> ctypes.c_void_p:
        """Make the primitive's descriptor."""


class _Argument(ctypes.Structure):
    _fields_ = (("argument", ctypes.c_int), ("memory", ctypes.c_void_p))


def primitive_for(task: Task) -> Primitive | None:
    """Return what does a task, for this thread alone; None where the library has nothing fast for it.

    Raises:
        HostError: the library cannot be used here.
    """
    library = load_library()
    try:
        return _of_this_thread(library).get(task)
    except HostError:  # without an engine or a stream there is nothing
        return None


class _Local(threading.local):
    """The stream and the primitives of a thread: memory that primitives work in belongs to the thread that made them."""

    cache: _Cache | None = None


_local = _Local()


def _of_this_thread(library: Library) -> _Cache:
    if _local.cache is None:
        _local.cache = _Cache(library)
    return _local.cache


class _Cache:
    """The primitives that a thread used last."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._engine = _create(library, "dnnl_engine_create", _CPU, 0)
        self._stream = _create(library, "dnnl_stream_create", self._engine, _IN_ORDER)
        self._kept: collections.OrderedDict[Task, Primitive | None] = collections.OrderedDict()

    def get(self, task: Task) -> Primitive | None:
        kept = self._kept
        if task in kept:
            kept.move_to_end(task)
            return kept[task]
        try:
            with Builder(self._library, self._engine) as builder:
                made = Primitive(builder, self._stream, task)
        except HostError:
            made = None
        kept[task] = made
        if len(kept) > _KEPT:
            kept.popitem(last=False)
        return made


def _create(library: Library, name: str, *arguments: object) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    if status := getattr(library.functions, name)(ctypes.byref(handle), *arguments):
        raise HostError(f"{name} returned {status}")
    return handle


class Builder:
    """Makes descriptors, and destroys them when the primitive is there."""

    def __init__(self, library: Library, engine: ctypes.c_void_p) -> None:
        self.library = library
        self.engine = engine
        self._made: list[tuple[str, ctypes.c_void_p]] = []

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, *_: object) -> None:
        for destroy, handle in self._made:
            getattr(self.library.functions, destroy)(handle)

    def describe(self, layout: Layout) -> ctypes.c_void_p:
        """Return a memory descriptor."""
        shape, strides = _Dims(*layout.shape), _Dims(*layout.strides)
        arguments = (len(layout.shape), shape, _BF16 if layout.bf16 else _F32, strides)
        return self._temporary("dnnl_memory_desc_destroy", "dnnl_memory_desc_create_with_strides", *arguments)

    def attributes(self) -> ctypes.c_void_p:
        """Return attributes that ask for equal bits from equal inputs, in float32 whatever ONEDNN_DEFAULT_FPMATH_MODE says."""
        attributes = self._temporary("dnnl_primitive_attr_destroy", "dnnl_primitive_attr_create")
        failed = self.library.functions.dnnl_primitive_attr_set_fpmath_mode(attributes, _STRICT)
        if self.library.deterministic is not None:
            failed = failed or self.library.deterministic(attributes, 1)
        if failed:
            raise HostError(f"attributes returned {failed}")
        return attributes

    def plan(self, function: str, *arguments: object) -> ctypes.c_void_p:
        """Return the descriptor of a primitive that one of the library's functions makes."""
        return self._temporary("dnnl_primitive_desc_destroy", function, self.engine, *arguments)

    def plan_reorder(self, source: Layout, target: Layout) -> ctypes.c_void_p:
        """Return the descriptor of a copy into another layout or type."""
        ends = self.describe(source), self.engine, self.describe(target), self.engine
        return self._temporary("dnnl_primitive_desc_destroy", "dnnl_reorder_primitive_desc_create", *ends, self.attributes())

    def _temporary(self, destroy: str, create: str, *arguments: object) -> ctypes.c_void_p:
        handle = _create(self.library, create, *arguments)
        self._made.append((destroy, handle))
        return handle


class Primitive:
    """One task, with the memory objects that carry the addresses.

    ``proven`` is for its user: whether a result agreed with another library's; None as long as that is not known.
    """

    proven: bool | None = None

    def __init__(self, builder: Builder, stream: ctypes.c_void_p, task: Task) -> None:
        library = builder.library
        self._functions = library.functions
        self._stream = stream
        self._process = os.getpid()
        self._memories: list[ctypes.c_void_p] = []
        self._primitive: ctypes.c_void_p | None = None
        plan = task.plan(builder)
        self._refuse_slow(plan)
        self._primitive = _create(library, "dnnl_primitive_create", plan)
        pairs = []
        for number, layout in task.arguments().items():
            memory = _create(library, "dnnl_memory_create", builder.describe(layout), builder.engine, None)
            self._memories.append(memory)
            pairs.append(_Argument(number, memory))
        self._arguments = (_Argument * len(pairs))(*pairs)

    def _refuse_slow(self, plan: ctypes.c_void_p) -> None:
        """Refuse the library's reference implementations, which take a hundred times as long."""
        name = ctypes.c_char_p()
        failed = self._functions.dnnl_primitive_desc_query(plan, _IMPLEMENTATION, 0, ctypes.byref(name))
        if failed or not (name.value or b"").startswith((b"brg", b"jit")):
            raise HostError(f"no fast implementation, but {name.value!r}")

    def run(self, *addresses: int) -> bool:
        """Do it with what lies at these addresses, in the order of the task's arguments; return whether it was done."""
        for memory, address in zip(self._memories, addresses, strict=True):
            if self._functions.dnnl_memory_set_data_handle(memory, address):
                return False
        count = len(addresses)
        return not self._functions.dnnl_primitive_execute(self._primitive, self._stream, count, self._arguments)

    def __del__(self) -> None:
        if os.getpid() != self._process:
            return
        for memory in self._memories:
            self._functions.dnnl_memory_destroy(memory)
        if self._primitive is not None:
            self._functions.dnnl_primitive_destroy(self._primitive)
