"""What oneDNN is asked to do: products of matrices, rounding to bfloat16, GELU, layer norms."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from paddlenlp_embtune.compat.onednn._primitives import Builder, Layout, by_rows

__all__ = ["GeluBackward", "GeluForward", "NormBackward", "NormForward", "Product", "Rounding"]

# DNNL_ARG_...
_SOURCE, _OUT, _WEIGHTS, _BIAS = 1, 17, 33, 41
_MEAN, _VARIANCE, _SCALE, _SHIFT = 49, 50, 51, 52
_SOURCE_GRADIENT, _OUT_GRADIENT, _SCALE_GRADIENT, _SHIFT_GRADIENT = 129, 145, 255, 256

_TRAINING, _BACKWARD = 64, 128  # dnnl_prop_kind_t
_GELU_ERF = 0x31  # dnnl_alg_kind_t
_SCALED_AND_SHIFTED = 0x2 | 0x4  # dnnl_normalization_flags_t


class Product(NamedTuple):
    """``left @ right + bias``, the bias being a vector or absent; the result lies by rows.

    Both factors are of one type; the sums, the bias and the result are float32.
    """

    left: Layout
    right: Layout
    biased: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return (*self.left.shape[:-1], self.right.shape[-1])

    def arguments(self) -> Mapping[int, Layout]:
        """Left, right, the result, and the bias, if any."""
        found = {_SOURCE: self.left, _WEIGHTS: self.right, _OUT: by_rows(*self.shape)}
        if self.biased:
            found[_BIAS] = by_rows(*(1 for _ in self.shape[:-1]), self.shape[-1])
        return found

    def plan(self, builder: Builder) -> ctypes.c_void_p:
        """Describe a product whose factors may be transposed."""
        found = {number: builder.describe(layout) for number, layout in self.arguments().items()}
        order = (found[_SOURCE], found[_WEIGHTS], found.get(_BIAS), found[_OUT])
        return builder.plan("dnnl_matmul_primitive_desc_create", *order, builder.attributes())


@dataclasses.dataclass(frozen=True)
class Rounding:
    """A number of float32 values to the nearest bfloat16 ones, halfway to the even one."""

    size: int

    def arguments(self) -> Mapping[int, Layout]:
        """The values and the result."""
        return {_SOURCE: by_rows(self.size), _OUT: by_rows(self.size, bf16=True)}

    def plan(self, builder: Builder) -> ctypes.c_void_p:
        """Describe a copy into the other type."""
        return builder.plan_reorder(*self.arguments().values())


@dataclasses.dataclass(frozen=True)
class GeluForward:
    """The exact Gaussian error linear unit of a number of values."""

    size: int

    def arguments(self) -> Mapping[int, Layout]:
        """The values and the result."""
        return dict.fromkeys((_SOURCE, _OUT), by_rows(self.size))

    def plan(self, builder: Builder) -> ctypes.c_void_p:
        """Describe an element-wise operation on one long row."""
        values = builder.describe(by_rows(self.size))
        order = (_TRAINING, _GELU_ERF, values, values, 0.0, 0.0)
        return builder.plan("dnnl_eltwise_forward_primitive_desc_create", *order, builder.attributes())


@dataclasses.dataclass(frozen=True)
class GeluBackward:
    """The gradient of as many values."""

    size: int

    def arguments(self) -> Mapping[int, Layout]:
        """The values, the gradient that arrives, and the result."""
        return dict.fromkeys((_SOURCE, _OUT_GRADIENT, _SOURCE_GRADIENT), by_rows(self.size))

    def plan(self, builder: Builder) -> ctypes.c_void_p:
        """Describe the backward pass of an element-wise operation, which needs the description of the forward one."""
        values = builder.describe(by_rows(self.size))
        order = (_GELU_ERF, values, values, values, 0.0, 0.0, GeluForward(self.size).plan(builder))
        return builder.plan("dnnl_eltwise_backward_primitive_desc_create", *order, builder.attributes())


@dataclasses.dataclass(frozen=True)
class NormForward:
    """A layer norm over the last axis, with scale and shift."""

    rows: int
    width: int
    epsilon: float

    def arguments(self) -> Mapping[int, Layout]:
        """The values, scale, shift, the result, and means and variances, which are results too."""
        vector, per_row, matrix = by_rows(self.width), by_rows(self.rows), by_rows(self.rows, self.width)
        return {_SOURCE: matrix, _SCALE: vector, _SHIFT: vector, _OUT: matrix, _MEAN: per_row, _VARIANCE: per_row}

    def plan(self, builder: Builder) -> ctypes.c_void_p:
        """Describe a normalisation that also returns means and variances."""
        matrix, per_row = builder.describe(by_rows(self.rows, self.width)), builder.describe(by_rows(self.rows))
        order = (_TRAINING, matrix, matrix, per_row, self.epsilon, _SCALED_AND_SHIFTED)
        return builder.plan("dnnl_layer_normalization_forward_primitive_desc_create", *order, builder.attributes())


@dataclasses.dataclass(frozen=True)
class NormBackward:
    """The gradients of values, scale and shift."""

    rows: int
    width: int
    epsilon: float

    def arguments(self) -> Mapping[int, Layout]:
        """The values, scale, shift, means, variances, the gradient that arrives, and the three results."""
        vector, per_row, matrix = by_rows(self.width), by_rows(self.rows), by_rows(self.rows, self.width)
        given = {_SOURCE: matrix, _SCALE: vector, _SHIFT: vector, _MEAN: per_row, _VARIANCE: per_row, _OUT_GRADIENT: matrix}
        return {**given, _SOURCE_GRADIENT: matrix, _SCALE_GRADIENT: vector, _SHIFT_GRADIENT: vector}

    def plan(self, builder: Builder) -> ctypes.c_void_p:
        """Describe the backward pass of a normalisation, which needs the description of the forward one."""
        matrix, per_row = builder.describe(by_rows(self.rows, self.width)), builder.describe(by_rows(self.rows))
        forward = NormForward(self.rows, self.width, self.epsilon).plan(builder)
        order = (_BACKWARD, matrix, matrix, matrix, per_row, self.epsilon, _SCALED_AND_SHIFTED, forward)
        return builder.plan("dnnl_layer_normalization_backward_primitive_desc_create", *order, builder.attributes())
