"""Devices: what is asked for and absent is named, what is there is used, and what fails to start is told."""

from __future__ import annotations

import logging
from typing import Any

import onnxruntime
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import DataError, HostError, MissingDependencyError
from paddlenlp_embtune.inference import Predictor

GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Build:
    """An onnxruntime that offers CUDA: what its sessions were asked for, and whether the driver works."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.works = True


@pytest.fixture
def gpu_build(monkeypatch: pytest.MonkeyPatch) -> Build:
    build, real = Build(), onnxruntime.InferenceSession

    class Session:
        def __init__(self, path: str, options: Any, *, providers: list[str]) -> None:
            build.asked.append(providers)
            self._session = real(path, options, providers=[CPU])

        def get_providers(self) -> list[str]:
            return build.asked[-1] if build.works else [CPU]

        def run(self, *arguments: Any) -> Any:
            return self._session.run(*arguments)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [GPU, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return build


def test_a_gpu_that_is_absent_is_named_with_what_there_is(bundle: Bundle) -> None:
    with pytest.raises(
        MissingDependencyError, match=r"has the providers .*CPUExecutionProvider.* install onnxruntime-gpu in place"
    ):
        Predictor(bundle, device="gpu")


def test_a_gpu_is_used_where_there_is_one(bundle: Bundle, gpu_build: Build) -> None:
    for device in ("auto", "gpu", "cpu"):
        assert Predictor(bundle, device=device).predict(["利好"])[0]["label"] in bundle.manifest.labels
    assert gpu_build.asked == [[GPU, CPU], [GPU, CPU], [CPU]]


def test_a_gpu_that_does_not_start_is_an_error_if_it_was_asked_for(
    bundle: Bundle, gpu_build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    gpu_build.works = False
    with pytest.raises(HostError, match=f"offers {GPU} but runs on {CPU}"):
        Predictor(bundle, device="gpu")
    with caplog.at_level(logging.WARNING):
        assert Predictor(bundle).predict(["利好"])[0]["label"] in bundle.manifest.labels
    assert f"offers {GPU} but runs on {CPU}" in caplog.text


@pytest.mark.parametrize("engine", ["paddle_inference", "paddle"])
def test_engines_that_know_no_gpu_and_no_int8_say_so(bundle: Bundle, engine: str) -> None:
    with pytest.raises(DataError, match=f"device is 'gpu', but the engine '{engine}' runs on the CPU only"):
        Predictor(bundle, engine=engine, device="gpu")
    with pytest.raises(DataError, match="precision is 'int8', but"):
        Predictor(bundle, engine=engine, precision="int8")


def test_an_unknown_device_is_refused(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="device is 'tpu'; expected auto, cpu, gpu"):
        Predictor(bundle, device="tpu")
