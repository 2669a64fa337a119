"""Which kernel is selected: by the variable, by the processor, by a measurement, and where oneDNN cannot be used."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.compat import diagnostics, onednn
from paddlenlp_embtune.compat.onednn import _library, _trial, selection
from paddlenlp_embtune.errors import HostError
from tests.helpers import python

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The library as if nobody had looked for it."""
    found = _library._find.__wrapped__
    monkeypatch.setattr(_library, "_find", found)
    return monkeypatch


def test_until_a_kernel_is_selected_it_is_paddles() -> None:
    assert not selection.multiplies()
    assert not selection.runs_operators()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_without_the_variable_the_operators_are_onednns_and_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, usable: None, threads: str
) -> None:
    monkeypatch.delenv("EMBTUNE_KERNELS")
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(_trial, "run", lambda: pytest.fail("measured"))
    kernels = onednn.cpu_kernels()
    assert (kernels.matmul, kernels.operators) == ("paddle", "onednn")
    assert kernels.reason.startswith("EMBTUNE_KERNELS is not set")


def test_without_the_variable_and_the_library_all_is_paddles(fresh: pytest.MonkeyPatch) -> None:
    fresh.delenv("EMBTUNE_KERNELS")
    fresh.setenv("OMP_NUM_THREADS", "1")
    fresh.setattr(_library, "_find", lambda: "it is not here")
    assert onednn.cpu_kernels() == onednn.CpuKernels("paddle", "paddle", "oneDNN cannot be used: it is not here")


@pytest.mark.parametrize("name", ["onednn", "paddle"])
def test_the_variable_decides(monkeypatch: pytest.MonkeyPatch, usable: None, name: str) -> None:
    monkeypatch.setenv("EMBTUNE_KERNELS", name)
    assert onednn.cpu_kernels() == onednn.CpuKernels(name, name, "EMBTUNE_KERNELS says so")
    other = {"onednn": "paddle", "paddle": "onednn"}[name]
    assert onednn.use_kernels(matmul=other, operators=other, reason="a checkpoint").matmul == name


def test_another_value_of_the_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBTUNE_KERNELS", "mkl")
    with pytest.raises(HostError, match=r"EMBTUNE_KERNELS must be auto, onednn or paddle, got 'mkl'"):
        onednn.cpu_kernels()


def test_a_measurement_names_both_speeds_and_is_made_once(usable: None) -> None:
    kernel = onednn.cpu_kernels()
    assert set(kernel.gflops) == {"onednn", "paddle"}
    assert onednn.cpu_kernels() is kernel


@pytest.mark.parametrize(
    ("ratios", "expected", "wins"),
    [
        ([1.0] * 15, True, True),
        ([0.9, 2.5, 3.0] * 5, False, False),
        ([2.0] * 13 + [0.5, 0.5], False, True),
        ([0.5] * 15, True, False),
        ([0.5, 0.6, 3.0] * 5, True, True),
    ],
)
def test_the_processor_decides_unless_a_measurement_is_clear(ratios: list[float], expected: bool, wins: bool) -> None:
    trial = _trial._decide(ratios, expected=expected, gflops={})
    assert trial.onednn_wins is wins
    assert trial.reason


def without_file(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_library, "require_paddle", lambda: type("Paddle", (), {"__file__": "/nowhere/paddle/__init__.py"}))


def other_version(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_library, "_MAJOR", 4)


def without_symbol(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(_library._SIGNATURES, "dnnl_no_such_function", ())


def other_machine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_library.platform, "machine", lambda: "aarch64")


def old_processor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_library, "_AVX2", 1 << 30)


def unloadable(patch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> Any:
        raise OSError("no memory")

    patch.setattr(ctypes, "CDLL", refuse)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (without_file, "ships no libdnnl"),
        (other_version, r"is version 3\.\d+\.\d+, expected 4"),
        (without_symbol, r"lacks a function.*dnnl_no_such_function"),
        (other_machine, "processor is aarch64"),
        (old_processor, "no AVX2"),
        (unloadable, r"does not load \(no memory\)"),
    ],
)
def test_where_the_library_cannot_be_used_paddle_multiplies_and_the_reason_is_kept(
    fresh: pytest.MonkeyPatch, usable: None, caplog: pytest.LogCaptureFixture, damage: Any, reason: str
) -> None:
    damage(fresh)
    kernel = onednn.cpu_kernels()
    assert (kernel.matmul, kernel.operators) == ("paddle", "paddle")
    with pytest.raises(HostError, match=reason):
        _library.load_library()
    assert kernel.reason.startswith("oneDNN cannot be used: ")
    assert onednn.use_kernels(matmul="onednn", operators="onednn", reason="a checkpoint").matmul == "paddle"
    assert "cannot be used here, though a checkpoint" in caplog.text
    np.testing.assert_array_equal(onednn.matmul(paddle.ones([2, 3]), paddle.ones([3, 2])).numpy(), np.full((2, 2), 3.0))
    fresh.setenv("EMBTUNE_KERNELS", "onednn")
    with pytest.raises(HostError, match="unset the variable"):
        onednn.use_kernels(matmul="paddle", operators="paddle", reason="a test")


def test_wrong_products_are_found_before_they_are_used(monkeypatch: pytest.MonkeyPatch, usable: None) -> None:
    multiply = _trial.onednn_matmul
    monkeypatch.setattr(_trial, "onednn_matmul", lambda *given, **options: multiply(*given, **options) * 1.001)
    kernel = onednn.cpu_kernels()
    assert (kernel.matmul, kernel.reason) == (
        "paddle",
        "oneDNN cannot be used: its products are wrong on this processor",
    )


@pytest.mark.parametrize(
    ("value", "state", "what"),
    [
        ("paddle", "ok", "by paddle (EMBTUNE_KERNELS says so)"),
        ("mkl", "broken", "EMBTUNE_KERNELS must be auto, onednn or paddle"),
    ],
)
def test_the_doctor_says_what_multiplies(monkeypatch: pytest.MonkeyPatch, value: str, state: str, what: str) -> None:
    monkeypatch.setenv("EMBTUNE_KERNELS", value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    finding, *others = diagnostics._kernels()
    assert (finding.name, finding.state) == ("kernels", state)
    assert what in finding.what
    assert bool(finding.fix) is (state == "broken")
    assert [(other.name, other.state) for other in others] == [("precision", "ok")] * (state == "ok")
    assert all("takes fp32: EMBTUNE_KERNELS says so; no bf16: EMBTUNE_KERNELS is paddle" in other.what for other in others)


FORKED = """
import os, signal, sys
import paddlenlp_embtune
paddlenlp_embtune.prepare_cpu(threads=2)
import numpy, paddle
from paddlenlp_embtune.compat import onednn
left, right = paddle.rand([300, 200]), paddle.rand([200, 100])
onednn.use_kernels(matmul="onednn", operators="onednn", reason="a test")
before = onednn.matmul(left, right).numpy()
child = os.fork()
if not child:
    signal.alarm(200)
    after = onednn.matmul(left, right).numpy()
    numpy.testing.assert_allclose(after, before, rtol=1e-5)
    numpy.testing.assert_array_equal(after, paddle.matmul(left, right).numpy())
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
numpy.testing.assert_array_equal(onednn.matmul(left, right).numpy(), before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_multiplies_by_paddle(usable: None) -> None:
    # scikit-learn sets the variable to FALSE when it is imported, and MKL's products in a forked process hang with that.
    done = python("-W", "ignore", "-c", FORKED, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "KMP_INIT_AT_FORK": "TRUE"})
    assert done.returncode == 0, done.stderr[-2000:]


LIMITED = """
import paddlenlp_embtune
paddlenlp_embtune.prepare_cpu(threads={threads})
import numpy, paddle
from paddlenlp_embtune.compat import onednn
onednn.use_kernels(matmul="onednn", operators="onednn", reason="a test")
for rows, inner, columns in ((688, 384, 96), (3, 4000, 5), (1, 70, 1), (129, 65, 257)):
    left, right = paddle.rand([rows, inner]), paddle.rand([inner, columns])
    wide = left.numpy().astype("float64") @ right.numpy().astype("float64")
    numpy.testing.assert_allclose(onednn.matmul(left, right).numpy(), wide, rtol=1e-5)
"""


@pytest.mark.parametrize(
    ("threads", "variables"),
    [
        (1, {}),
        (7, {}),
        (4, {"OMP_THREAD_LIMIT": "2"}),
        (4, {"OMP_DYNAMIC": "true"}),
        (2, {"ONEDNN_DEFAULT_FPMATH_MODE": "ANY"}),
        (2, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ],
    ids=["one", "more than processors", "limited", "dynamic", "lower precision as a default", "AVX2"],
)
def test_products_are_right_with_any_threads_and_settings(usable: None, threads: int, variables: dict[str, str]) -> None:
    code = LIMITED.format(threads=threads)
    done = python("-W", "ignore", "-c", code, cwd=ROOT, env={"PYTHONPATH": str(ROOT), **variables})
    assert done.returncode == 0, done.stderr[-2000:]
