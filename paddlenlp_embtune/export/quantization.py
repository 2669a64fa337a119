"""Smaller programs for ONNX Runtime, kept only where labelled rows show that they are worth having. Needs no Paddle."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import INPUT_NAME, QuantizedProgram
from paddlenlp_embtune.errors import BundleError, DataError, MissingDependencyError, ParityError, expected_names
from paddlenlp_embtune.evaluation import classification_report
from paddlenlp_embtune.inference import (
    Engine,
    EngineOptions,
    OnnxRuntimeEngine,
    form_batches,
    gpu_providers,
    refuse_several_labels,
    unit_vectors,
)
from paddlenlp_embtune.text import pad

if TYPE_CHECKING:
    from paddlenlp_embtune.export.builder import BundleBuilder
    from paddlenlp_embtune.export.labelled_rows import LabelledRows

__all__ = ["METHODS", "MIN_QUANTIZATION_ROWS", "check_quantization", "measured_program"]

METHODS = {"int8": ("static", "dynamic"), "fp16": ("cast",)}
MIN_QUANTIZATION_ROWS, _CALIBRATION_ROWS = 50, 256
_COMPANY_ROWS, _TIMED_ROWS, _ROUNDS = 64, 512, 5
_LEAST_SPEEDUP = 1.05

Ids = npt.NDArray[np.int64]


def check_quantization(rows: LabelledRows, *, precision: str, method: str | None, tolerance: float) -> str:
    """Check what is asked for before anything is made, and return the method.

    Args:
        rows: 50 or more that the model was not trained on.
        precision: ``int8`` or ``fp16``.
        method: one of the precision; None takes its first.
        tolerance: how much accuracy may be lost, 0 to 1.
    Raises:
        DataError: an argument is not valid, or the rows are too few.
        MissingDependencyError: onnx is not installed.
    """
    if precision not in METHODS:
        raise DataError(f"precision is {precision!r}; {expected_names(precision, METHODS)}")
    if method is not None and method not in METHODS[precision]:
        raise DataError(f"method is {method!r}; of {precision}, {expected_names(method, METHODS[precision])}")
    if not 0 <= tolerance <= 1:
        raise DataError(f"tolerance is {tolerance}; expected accuracy that may be lost, 0 to 1")
    refuse_several_labels(rows.manifest, "quantization")
    rows.truth(least=MIN_QUANTIZATION_ROWS)
    try:
        importlib.import_module("onnx")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'quantization needs onnx; install it with: pip install "paddlenlp-embtune[cpu]", or: pip install onnx'
        ) from None
    return method or METHODS[precision][0]


def measured_program(
    builder: BundleBuilder, rows: LabelledRows, file: str, *, precision: str, method: str, tolerance: float
) -> QuantizedProgram:
    """Write a program of lower precision, and measure it on rows that it was not calibrated on.

    Args:
        builder: of a bundle with a program for ``onnxruntime``.
        rows: as for :func:`check_quantization`, which has checked all arguments.
        file: the program's name.
        precision: see there.
        method: see there.
        tolerance: see there.
    Raises:
        ParityError: the program is not smaller, not faster, or loses too much.
        BundleError: the bundle has no program in fp32, or onnxruntime cannot quantize it.
    """
    draft = builder.draft
    source, count = draft.engine_file("onnxruntime", ".onnx"), len(rows)
    chosen = np.linspace(0, count - 1, min(_CALIBRATION_ROWS, count // 2)).astype(int).tolist()
    rest = sorted(set(range(count)) - set(chosen))
    batches = _batches(builder, [rows.texts[row] for row in chosen], batch_size=8)
    _write(source, draft.path / file, precision, method, batches)
    builder.update(quantized={**draft.manifest.quantized, precision: _unmeasured(file, method, tolerance)})
    program = _measure(builder, rows, rest, precision)
    _judge(program, precision)
    return program


def _batches(builder: BundleBuilder, texts: Sequence[str], *, batch_size: int) -> list[Ids]:
    """Batches of ids as serving forms them."""
    tokenizer, most = builder.tokenizer, builder.manifest.max_length
    encoded = [ids for text in texts if (ids := tokenizer.encode(text, max_length=most))]
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


def _unmeasured(file: str, method: str, tolerance: float) -> QuantizedProgram:
    """Describe a program that has not been measured yet, so that the bundle can run it."""
    return QuantizedProgram(
        file=file,
        method=method,
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
        tolerance=tolerance,
    )


def _measure(builder: BundleBuilder, rows: LabelledRows, rest: Sequence[int], precision: str) -> QuantizedProgram:
    """Compare a program with fp32 on labelled rows; fp32 has read all rows, or does so now."""
    draft, part = builder.draft, rows.subset(rest)
    names, truth = draft.manifest.labels, part.truth().tolist()
    gpus = gpu_providers() if precision == "fp16" else []
    device = "gpu" if gpus else "cpu"
    expected = rows.probabilities("onnxruntime", device=device)[rest]
    found = part.probabilities("onnxruntime", precision=precision, device=device)
    singles = [part.subset([row]) for row in range(min(len(rest), _COMPANY_ROWS))]
    alone = np.concatenate([each.probabilities("onnxruntime", precision=precision, device=device) for each in singles])
    reports = [classification_report(truth, table.argmax(axis=1).tolist(), names) for table in (found, expected)]
    program = draft.manifest.quantized[precision]
    cosine, neighbours = _vector_agreement(builder, precision, part.texts, device=device)
    return dataclasses.replace(
        program,
        vector_cosine=cosine,
        vector_neighbours=neighbours,
        rows=len(rest),
        agreement=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        accuracy=reports[0]["accuracy"],
        accuracy_fp32=reports[1]["accuracy"],
        f1_macro=reports[0]["f1_macro"],
        f1_macro_fp32=reports[1]["f1_macro"],
        company=float(np.abs(alone - found[: len(alone)]).max()),
        bytes=(draft.path / program.file).stat().st_size,
        bytes_fp32=draft.engine_file("onnxruntime", ".onnx").stat().st_size,
        speedup=_speedup(builder, precision, part.texts) if gpus or precision != "fp16" else None,
        processor=gpus[0] if gpus else compat.processor_name(),
    )


def _vector_agreement(
    builder: BundleBuilder, precision: str, texts: Sequence[str], *, device: str
) -> tuple[float | None, float | None]:
    """Compare the sentence vectors of rows with those of fp32: mean cosine, and share of nearest rows that stay the same."""
    plain, small = (builder.engine("onnxruntime", precision=each, device=device) for each in ("fp32", precision))
    if not all(getattr(engine, "gives_vectors", False) for engine in (plain, small)):
        return None, None
    batches, found = _batches(builder, texts[:_TIMED_ROWS], batch_size=64), []
    for engine in (plain, small):
        both: Any = engine
        found.append(unit_vectors(np.concatenate([both.run_with_vectors(batch)[1] for batch in batches])))
    nearest = []
    for vectors in found:
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -np.inf)
        nearest.append(cosines.argmax(axis=1))
    return float((found[0] * found[1]).sum(axis=1).mean()), float((nearest[0] == nearest[1]).mean())


def _speedup(builder: BundleBuilder, precision: str, texts: Sequence[str]) -> float:
    """How many times faster the program is, over the same batches in alternating rounds; the median of five."""
    batches = _batches(builder, texts[:_TIMED_ROWS], batch_size=64)
    device = "gpu" if precision == "fp16" else "cpu"
    plain: Engine = OnnxRuntimeEngine(builder.draft, EngineOptions(device=device))
    small: Engine = OnnxRuntimeEngine(builder.draft, EngineOptions(device=device, precision=precision))

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
