"""Products by oneDNN against products in double precision, for shapes and layouts of every kind, and what is left to Paddle."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.compat.onednn import _primitives, _tasks
from paddlenlp_embtune.compat.onednn._tensors import onednn_matmul
from paddlenlp_embtune.errors import HostError
from tests.compat.onednn.factors import LAYOUTS, UNIT, fuzzed, turned

pytestmark = pytest.mark.usefixtures("usable")


def by_onednn(left: Any, right: Any, transpose_x: bool = False, transpose_y: bool = False, bias: Any | None = None) -> Any:
    return onednn_matmul(left, right, transpose_x=transpose_x, transpose_y=transpose_y, bias=bias)


def compare(found: Any, left: np.ndarray, right: np.ndarray, bias: np.ndarray | None) -> None:
    """Rounding is bounded by the inner size times the unit times the products of absolute values (Higham 2002, section 3.5)."""
    wide = left.astype("float64"), right.astype("float64")
    expected = wide[0] @ wide[1] + (0 if bias is None else bias.astype("float64"))
    terms = np.abs(wide[0]) @ np.abs(wide[1]) + (0 if bias is None else np.abs(bias))
    inner = left.shape[-1] + 2
    # Denormals may be taken for zero, as BLAS does with the processor set so.
    assert (np.abs(found.numpy() - expected) <= 1.1 * inner * UNIT * terms + inner * 2.0**-126).all()


@pytest.mark.parametrize("seed", range(60))
def test_fuzzed_shapes_agree_with_double_precision(seed: int) -> None:
    given = fuzzed(seed)
    found = by_onednn(*given.tensors(), *given.transposed, bias=given.bias_tensor())
    compare(found, given.left, given.right, given.bias)


@pytest.mark.parametrize("rows", [1, 2, 3, 15, 16, 17, 688, 3000])
@pytest.mark.parametrize("transposed", LAYOUTS)
def test_each_count_of_rows_in_each_layout(rows: int, transposed: tuple[bool, bool]) -> None:
    generator = np.random.default_rng(rows)
    left, right = generator.normal(size=(rows, 127)).astype("float32"), generator.normal(size=(127, 65)).astype("float32")
    compare(by_onednn(turned(left, transposed[0]), turned(right, transposed[1]), *transposed), left, right, None)


@pytest.mark.parametrize("transposed", LAYOUTS)
def test_stacks_of_matrices(transposed: tuple[bool, bool]) -> None:
    generator = np.random.default_rng(3)
    left = generator.normal(size=(3, 5, 43, 31)).astype("float32")
    right = generator.normal(size=(3, 5, 31, 43)).astype("float32")
    compare(by_onednn(turned(left, transposed[0]), turned(right, transposed[1]), *transposed), left, right, None)


@pytest.mark.parametrize("transposed", LAYOUTS)
def test_nan_and_infinity_reach_what_they_reach_in_blas(transposed: tuple[bool, bool]) -> None:
    generator = np.random.default_rng(4)
    left, right = generator.normal(size=(35, 67)).astype("float32"), generator.normal(size=(67, 33)).astype("float32")
    by_onednn(turned(left, transposed[0]), turned(right, transposed[1]), *transposed)  # the first one proves the shape
    left[2, 66], left[34, 0], left[7, 7] = np.nan, np.inf, -np.inf
    right[7, 3] = 0  # infinity times zero
    right[0, 32] = np.inf
    found = by_onednn(turned(left, transposed[0]), turned(right, transposed[1]), *transposed).numpy()
    with np.errstate(all="ignore"):
        expected = left @ right
    for test in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(test(found), test(expected))
    plain = np.isfinite(expected)
    np.testing.assert_allclose(found[plain], expected[plain], rtol=1e-4, atol=1e-4)


def test_products_that_overflow_become_infinite() -> None:
    by_onednn(paddle.ones([20, 20]), paddle.ones([20, 20]))  # the first one proves the shape
    large = paddle.full([20, 20], 1e30)
    assert np.isposinf(by_onednn(large, large).numpy()).all()


def test_views_are_read_where_they_lie_or_copied() -> None:
    generator = np.random.default_rng(5)
    values = generator.normal(size=(60, 50)).astype("float32")
    tensor = paddle.to_tensor(values)
    views: list[Callable[[Any], Any]] = [
        lambda x: x[3:40, 5:41],
        lambda x: x[3:40, 5:41].T,
        lambda x: x[::2, ::3],
        lambda x: x[:, 7:8],
        lambda x: x[7:8],
        lambda x: x[:1].T,
    ]
    for view in views:
        left = view(values)
        right = generator.normal(size=(left.shape[1], 9)).astype("float32")
        view_of_tensor = view(tensor)
        compare(by_onednn(view_of_tensor, paddle.to_tensor(right)), left, right, None)
    row = paddle.to_tensor(values[:1]).expand([30, 50])
    right = values[:, :50].T.copy()
    compare(by_onednn(row, paddle.to_tensor(right)), np.repeat(values[:1], 30, axis=0), right, None)


def test_inputs_stay_as_they_are_and_nothing_is_written_beside_the_result() -> None:
    generator = np.random.default_rng(6)
    left, right = generator.normal(size=(37, 41)).astype("float32"), generator.normal(size=(41, 29)).astype("float32")
    tensors = paddle.to_tensor(left), paddle.to_tensor(right)
    product = _tasks.Product(_primitives.Layout((37, 41), (41, 1)), _primitives.Layout((41, 29), (29, 1)), False)
    out = np.full(37 * 29 + 128, 7, "float32")
    primitive = _primitives.primitive_for(product)
    assert primitive is not None
    assert primitive.run(tensors[0].data_ptr(), tensors[1].data_ptr(), out.ctypes.data + 256)
    assert (out[:64] == 7).all()
    assert (out[64 + 37 * 29 :] == 7).all()
    np.testing.assert_allclose(out[64 : 64 + 37 * 29].reshape(37, 29), left @ right, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(tensors[0].numpy(), left)
    np.testing.assert_array_equal(tensors[1].numpy(), right)


@pytest.mark.parametrize("transposed", LAYOUTS)
def test_single_rows_columns_and_values(transposed: tuple[bool, bool]) -> None:
    generator = np.random.default_rng(10)
    for shape in itertools.product((1, 2, 17), repeat=3):
        left, right = (generator.normal(size=size).astype("float32") for size in (shape[:2], shape[1:]))
        bias = generator.normal(size=shape[2]).astype("float32")
        for added in (None, bias):
            tensors = turned(left, transposed[0]), turned(right, transposed[1])
            found = by_onednn(*tensors, *transposed, bias=None if added is None else paddle.to_tensor(added))
            compare(found, left, right, added)


def test_a_shape_whose_first_product_differs_from_paddles_stays_paddles(monkeypatch: pytest.MonkeyPatch) -> None:
    onednn.use_kernels(matmul="onednn", operators="onednn", reason="a test")
    left, right = paddle.rand([300, 40]), paddle.rand([40, 30])
    run = _primitives.Primitive.run
    wrongs: list[Callable[[tuple[int, ...]], Any]] = [
        lambda addresses: None,  # nothing is written
        lambda addresses: ctypes.memset(addresses[2] + 4 * 8000, 0, 40),
        lambda addresses: ctypes.memmove(addresses[2], addresses[2] + 4000, 40),
    ]
    for wrong in wrongs:

        def damaged(self: Any, *addresses: int, wrong: Any = wrong) -> bool:
            if wrong is not wrongs[0]:
                run(self, *addresses)
            wrong(addresses)
            return True

        monkeypatch.setattr(_primitives, "_local", _primitives._Local())
        monkeypatch.setattr(_primitives.Primitive, "run", damaged)
        np.testing.assert_array_equal(onednn.matmul(left, right).numpy(), paddle.matmul(left, right).numpy())
        monkeypatch.setattr(_primitives.Primitive, "run", run)
        assert by_onednn(left, right) is None
        assert by_onednn(left[1:], right) is not None


def test_infinite_products_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_primitives, "_local", _primitives._Local())
    assert by_onednn(paddle.full([3, 4], np.inf), paddle.ones([4, 5])) is None
    assert by_onednn(paddle.ones([3, 4]), paddle.ones([4, 5])) is not None
    assert by_onednn(paddle.full([3, 4], np.inf), paddle.ones([4, 5])) is not None


def test_addresses_need_no_alignment() -> None:
    generator = np.random.default_rng(7)
    left, right = generator.normal(size=(33, 40)).astype("float32"), generator.normal(size=(40, 17)).astype("float32")
    for offset in range(1, 8):
        held = [np.zeros(each.size + 64, "float32") for each in (left, right)]
        views = []
        for store, values in zip(held, (left, right), strict=True):
            view = store[offset : offset + values.size].reshape(values.shape)
            view[:] = values
            views.append(paddle.utils.dlpack.from_dlpack(view))
        compare(by_onednn(*views), left, right, None)


def test_equal_inputs_give_equal_bits() -> None:
    for shape in ((688, 384, 1536), (384, 3000, 96), (5, 4000, 5), (1, 4096, 16)):
        left, right = paddle.rand([shape[0], shape[1]]), paddle.rand([shape[1], shape[2]])
        first = by_onednn(left, right).numpy()
        for _ in range(5):
            copies = paddle.to_tensor(left.numpy()), paddle.to_tensor(right.numpy())
            np.testing.assert_array_equal(by_onednn(*copies).numpy(), first)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (paddle.ones([0, 4]), paddle.ones([4, 3])),
        (paddle.ones([2, 0]), paddle.ones([0, 3])),
        (paddle.ones([2, 4], dtype="float64"), paddle.ones([4, 3], dtype="float64")),
        (paddle.ones([2, 3, 4]), paddle.ones([4, 3])),
        (paddle.ones([4]), paddle.ones([4, 3])),
        (paddle.ones([1, 3, 4]), paddle.ones([2, 4, 3])),
    ],
    ids=["no rows", "nothing between", "double", "a stack and a matrix", "a vector", "broadcast"],
)
def test_what_onednn_does_not_take_is_paddles(left: Any, right: Any) -> None:
    assert by_onednn(left, right) is None
    onednn.use_kernels(matmul="onednn", operators="onednn", reason="a test")
    np.testing.assert_array_equal(onednn.matmul(left, right).numpy(), paddle.matmul(left, right).numpy())


def test_shapes_that_do_not_go_together_are_refused_as_paddle_does() -> None:
    onednn.use_kernels(matmul="onednn", operators="onednn", reason="a test")
    with pytest.raises(ValueError, match=r"(?i)dimension|shape|width"):
        onednn.matmul(paddle.ones([2, 4]), paddle.ones([5, 3]))


def test_gradients_are_not_lost() -> None:
    onednn.use_kernels(matmul="onednn", operators="onednn", reason="a test")
    left = paddle.ones([2, 4])
    left.stop_gradient = False
    onednn.matmul(left, paddle.ones([4, 3])).sum().backward()
    np.testing.assert_array_equal(left.grad.numpy(), np.full((2, 4), 3, "float32"))


def test_a_failing_call_leaves_the_product_to_paddle(monkeypatch: pytest.MonkeyPatch) -> None:
    onednn.use_kernels(matmul="onednn", operators="onednn", reason="a test")
    left, right = paddle.rand([6, 4]), paddle.rand([4, 3])
    for name in ("run", "_refuse_slow"):
        with monkeypatch.context() as patch:

            def fail(*_: Any, name: str = name) -> bool:
                if name == "_refuse_slow":
                    raise HostError("out of memory")
                return False

            patch.setattr(_primitives.Primitive, name, fail)
            patch.setattr(_primitives, "_local", _primitives._Local())
            np.testing.assert_array_equal(onednn.matmul(left, right).numpy(), paddle.matmul(left, right).numpy())


def test_the_number_of_kept_primitives_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_primitives, "_KEPT", 4)
    monkeypatch.setattr(_primitives, "_local", _primitives._Local())
    right = np.random.default_rng(8).normal(size=(8, 5)).astype("float32")
    for rows in [*range(1, 9), 1, 8, 3]:
        left = np.random.default_rng(rows).normal(size=(rows, 8)).astype("float32")
        compare(by_onednn(paddle.to_tensor(left), paddle.to_tensor(right)), left, right, None)
    assert len(_primitives._local.cache._kept) == 4


def test_threads_multiply_side_by_side() -> None:
    generator = np.random.default_rng(9)
    left, right = generator.normal(size=(64, 96)).astype("float32"), generator.normal(size=(96, 80)).astype("float32")
    expected = by_onednn(paddle.to_tensor(left), paddle.to_tensor(right)).numpy()
    wrong = []

    def work(factor: float) -> None:
        tensors = paddle.to_tensor(left * np.float32(factor)), paddle.to_tensor(right)
        for _ in range(200):
            found = by_onednn(*tensors).numpy()
            if not np.array_equal(found, expected * np.float32(factor)):
                wrong.append(factor)

    threads = [threading.Thread(target=work, args=(2.0**power,)) for power in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
