"""What is broken or slow in an environment, each finding with its exact mend."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator

from paddlenlp_embtune import host

__all__ = ["Finding", "examine"]

_CPU_EXTRA = 'pip install "paddlenlp-embtune[cpu]"'


@dataclasses.dataclass(frozen=True)
class Finding:
    """One finding.

    Args:
        name: the package or the matter.
        state: ``ok``, ``note`` (works, but) or ``broken``.
        what: what was found.
        mend: the command or the change that mends it; empty where nothing needs mending.
    """

    name: str
    state: str
    what: str
    mend: str = ""


def examine() -> list[Finding]:
    """Look at the packages, at the imports that break most often, and at the mathematics of this processor."""
    return [*_packages(), *_pairs(), *_imports(), *_processor()]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    paddle = _version("paddlepaddle") or _version("paddlepaddle-gpu")
    runtime = _version("onnxruntime") or _version("onnxruntime-gpu")
    wanted = {"paddle": paddle, "paddlenlp": _version("paddlenlp"), "paddle2onnx": _version("paddle2onnx")}
    for name, version in wanted.items():
        if version is None:
            yield Finding(name, "note", "not installed; serving works without it, training and export do not", _CPU_EXTRA)
        else:
            yield Finding(name, "ok", version)
    if runtime is None:
        mend = 'pip install "paddlenlp-embtune[serve]"'
        yield Finding("onnxruntime", "broken", "not installed; the default engine cannot run", mend)
    else:
        yield Finding("onnxruntime", "ok", runtime)


def _pairs() -> Iterator[Finding]:
    """Pairs of packages that break each other."""
    if _version("paddlepaddle") and _version("paddlepaddle-gpu"):
        what = "paddlepaddle and paddlepaddle-gpu are both installed and overwrite each other's files"
        yield Finding("paddle", "broken", what, "pip uninstall -y paddlepaddle paddlepaddle-gpu, then install one of them")
    if _version("onnxruntime") and _version("onnxruntime-gpu"):
        what = "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files"
        yield Finding("onnxruntime", "broken", what, "pip uninstall -y onnxruntime onnxruntime-gpu, then install one of them")
    aistudio = _version("aistudio-sdk")
    if aistudio is not None and _version("paddlenlp") and _at_least(aistudio, (0, 3)):
        what = (
            f"aistudio-sdk {aistudio} lost what `import paddlenlp` needs; paddlenlp_embtune supplies it when it is imported "
            "first, a script that imports paddlenlp first fails"
        )
        mend = 'import paddlenlp_embtune before paddlenlp; or, if paddleocr does not need it: pip install "aistudio-sdk<0.3"'
        yield Finding("aistudio-sdk", "note", what, mend)


def _imports() -> Iterator[Finding]:
    """Import in a child process, as a crash must not end the examination."""
    checks = {"numpy": "import numpy", "onnxruntime": "import onnxruntime"}
    if _version("paddlepaddle") or _version("paddlepaddle-gpu"):
        checks["paddle"] = "import paddle"
        if _version("paddlenlp"):
            checks["paddlenlp"] = "import paddlenlp_embtune, paddlenlp, paddlenlp.trainer"
        if _version("paddle2onnx"):
            checks["paddle2onnx"] = "import paddle2onnx"
    for name, code in checks.items():
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
            yield Finding(name, "broken", f"`{code}` fails: {lines[-1].strip()}", _mend(done.stderr))


def _mend(error: str) -> str:
    known = {
        "aistudio_sdk": 'pip install "aistudio-sdk<0.3"',
        "pyarrow": 'pip install "pyarrow<21"',
        "numpy.core.multiarray": 'pip install "numpy<2" "pyarrow<21"',
        "huggingface_hub": 'pip install "huggingface_hub<1"',
        "libgomp": "install the system's libgomp1 package",
    }
    return next((mend for sign, mend in known.items() if sign in error), f"{_CPU_EXTRA} in a fresh environment")


def _processor() -> Iterator[Finding]:
    setup = host.cpu_setup()
    if setup.avx2_path:
        yield Finding("processor", "ok", f"{setup.vendor or 'unknown vendor'}, {setup.threads} mathematics threads here")
    else:
        what = "Paddle's MKL takes its slow path on this AMD processor, up to 4 times slower"
        mend = "call paddlenlp_embtune.prepare_cpu() before paddle is imported, or export MKL_DEBUG_CPU_TYPE=5"
        yield Finding("processor", "note", what, mend)
    processors = os.cpu_count() or 1
    if processors > 1 and setup.threads == 1:
        mend = "call paddlenlp_embtune.prepare_cpu(), or export OMP_NUM_THREADS"
        yield Finding("threads", "note", f"one mathematics thread on {processors} processors", mend)


def _at_least(version: str, wanted: tuple[int, int]) -> bool:
    parts = version.split(".")[:2]
    return all(part.isdigit() for part in parts) and tuple(map(int, parts)) >= wanted
