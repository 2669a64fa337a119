"""Products of bfloat16 factors against double precision, rounding, and which precision is selected."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.compat import functional, onednn
from paddlenlp_embtune.compat.onednn import _library, _primitives, _trial, selection
from paddlenlp_embtune.compat.onednn._tensors import onednn_matmul, onednn_rounding
from paddlenlp_embtune.errors import HostError
from tests.compat.onednn.factors import LAYOUTS, UNIT, fuzzed, turned
from tests.helpers import python

pytestmark = pytest.mark.usefixtures("multiplies_bf16")

ROOT = Path(__file__).parents[3]
ROUNDED, SMALLEST = 2.0**-8, 2.0**-126


def by_onednn(left: Any, right: Any, transpose_x: bool = False, transpose_y: bool = False, bias: Any | None = None) -> Any:
    """The product of rounded factors, and that oneDNN has done it."""
    rounded = onednn_rounding(left), onednn_rounding(right)
    assert None not in rounded
    found = onednn_matmul(*rounded, transpose_x=transpose_x, transpose_y=transpose_y, bias=bias)
    assert found is not None
    assert found.dtype == paddle.float32
    return found.numpy()


def compare(found: np.ndarray, left: np.ndarray, right: np.ndarray, bias: np.ndarray | None = None) -> None:
    """Each factor is off by one rounding at most, sums as in float32 (Higham 2002, sections 2.2 and 3.5)."""
    wide = left.astype("float64"), right.astype("float64")
    added = 0 if bias is None else bias.astype("float64")
    terms = np.abs(wide[0]) @ np.abs(wide[1])
    inner = left.shape[-1] + 2
    bound = ((1 + ROUNDED) ** 2 - 1) * terms + 1.1 * inner * UNIT * (terms * (1 + ROUNDED) ** 2 + np.abs(added))
    lost = SMALLEST * inner * (1 + np.abs(wide[0]).max() + np.abs(wide[1]).max())  # denormals may be taken for zero
    assert (np.abs(found - (wide[0] @ wide[1] + added)) <= bound + lost).all()


@pytest.mark.parametrize("seed", range(40))
def test_fuzzed_shapes_agree_with_double_precision(seed: int) -> None:
    given = fuzzed(seed)
    found = by_onednn(*given.tensors(), *given.transposed, bias=given.bias_tensor())
    compare(found, given.left, given.right, given.bias)


@pytest.mark.parametrize("transposed", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 2, 15, 17, 688, 3000])
def test_counts_of_rows_and_odd_widths(rows: int, transposed: tuple[bool, bool]) -> None:
    generator = np.random.default_rng(rows)
    for inner, columns in ((1, 1), (2, 3), (127, 65)):
        left, right = generator.normal(size=(rows, inner)), generator.normal(size=(inner, columns))
        left, right = left.astype("float32"), right.astype("float32")
        compare(by_onednn(turned(left, transposed[0]), turned(right, transposed[1]), *transposed), left, right)


def test_stacks_of_matrices() -> None:
    generator = np.random.default_rng(3)
    left = generator.normal(size=(3, 5, 43, 31)).astype("float32")
    right = generator.normal(size=(3, 5, 31, 43)).astype("float32")
    compare(by_onednn(paddle.to_tensor(left), turned(right, True), transpose_y=True), left, right)


def test_nan_and_infinity_reach_what_they_reach_in_float32() -> None:
    generator = np.random.default_rng(4)
    left, right = generator.normal(size=(35, 67)).astype("float32"), generator.normal(size=(67, 33)).astype("float32")
    by_onednn(paddle.to_tensor(left), paddle.to_tensor(right))  # the first one proves the shape
    left[2, 66], left[34, 0], left[7, 7] = np.nan, np.inf, -np.inf
    right[7, 3] = 0  # infinity times zero
    found = by_onednn(paddle.to_tensor(left), paddle.to_tensor(right))
    with np.errstate(all="ignore"):
        expected = left @ right
    for test in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(test(found), test(expected))
    large = paddle.full([35, 67], 1e30), paddle.full([67, 33], 1e30)
    assert np.isposinf(by_onednn(*large)).all()


def test_rounding_is_to_the_nearest_and_to_even() -> None:
    one, step = 1.0, 2.0**-7
    values = [one + step / 2, one + 1.5 * step, one + 0.51 * step, -one - step / 2, 0.0, -0.0, 3e38, np.inf, -np.inf]
    expected = [one, one + 2 * step, one + step, -one, 0.0, -0.0, None, np.inf, -np.inf]
    padded = np.zeros(64, "float32")
    onednn.to_bfloat16(paddle.to_tensor(padded))  # the first one proves the size
    padded[: len(values)] = values
    padded[60:] = np.nan
    found = onednn.to_bfloat16(paddle.to_tensor(padded)).astype("float32").numpy()
    for value, wanted, given in zip(found, expected, values, strict=False):
        assert value == (wanted if wanted is not None else pytest.approx(given, rel=ROUNDED))
        assert np.signbit(value) == np.signbit(given)
    assert np.isnan(found[60:]).all()


def test_what_is_rounded_already_is_not_copied() -> None:
    once = onednn.to_bfloat16(paddle.rand([3, 4]))
    assert onednn.to_bfloat16(once) is once


def test_views_are_rounded_as_they_stand() -> None:
    values = np.random.default_rng(5).normal(size=(60, 50)).astype("float32")
    tensor = paddle.to_tensor(values)
    views: list[Callable[[Any], Any]] = [lambda x: x.T, lambda x: x[::2, ::3], lambda x: x[:, 7:8], lambda x: x[3:4]]
    for view in views:
        found = onednn.to_bfloat16(view(tensor)).astype("float32").numpy()
        np.testing.assert_allclose(found, view(values), rtol=ROUNDED)


def test_equal_inputs_give_equal_bits() -> None:
    for shape in ((688, 384, 1536), (384, 3000, 96), (1, 4096, 16)):
        left, right = paddle.rand([shape[0], shape[1]]), paddle.rand([shape[1], shape[2]])
        first = by_onednn(left, right)
        for _ in range(3):
            np.testing.assert_array_equal(by_onednn(paddle.to_tensor(left.numpy()), paddle.to_tensor(right.numpy())), first)


@pytest.mark.parametrize("shapes", [([0, 4], [4, 3]), ([2, 0], [0, 3])], ids=["no rows", "nothing between"])
def test_empty_factors_are_paddles(shapes: tuple[list[int], list[int]]) -> None:
    left, right = (onednn.to_bfloat16(paddle.ones(shape)) for shape in shapes)
    found = onednn.matmul(left, right)
    assert (found.shape, found.dtype) == ([shapes[0][0], 3], paddle.float32)
    assert not found.numpy().any()


def test_where_onednn_fails_paddle_multiplies_the_same_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, bias = paddle.rand([9, 40]), paddle.rand([40, 30]), paddle.rand([30])
    expected = onednn.matmul(onednn.to_bfloat16(left), onednn.to_bfloat16(right), bias=bias).numpy()
    run = _primitives.Primitive.run
    wrongs: list[Callable[..., bool]] = [
        lambda self, *addresses: False,
        lambda self, *addresses: True,  # nothing is written
        lambda self, *addresses: run(self, *addresses) and bool(ctypes.memset(addresses[min(2, len(addresses) - 1)], 0, 40)),
    ]
    for wrong in wrongs:
        with monkeypatch.context() as patch:
            patch.setattr(_primitives, "_local", _primitives._Local())
            patch.setattr(_primitives.Primitive, "run", wrong)
            found = onednn.matmul(onednn.to_bfloat16(left), onednn.to_bfloat16(right), bias=bias).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_linear_layer_has_the_gradients_of_its_rounded_factors() -> None:
    hidden, weight, bias = paddle.randn([3, 7, 40]), paddle.randn([40, 24]), paddle.randn([24])
    for tensor in (hidden, weight, bias):
        tensor.stop_gradient = False
    arrived = paddle.randn([3, 7, 24])
    out = functional.linear(hidden, weight, bias, bf16=True)
    (out * arrived).sum().backward()
    rows, gradient = hidden.numpy().reshape(-1, 40), arrived.numpy().reshape(-1, 24)
    compare(out.numpy().reshape(-1, 24), rows, weight.numpy(), bias.numpy())
    compare(hidden.grad.numpy().reshape(-1, 40), gradient, weight.numpy().T)
    compare(weight.grad.numpy(), rows.T, gradient)
    np.testing.assert_allclose(bias.grad.numpy(), gradient.sum(axis=0), rtol=1e-5, atol=1e-5)
    assert all(tensor.grad.dtype == paddle.float32 for tensor in (hidden, weight, bias))


def test_a_tied_product_has_the_gradients_of_its_rounded_factors() -> None:
    hidden, table, bias = paddle.randn([9, 40]), paddle.randn([70, 40]), paddle.randn([70])
    for tensor in (hidden, table, bias):
        tensor.stop_gradient = False
    arrived = paddle.randn([9, 70])
    out = functional.tied_linear(hidden, table, bias)
    (out * arrived).sum().backward()
    compare(out.numpy(), hidden.numpy(), table.numpy().T, bias.numpy())
    compare(hidden.grad.numpy(), arrived.numpy(), table.numpy())
    compare(table.grad.numpy(), arrived.numpy().T, hidden.numpy())
    np.testing.assert_allclose(bias.grad.numpy(), arrived.numpy().sum(axis=0), rtol=1e-5, atol=1e-5)


def test_a_weight_that_anybody_changes_in_place_is_seen_and_gradients_are_those_of_the_forward_pass() -> None:
    hidden, weight = paddle.ones([4, 8]), paddle.ones([8, 3])
    hidden.stop_gradient = weight.stop_gradient = False
    changes: list[Callable[[], object]] = [
        lambda: weight.set_value(np.full((8, 3), 2, "float32")),
        lambda: weight.detach().scale_(2.0),
        lambda: np.from_dlpack(weight.detach()).__setitem__(slice(None), 3) or None,
    ]
    for change in changes:
        before = float(weight[0, 0])
        out = functional.linear(hidden, weight, None, bf16=True)
        with paddle.no_grad():
            try:
                change()
            except ValueError:  # numpy may not write there
                weight.set_value(np.full((8, 3), 3, "float32"))
        assert float(out[0, 0]) == 8 * before
        out.sum().backward()
        assert float(hidden.grad[0, 0]) == 3 * before
        hidden.clear_gradient()
        assert float(functional.linear(hidden, weight, None, bf16=True)[0, 0]) == 8 * float(weight[0, 0]) != 8 * before


# Which precision is selected


def test_bf16_selects_onednn_for_all_and_says_what_was_measured() -> None:
    kernels = onednn.use_precision("bf16")
    assert (kernels.matmul, kernels.operators, kernels.precision) == ("onednn", "onednn", "bf16")
    assert set(kernels.gflops) == {"onednn", "paddle", "onednn_bf16"}
    assert "times the speed of float32" in kernels.reason


def test_fp32_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBTUNE_KERNELS")
    monkeypatch.setattr(_trial, "check_bf16", lambda: pytest.fail("tried"))
    assert onednn.use_precision("fp32") == onednn.CpuKernels("paddle", "onednn", "EMBTUNE_KERNELS is not set")


@pytest.mark.parametrize(("speedup", "precision"), [(1.2, "fp32"), (1.4, "bf16")])
def test_auto_takes_bf16_where_it_is_clearly_faster(monkeypatch: pytest.MonkeyPatch, speedup: float, precision: str) -> None:
    monkeypatch.setattr(_trial, "compare_precisions", lambda: _trial.PrecisionTrial(speedup, {}))
    kernels = onednn.use_precision("auto")
    assert kernels.precision == precision
    assert f"{speedup} times" in kernels.reason


def without_bf16(patch: pytest.MonkeyPatch) -> None:
    library = dataclasses.replace(_library.load_library(), bf16=False, features=("AVX2", "AVX-512"))
    patch.setattr(_trial, "load_library", lambda: library)


def forked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_library, "_unusable", "this process was forked from another one")


def wrong(patch: pytest.MonkeyPatch) -> None:
    multiply = _trial.onednn_matmul
    patch.setattr(_trial, "onednn_matmul", lambda *given, **options: multiply(*given, **options) * 1.001)


def by_paddle(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("EMBTUNE_KERNELS", "paddle")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (without_bf16, "the processor does not multiply bfloat16, expected AVX512_BF16 or AMX, it has AVX2, AVX-512"),
        (forked, "this process was forked"),
        (wrong, "products of bfloat16 are wrong"),
        (by_paddle, "EMBTUNE_KERNELS is paddle"),
    ],
)
def test_where_bf16_cannot_be_had_it_is_refused_and_auto_takes_fp32(
    monkeypatch: pytest.MonkeyPatch, damage: Callable[[pytest.MonkeyPatch], None], reason: str
) -> None:
    onednn.use_kernels(matmul="paddle", operators="paddle", reason="a test")
    damage(monkeypatch)
    with pytest.raises(HostError, match=reason):
        onednn.use_precision("bf16")
    kernels = onednn.use_precision("auto")
    assert (kernels.matmul, kernels.precision) == ("paddle", "fp32")
    assert reason in kernels.reason


def test_a_checkpoint_of_bf16_is_continued_in_fp32_with_a_warning_where_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"matmul": "onednn", "operators": "onednn", "precision": "bf16", "reason": "a checkpoint"}
    assert onednn.use_kernels(**asked).precision == "bf16"
    without_bf16(monkeypatch)
    assert onednn.use_kernels(**asked).precision == "fp32"
    assert "though a checkpoint" in caplog.text
    assert "round differently" in caplog.text


def test_kernels_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = onednn.cpu_kernels()
    onednn.use_precision("bf16")
    onednn.restore_kernels(before)
    assert onednn.cpu_kernels() is before
    assert selection._chosen is before


LIMITED = """
import paddlenlp_embtune
paddlenlp_embtune.prepare_cpu(threads={threads})
import numpy, paddle
from paddlenlp_embtune.compat import onednn
from paddlenlp_embtune.errors import HostError
try:
    onednn.require_bf16()
except HostError as error:
    assert "AVX512_BF16 or AMX" in str(error), error
    print("refused")
for rows, inner, columns in ((688, 384, 96), (3, 4000, 5), (1, 70, 1), (129, 65, 257)):
    left, right = onednn.to_bfloat16(paddle.rand([rows, inner])), onednn.to_bfloat16(paddle.rand([inner, columns]))
    wide = [each.astype("float64").numpy() for each in (left, right)]
    numpy.testing.assert_allclose(onednn.matmul(left, right).numpy(), wide[0] @ wide[1], rtol=2e-5)
"""


@pytest.mark.parametrize(
    ("threads", "isa", "refused"),
    [
        (2, "AVX512_CORE_BF16", False),
        pytest.param(2, "DEFAULT", False, marks=pytest.mark.slow),
        pytest.param(1, "AVX512_CORE", True, marks=pytest.mark.slow),
        pytest.param(1, "AVX2", True, marks=pytest.mark.slow),
    ],
)
def test_products_are_right_with_any_threads_and_on_lesser_processors(threads: int, isa: str, refused: bool) -> None:
    environment = {"PYTHONPATH": str(ROOT), "ONEDNN_MAX_CPU_ISA": isa}
    done = python("-W", "ignore", "-c", LIMITED.format(threads=threads), cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ("refused" in done.stdout) is refused
