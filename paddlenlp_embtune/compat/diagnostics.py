"""Find what is broken or slow in an environment, each with its exact fix."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat.onednn import KERNELS_VARIABLE

__all__ = ["Finding", "examine"]

_STARTUP = "paddlenlp_embtune_startup"
_CPU_EXTRA = 'pip install "paddlenlp-embtune[cpu]"'


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found about one package or setting.

    Args:
        name: the package or the setting.
        state: ``ok``, ``note`` (works, but) or ``broken``.
        what: what was found.
        fix: the command or the change that fixes it; empty where nothing needs fixing.
    """

    name: str
    state: str
    what: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at the packages, at the imports that break most often, and at the mathematics of this processor."""
    return [*_packages(), *_pairs(), *_imports(), *_processor(), *_kernels()]


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
        fix = 'pip install "paddlenlp-embtune[serve]"'
        yield Finding("onnxruntime", "broken", "not installed; the default engine cannot run", fix)
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
    if _version("paddlenlp") is not None:
        yield from _beside_paddlenlp()


def _beside_paddlenlp() -> Iterator[Finding]:
    """What ``import paddlenlp`` needs and does not always find."""
    if importlib.util.find_spec("pip") is None:
        what = "not installed, and `import paddlenlp` imports it; environments that uv makes come without"
        yield Finding("pip", "broken", what, "uv pip install pip, or: python -m ensurepip")
    aistudio = _version("aistudio-sdk")
    if aistudio is not None and _at_least(aistudio, (0, 3)):
        if _STARTUP in sys.modules:
            yield Finding("aistudio-sdk", "ok", f"{aistudio}, what `import paddlenlp` needs of it is supplied")
        else:
            what = (
                f"aistudio-sdk {aistudio} lost what `import paddlenlp` needs; paddlenlp_embtune supplies it if imported "
                "first, a script that imports paddlenlp first fails: the start-up file paddlenlp_embtune.pth is not there, as "
                "in an editable install, or was not read"
            )
            fix = (
                "install without -e: pip install --force-reinstall --no-deps paddlenlp-embtune (from a clone: .), or import "
                'paddlenlp_embtune before paddlenlp; or, if paddleocr does not need it: pip install "aistudio-sdk<0.3"'
            )
            yield Finding("aistudio-sdk", "note", what, fix)
    arrow, numpy = _version("pyarrow"), _version("numpy")
    if arrow is not None and numpy is not None and _at_least(arrow, (21, 0)) and not _at_least(numpy, (2, 0)):
        what = f"pyarrow {arrow} refuses numpy {numpy}, which paddlenlp needs below 2"
        yield Finding("pyarrow", "broken", what, 'pip install "pyarrow<21"')
    if numpy is not None and _at_least(numpy, (2, 0)):
        yield Finding("numpy", "note", f"{numpy}; paddlenlp is made for numpy 1", 'pip install "numpy<2" "pyarrow<21"')
    if _version("visualdl") is not None:
        yield from _visualdl()


def _visualdl() -> Iterator[Finding]:
    """Whether a Trainer can report to VisualDL: it writes its arguments there first, booleans among them."""
    code = "from visualdl.component.base_component import hparam; hparam('', {'flag': True}, [], 0)"
    if (error := _failure(code)) is None:
        return
    versions = f"{_version('visualdl')} with protobuf {_version('protobuf')}"
    if "boolean" in error:
        what = (
            f"{versions} refuses true and false, so a Trainer that reports to VisualDL ends before its first step; "
            "paddlenlp_embtune corrects that once it is imported, a script without it fails"
        )
        yield Finding("visualdl", "note", what, 'import paddlenlp_embtune in the script; or: pip install "protobuf<7"')
    else:
        what = f"{versions}: {_last_line(error)}"
        yield Finding("visualdl", "note", what, 'pip install "protobuf<7", or train without report_to="visualdl"')


def _imports() -> Iterator[Finding]:
    """Import in a child process, as a crash must not end the examination."""
    checks = {"numpy": "import numpy", "onnxruntime": "import onnxruntime"}
    if _version("paddlepaddle") or _version("paddlepaddle-gpu"):
        checks["paddle"] = "import paddle"
        if _version("paddlenlp"):
            first = "" if _STARTUP in sys.modules else "paddlenlp_embtune, "
            checks["paddlenlp"] = f"import {first}paddlenlp, {compat.HOSTS['paddlenlp']}"
        if _version("paddle2onnx"):
            checks["paddle2onnx"] = "import paddle2onnx"
    for name, code in checks.items():
        if (error := _failure(code)) is not None:
            yield Finding(name, "broken", f"`{code}` fails: {_last_line(error)}", _fix_for(error))


def _failure(code: str) -> str | None:
    """Run code in a child process; return what it says about its error, None if there is none."""
    done = _run(code)
    return None if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)


def _last_line(error: str) -> str:
    return error.splitlines()[-1].strip()


def _fix_for(error: str) -> str:
    known = {
        "No module named 'pip'": "uv pip install pip, or: python -m ensurepip",
        "filelock": "pip install filelock",
        "protobuf": 'pip install "protobuf<7"',
        "aistudio_sdk": 'pip install "aistudio-sdk<0.3"',
        "pyarrow": 'pip install "pyarrow<21"',
        "numpy.core.multiarray": 'pip install "numpy<2" "pyarrow<21"',
        "huggingface_hub": 'pip install "huggingface_hub<1"',
        "libgomp": "install the system's libgomp1 package",
    }
    return next((fix for sign, fix in known.items() if sign in error), f"{_CPU_EXTRA} in a fresh environment")


def _processor() -> Iterator[Finding]:
    setup = compat.cpu_setup()
    if setup.avx2_path:
        yield Finding("processor", "ok", f"{setup.vendor or 'unknown vendor'}, {setup.threads} CPU threads here")
    else:
        what = "Paddle's MKL takes its slow path on this AMD processor, up to 4 times slower"
        fix = "call paddlenlp_embtune.prepare_cpu() before paddle is imported, or export MKL_DEBUG_CPU_TYPE=5"
        yield Finding("processor", "note", what, fix)
    processors = os.cpu_count() or 1
    if processors > 1 and setup.threads == 1:
        fix = "call paddlenlp_embtune.prepare_cpu(), or export OMP_NUM_THREADS"
        yield Finding("threads", "note", f"one CPU thread on {processors} processors", fix)


def _kernels() -> Iterator[Finding]:
    """What will compute training steps, tried and timed in a child process."""
    if not (_version("paddlepaddle") or _version("paddlepaddle-gpu")):
        return
    code = (
        "import dataclasses, json, paddlenlp_embtune; paddlenlp_embtune.prepare_cpu(); "
        "from paddlenlp_embtune.compat import onednn; fp32 = onednn.cpu_kernels(); "
        "print(json.dumps([dataclasses.asdict(each) for each in (fp32, onednn.use_precision('auto'))]))"
    )
    done = _run(code)
    if done.returncode:
        error = done.stderr.strip()
        what = f"oneDNN cannot be tried: {_last_line(error) if error else f'exit code {done.returncode}'}"
        yield Finding("kernels", "broken", what, f"unset {KERNELS_VARIABLE}, or set it to paddle")
        return
    fp32, fastest = json.loads(_last_line(done.stdout))
    products, others = f"{fp32['matmul']} ({fp32['reason']})", fp32["operators"]
    what = f"matrix products in training by {products}, GELU and layer norms by {others}"
    yield Finding("kernels", "ok", _with_speeds(what, fp32["gflops"]))
    what = f"train.precision=auto takes {fastest['precision']}: {fastest['reason']}"
    yield Finding("precision", "ok", _with_speeds(what, fastest["gflops"]))


def _with_speeds(what: str, gflops: Mapping[str, float]) -> str:
    speeds = ", ".join(f"{name} {value:.0f}" for name, value in gflops.items())
    return f"{what}; GFLOP/s: {speeds}" if speeds else what


def _at_least(version: str, wanted: tuple[int, int]) -> bool:
    parts = version.split(".")[:2]
    return all(part.isdigit() for part in parts) and tuple(map(int, parts)) >= wanted
