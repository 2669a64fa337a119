"""Smaller programs for ONNX Runtime, kept only where labelled rows show that they are worth having. Needs no Paddle."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import INPUT_NAME, Bundle, QuantizedProgram
from paddlenlp_embtune.errors import BundleError, DataError, MissingDependencyError, ParityError, expected_names
from paddlenlp_embtune.evaluation import classification_report, encode_labels
from paddlenlp_embtune.export.seal import revise, revising, seal
from paddlenlp_embtune.inference import Engine, EngineOptions, OnnxRuntimeEngine, Predictor, form_batches, gpu_providers
from paddlenlp_embtune.text import pad

__all__ = ["METHODS", "MIN_QUANTIZATION_ROWS", "quantize"]

METHODS = {"int8": ("static", "dynamic"), "fp16": ("cast",)}
MIN_QUANTIZATION_ROWS, _CALIBRATION_ROWS = 50, 256
_COMPANY_ROWS, _TIMED_ROWS, _ROUNDS = 64, 512, 5
_LEAST_SPEEDUP = 1.05

Ids = npt.NDArray[np.int64]


def quantize(
    bundle: Bundle,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    precision: str = "int8",
    method: str | None = None,
    tolerance: float = 0.01,
    target: Path | None = None,
) -> Bundle:
    """Add a program of lower precision to a bundle, if it is smaller, faster, and nearly as good on labelled rows.

    ``static`` gives every activation one scale, found on up to 256 of the texts, so that an answer does not depend on the
    batch it is computed in; ``dynamic`` scales each batch by its largest value, so that it does, a little: the bundle states
    by how much.

    Args:
        bundle: an opened bundle with a program for ``onnxruntime``.
        texts: labelled rows that the model was not trained on, 50 or more.
        labels: their labels.
        precision: ``int8``, or ``fp16`` for GPUs; without one, the speed of fp16 is not measured.
        method: of int8, ``static`` or ``dynamic``; None takes ``static``.
        tolerance: how much accuracy may be lost, 0 to 1.
        target: where the result goes; None revises the bundle in its place.
    Raises:
        ParityError: the program is not smaller, not faster, or loses more; the message gives the figures, nothing is written.
        DataError: an argument is not valid.
        BundleError: the bundle has no program in fp32, or the disk does not take the new one.
        MissingDependencyError: onnx is not installed.
    """
    place = target or bundle.path
    with revising(bundle, place) as current:
        settled = _settle(current, texts, labels, precision=precision, method=method, tolerance=tolerance)
        _add_program(current, place, texts, labels, precision=precision, method=settled, tolerance=tolerance)
        return Bundle.open(place)


def _add_program(
    bundle: Bundle,
    target: Path,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    precision: str,
    method: str,
    tolerance: float,
) -> None:
    source = bundle.engine_file("onnxruntime", ".onnx").relative_to(bundle.path)
    name = f"onnx/model.{precision}.onnx"
    chosen = np.linspace(0, len(texts) - 1, min(_CALIBRATION_ROWS, len(texts) // 2)).astype(int).tolist()
    rest = sorted(set(range(len(texts))) - set(chosen))
    with revise(bundle, target) as folder:
        (folder / name).unlink(missing_ok=True)
        copied = Bundle(folder, bundle.manifest, bundle.vocabulary)
        _write(
            folder / source, folder / name, precision, method, _batches(bundle, [texts[row] for row in chosen], batch_size=8)
        )
        draft = _with_program(copied, precision, name)
        program = _measure(copied, draft, precision, [texts[row] for row in rest], [labels[row] for row in rest])
        program = dataclasses.replace(program, file=name, method=method, tolerance=tolerance)
        _judge(program, precision)
        quantized = {**bundle.manifest.quantized, precision: program}
        seal(folder, dataclasses.replace(draft, manifest=dataclasses.replace(bundle.manifest, quantized=quantized)))


def _settle(
    bundle: Bundle, texts: Sequence[str], labels: Sequence[str], *, precision: str, method: str | None, tolerance: float
) -> str:
    """Check the arguments and return the method."""
    if precision not in METHODS:
        raise DataError(f"precision is {precision!r}; {expected_names(precision, METHODS)}")
    if method is not None and method not in METHODS[precision]:
        raise DataError(f"method is {method!r}; of {precision}, {expected_names(method, METHODS[precision])}")
    if not 0 <= tolerance <= 1:
        raise DataError(f"tolerance is {tolerance}; expected accuracy that may be lost, 0 to 1")
    encode_labels(bundle, texts, labels, least=MIN_QUANTIZATION_ROWS)
    try:
        importlib.import_module("onnx")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'quantization needs onnx; install it with: pip install "paddlenlp-embtune[cpu]", or: pip install onnx'
        ) from None
    return method or METHODS[precision][0]


def _batches(bundle: Bundle, texts: Sequence[str], *, batch_size: int) -> list[Ids]:
    """Batches of ids as serving forms them."""
    encoded = [bundle.tokenizer.encode(text, max_length=bundle.manifest.max_length) for text in texts]
    encoded = [ids for ids in encoded if ids]
    rows = form_batches([len(ids) for ids in encoded], batch_size=batch_size)
    return [pad([encoded[row] for row in batch]) for batch in rows]


def _write(source: Path, target: Path, precision: str, method: str, batches: Sequence[Ids]) -> None:
    """Write the program of lower precision.

    Raises:
        BundleError: onnxruntime cannot quantize the program.
    """
    tools: Any = importlib.import_module("onnxruntime.quantization")
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # its advice to preprocess is followed: export has folded constants
    kinds = ["MatMul", "Gemm", "Gather"]
    try:
        if precision == "fp16":
            onnx: Any = importlib.import_module("onnx")
            halves: Any = importlib.import_module("onnxruntime.transformers.float16")
            model = onnx.load(source)
            _keep_whole_numbers(onnx, model.graph)
            onnx.save(halves.convert_float_to_float16(model, keep_io_types=True), target)
        elif method == "dynamic":
            tools.quantize_dynamic(source, target, op_types_to_quantize=kinds, weight_type=tools.QuantType.QInt8)
        else:
            tools.quantize_static(
                source,
                target,
                _reader(tools, batches),
                quant_format=tools.QuantFormat.QOperator,
                op_types_to_quantize=kinds,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
    except OSError:
        raise
    except Exception as error:
        raise BundleError(f"onnxruntime cannot quantize {source}: {type(error).__name__}: {error}") from error
    finally:
        root.setLevel(level)


def _keep_whole_numbers(onnx: Any, graph: Any) -> None:
    """Let constants that are widened and then cast to int64 be int64 at once: as halves, 4095 is 4096 and 131071 infinite."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    used = [name for node in graph.node for name in node.input]
    for cast in graph.node:
        widened = makers.get(cast.input[0]) if cast.op_type == "Cast" else None
        if widened is None or widened.op_type != "Expand" or cast.attribute[0].i != onnx.TensorProto.INT64:
            continue
        tensor = constants.get(widened.input[0])
        if tensor is not None and used.count(tensor.name) == used.count(cast.input[0]) == 1:
            whole = onnx.numpy_helper.to_array(tensor).astype(np.int64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(whole, tensor.name))
            cast.op_type = "Identity"
            del cast.attribute[:]
    del graph.value_info[:]


def _reader(tools: Any, batches: Sequence[Ids]) -> Any:
    """What onnxruntime reads calibration batches from."""

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Ids] = iter(batches)

        def get_next(self) -> dict[str, Ids] | None:
            batch = next(self._left, None)
            return None if batch is None else {INPUT_NAME: batch}

    return Reader()


def _with_program(bundle: Bundle, precision: str, file: str) -> Bundle:
    """The bundle with a program that has not been measured yet."""
    blank = QuantizedProgram(
        file=file,
        method="",
        rows=0,
        agreement=0.0,
        accuracy=0.0,
        accuracy_fp32=0.0,
        f1_macro=0.0,
        f1_macro_fp32=0.0,
        company=0.0,
        bytes=0,
        bytes_fp32=0,
        speedup=None,
        processor="",
        tolerance=0.0,
    )
    quantized = {**bundle.manifest.quantized, precision: blank}
    return dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, quantized=quantized))


def _measure(bundle: Bundle, draft: Bundle, precision: str, texts: Sequence[str], labels: Sequence[str]) -> QuantizedProgram:
    """Compare a program with fp32 on labelled rows."""
    names = bundle.manifest.labels
    truth = [names.index(label) for label in labels]
    gpus = gpu_providers() if precision == "fp16" else []
    device = "gpu" if gpus else "cpu"
    with Predictor(bundle, device=device) as plain, Predictor(draft, precision=precision, device=device) as small:
        expected, found = plain.probabilities(texts), small.probabilities(texts)
        alone = np.concatenate([small.probabilities([text]) for text in texts[:_COMPANY_ROWS]])
    reports = [classification_report(truth, table.argmax(axis=1).tolist(), names) for table in (found, expected)]
    program = draft.manifest.quantized[precision]
    return dataclasses.replace(
        program,
        rows=len(texts),
        agreement=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        accuracy=reports[0]["accuracy"],
        accuracy_fp32=reports[1]["accuracy"],
        f1_macro=reports[0]["f1_macro"],
        f1_macro_fp32=reports[1]["f1_macro"],
        company=float(np.abs(alone - found[: len(alone)]).max()),
        bytes=(draft.path / program.file).stat().st_size,
        bytes_fp32=bundle.engine_file("onnxruntime", ".onnx").stat().st_size,
        speedup=_speedup(bundle, draft, precision, texts) if gpus or precision != "fp16" else None,
        processor=gpus[0] if gpus else compat.processor_name(),
    )


def _speedup(bundle: Bundle, draft: Bundle, precision: str, texts: Sequence[str]) -> float:
    """How many times faster the program is, over the same batches in alternating rounds; the median of five."""
    batches = _batches(bundle, texts[:_TIMED_ROWS], batch_size=64)
    device = "gpu" if precision == "fp16" else "cpu"
    plain: Engine = OnnxRuntimeEngine(bundle, EngineOptions(device=device))
    small: Engine = OnnxRuntimeEngine(draft, EngineOptions(device=device, precision=precision))

    def seconds(engine: Engine) -> float:
        started = time.perf_counter()
        for batch in batches:
            engine.run(batch)
        return time.perf_counter() - started

    seconds(plain), seconds(small)
    return statistics.median(seconds(plain) / seconds(small) for _ in range(_ROUNDS))


def _judge(program: QuantizedProgram, precision: str) -> None:
    """Refuse a program that is not worth having.

    Raises:
        ParityError: with all figures.
    """
    reasons = []
    if program.bytes >= program.bytes_fp32:
        reasons.append("is not smaller")
    if program.speedup is not None and program.speedup < _LEAST_SPEEDUP:
        reasons.append("is not faster")
    if program.accuracy_fp32 - program.accuracy > program.tolerance:
        reasons.append("loses too much accuracy")
    if reasons:
        speed = "not measured" if program.speedup is None else f"{program.speedup:.2f} times"
        raise ParityError(
            f"the {program.method} {precision} program {' and '.join(reasons)}: {program.bytes / 1e6:.2f} MB against "
            f"{program.bytes_fp32 / 1e6:.2f}, speed {speed}, accuracy {program.accuracy:.4f} against "
            f"{program.accuracy_fp32:.4f} on {program.rows} rows (allowed loss {program.tolerance:g}), "
            f"{program.agreement:.2%} of labels alike; nothing was written; try the other method, or stay with fp32"
        )
