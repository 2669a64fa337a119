"""Run as ``python -m paddlenlp_embtune.export._onnx_worker``: translate to ONNX the program that standard input names.

Standard input holds ``[PROGRAM, WEIGHTS, TARGET]`` as JSON; it is read when all that is needed has been imported. Without any,
the process ends.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import INPUT_NAME, OUTPUT_NAME, VECTORS_NAME
from paddlenlp_embtune.export._onnx_pruning import keep_first_token

__all__ = ["OPSET", "main"]

OPSET = 17
"""The version of ONNX's operators that programs are written in."""


def main(program: str, weights: str, target: str) -> None:
    """Translate, fold constants, name input and outputs, drop what no answer depends on, and check."""
    with compat.quiet():
        import onnx
        import paddle2onnx

        paddle2onnx.export(program, weights, target, opset_version=OPSET, auto_upgrade_opset=False, optimize_tool="None")
    _fold(target)
    model: Any = onnx.load(target)
    _keep_used_domains(model)
    _rename_outputs(model.graph)
    _name_dimensions(model.graph)
    keep_first_token(model)
    _drop_unused_initializers(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def _fold(target: str) -> None:
    """Let ONNX Runtime compute what does not depend on the input, and drop what does nothing.

    Paddle's programs hold a copy of every weight behind an identity, and of tables with a padding row a second one, masked;
    quantization passes over weights that are not initializers. The basic level stays within standard operators.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = target
    onnxruntime.InferenceSession(Path(target).read_bytes(), options, providers=["CPUExecutionProvider"])


def _keep_used_domains(model: Any) -> None:
    used = {node.domain for node in model.graph.node} | {""}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _rename_outputs(graph: Any) -> None:
    outputs = (OUTPUT_NAME, VECTORS_NAME)[: len(graph.output)]
    renamed = {output.name: name for output, name in zip(graph.output, outputs, strict=True)}
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = renamed.get(name, name)
    for output, name in zip(graph.output, outputs, strict=True):
        output.name = name


def _name_dimensions(graph: Any) -> None:
    (ids,) = graph.input
    if ids.name != INPUT_NAME:
        raise ValueError(f"the program's input is {ids.name!r}, expected {INPUT_NAME!r}")
    for dimension, name in zip(ids.type.tensor_type.shape.dim, ("batch", "length"), strict=True):
        dimension.dim_param = name
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]


def _drop_unused_initializers(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


if __name__ == "__main__":
    with compat.quiet():
        for name in ("onnx", "paddle2onnx", "onnxruntime"):
            importlib.import_module(name)
    if line := sys.stdin.read():
        main(*json.loads(line))
