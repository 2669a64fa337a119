"""The best match of each filter of a text CNN, forward and backward, for training on a CPU.

By the definition, every window of a batch is multiplied by all filters, forward once and backward twice. Here a token that
stands in many windows is multiplied once, a window's match is the sum of what its tokens give, and the gradient, which
reaches one window of a text for each filter, is multiplied as a sparse matrix.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.functional._arrays import Array, array_of, tensor_of
from paddlenlp_embtune.compat.functional._autograd import make_operator, wanted_gradients
from paddlenlp_embtune.compat.paddle import require_paddle

__all__ = ["distinct_tokens", "has_window_maxima", "window_maxima"]

_ROWS = 64
"""Distinct tokens are filled up to a multiple of this, so that few shapes of products occur."""

Places = npt.NDArray[np.int32]


def has_window_maxima(*tensors: Any) -> bool:
    """Whether :func:`window_maxima` can take these: float32 on a CPU, not traced, with scipy for the backward pass."""
    paddle = require_paddle()
    if not paddle.in_dynamic_mode() or _csr_matrix() is None:
        return False
    return all(tensor.dtype == paddle.float32 and tensor.place.is_cpu_place() for tensor in tensors)


def distinct_tokens(ids: npt.NDArray[np.int64], count: int) -> tuple[npt.NDArray[np.int64], Places]:
    """Return the distinct ids of a batch in ascending order, filled up with 0, and where each id of the batch is among them.

    Args:
        ids: 0 or more and below ``count``.
        count: the rows of the table that they are looked up in.
    Shapes:
        ids: any; returns: (U,) int64, U a multiple of 64, and the shape of ids, int32
    """
    seen = np.zeros(count, dtype=np.bool_)
    seen[ids] = True
    found = np.flatnonzero(seen)
    place = np.empty(count, dtype=np.int32)
    place[found] = np.arange(found.size, dtype=np.int32)
    tokens = np.zeros(-(-found.size // _ROWS) * _ROWS, dtype=np.int64)
    tokens[: found.size] = found
    return tokens, place[ids]


def window_maxima(vectors: Any, weight: Any, bias: Any, places: Places) -> Any:
    """Match every window of each text with every filter, and take each filter's best match, or 0 if that is more.

    A window of padding counts as one of each text's, so a best match is at least the bias.

    Args:
        vectors: of the distinct tokens of a batch; that of padding is 0.
        weight: of the filters, the first token of a window first.
        bias: of the filters.
        places: where the vectors of each text's tokens are, one column a text; the texts have W - 1 tokens of padding or more
            at both ends.
    Shapes:
        vectors: (U, D); weight: (W * D, F), W windows of 2 or more; bias: (F,); places: (L, B) int32, L at least W; returns:
            (B, F)
    """
    return _operator().apply(vectors, weight, bias, places)


@functools.cache
def _csr_matrix() -> Any:
    """Return scipy's sparse matrices; None where scipy is missing."""
    try:
        return importlib.import_module("scipy.sparse").csr_matrix
    except ModuleNotFoundError:
        return None


@functools.cache
def _operator() -> Any:
    return make_operator("step of a text CNN", _forward, _backward, undo="set fast_steps of the model to False")


def _forward(context: Any, vectors: Any, weight: Any, bias: Any, places: Places) -> Any:
    width, filters = vectors.shape[1], weight.shape[1]
    window = weight.shape[0] // width
    by_filter = np.ascontiguousarray(array_of(weight).reshape(window, width, filters).transpose(0, 2, 1))
    by_filter = by_filter.reshape(window * filters, width)
    products = onednn.matmul(vectors, tensor_of(by_filter), transpose_y=True)
    best, starts = _best(array_of(products).reshape(-1, filters), places, window)
    best += array_of(bias)
    np.maximum(best, 0, out=best)
    context.kept = vectors, by_filter, places, best, starts
    return tensor_of(best.copy())  # whoever gets it may change it in place


def _best(products: Array, places: Places, window: int) -> tuple[Array, npt.NDArray[Any]]:
    """Find each filter's best match in each text, and where its window starts, counted from 1; 0 where padding is best.

    Shapes:
        products: (U * W, F), what each token gives at each place of a window; places: (L, B); returns: (B, F) and the same
    """
    count = len(places) - window + 1
    shape = (places.shape[1], products.shape[1])
    match, part, best = np.empty(shape, np.float32), np.empty(shape, np.float32), np.zeros(shape, np.float32)
    starts = np.zeros(shape, np.uint8 if count < 2**8 else np.uint16 if count < 2**16 else np.uint32)
    better, start = np.empty(shape, np.bool_), np.empty_like(starts)
    rows = [places * window + place for place in range(window)]
    for at in range(count):
        products.take(rows[0][at], axis=0, out=match, mode="clip")
        for place in range(1, window):
            products.take(rows[place][at + place], axis=0, out=part, mode="clip")
            np.add(match, part, out=match)
        np.greater(match, best, out=better)
        np.maximum(best, match, out=best)
        # A later start is a larger number, so the maximum puts it in where the match is better, faster than a mask does.
        np.multiply(better, starts.dtype.type(at + 1), out=start)
        np.maximum(starts, start, out=starts)
    return best, starts


def _backward(context: Any, gradient: Any) -> Any:
    vectors, by_filter, places, best, starts = context.kept
    filters, width = best.shape[1], vectors.shape[1]
    window = len(by_filter) // filters
    arrived = array_of(gradient) * (best > 0)
    matrix = functools.cache(lambda: _gradient_matrix(arrived, starts, places, shape=(window * filters, vectors.shape[0])))

    def of_weight() -> Any:
        found = (matrix() @ array_of(vectors)).reshape(window, filters, width)
        return tensor_of(np.ascontiguousarray(found.transpose(0, 2, 1)).reshape(window * width, filters))

    return wanted_gradients(
        context, lambda: tensor_of(matrix().T @ by_filter), of_weight, lambda: tensor_of(arrived.sum(axis=0))
    )


def _gradient_matrix(arrived: Array, starts: npt.NDArray[Any], places: Places, *, shape: tuple[int, int]) -> Any:
    """Return the gradient of the products: one row for each place of a window and filter, one column for each token.

    Shapes:
        arrived, starts: (B, F); places: (L, B); shape: (W * F, U); returns: (W * F, U), sparse
    """
    filters = arrived.shape[1]
    window = shape[0] // filters
    by_filter = np.ascontiguousarray((arrived * (starts > 0)).T)
    rows, texts = np.nonzero(by_filter)
    values = by_filter[rows, texts]
    first = (starts.T[rows, texts].astype(np.int64) - 1) * places.shape[1] + texts
    columns = [places.ravel()[first + place * places.shape[1]] for place in range(window)]
    ends = np.zeros(shape[0] + 1, dtype=np.int32)
    np.cumsum(np.tile(np.bincount(rows, minlength=filters), window), out=ends[1:])
    return _csr_matrix()((np.tile(values, window), np.concatenate(columns), ends), shape=shape, copy=False)
