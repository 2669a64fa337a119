"""The best match of each filter of a text CNN, forward and backward, for training on a CPU.

By the definition, every window of a batch is multiplied by all filters, forward once and backward twice. Here a token that
stands in many windows is multiplied once, a window's match is the sum of what its tokens give, and the gradient, which
reaches one window of a text for each filter, is multiplied as a sparse matrix.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError

__all__ = ["distinct_tokens", "has_window_maxima", "window_maxima"]

_ROWS = 64
"""Distinct tokens are filled up to a multiple of this, so that few shapes of products occur."""

Array = npt.NDArray[np.float32]
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
    """Make the class that Paddle's autograd needs, once Paddle is there."""
    methods = {"forward": staticmethod(_forward), "backward": staticmethod(_backward)}
    return type("WindowMaxima", (require_paddle().autograd.PyLayer,), methods)


def _forward(context: Any, vectors: Any, weight: Any, bias: Any, places: Places) -> Any:
    width, filters = vectors.shape[1], weight.shape[1]
    window = weight.shape[0] // width
    by_filter = np.ascontiguousarray(_array(weight).reshape(window, width, filters).transpose(0, 2, 1))
    by_filter = by_filter.reshape(window * filters, width)
    products = onednn.matmul(vectors, _tensor(by_filter), transpose_y=True)
    best, starts = _best(_array(products).reshape(-1, filters), places, window)
    best += _array(bias)
    with np.errstate(invalid="ignore"):
        np.maximum(best, 0, out=best)
    context.wanted = [not tensor.stop_gradient for tensor in (vectors, weight, bias)]
    context.kept = vectors, by_filter, places, best, starts
    return _tensor(best.copy())  # whoever gets it may change it in place


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
    with np.errstate(all="ignore"):  # as Paddle, which lets infinities and NaN pass
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
    if require_paddle().is_grad_enabled():
        raise HostError(
            "the faster steps of a text CNN have no second derivative, and create_graph asks for one; set fast_steps of the "
            "model to False"
        )
    vectors, by_filter, places, best, starts = context.kept
    arrived = _array(gradient) * (best > 0)
    wanted_vectors, wanted_weight, wanted_bias = context.wanted
    of_vectors = of_weight = of_bias = None
    if wanted_bias:
        of_bias = _tensor(arrived.sum(axis=0))
    if wanted_vectors or wanted_weight:
        filters, width = best.shape[1], vectors.shape[1]
        window = len(by_filter) // filters
        matrix = _gradient_matrix(arrived, starts, places, shape=(window * filters, vectors.shape[0]))
        if wanted_weight:
            found = (matrix @ _array(vectors)).reshape(window, filters, width)
            of_weight = _tensor(np.ascontiguousarray(found.transpose(0, 2, 1)).reshape(window * width, filters))
        if wanted_vectors:
            of_vectors = _tensor(matrix.T @ by_filter)
    return of_vectors, of_weight, of_bias


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


def _array(tensor: Any) -> Array:
    """Look at a tensor's values in place; the array must not be written to."""
    return cast("Array", np.from_dlpack(tensor.detach()))


def _tensor(array: Array) -> Any:
    """Hand an array over to Paddle without a copy."""
    return require_paddle().utils.dlpack.from_dlpack(array)
