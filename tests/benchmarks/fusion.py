"""What rewriting an encoder's program brings on ONNX Runtime: speed against the program as paddle2onnx writes it.

``optimizer`` is what onnxruntime's transformer optimizer finds by itself: norms with the sum before them, GELU with its bias,
and no attention. ``attention`` puts MultiHeadAttention in by hand, ``Attention`` the operator that holds the three projections
as well (in int8: QAttention). ``first token`` is what export does. Encoders of PaddleNLP with drawn weights, their head on the
pooler; batches of nearly equal lengths, as serving forms them. All programs of a kind run in turn; a figure is the median over
rounds of the ratio within a round, and a program's time in a round is that of its fastest run. ``error`` is the largest
difference of a logit from the plain fp32 program's, in standard deviations of the logits.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paddlenlp_embtune

paddlenlp_embtune.prepare_cpu()

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import paddle  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

from paddlenlp_embtune.export import _onnx_worker, quantization  # noqa: E402
from paddlenlp_embtune.export._onnx_pruning import keep_first_token  # noqa: E402
from paddlenlp_embtune.export.paddle_inference import export_paddle_inference  # noqa: E402
from paddlenlp_embtune.models.sequence_classifier import Encoder  # noqa: E402

ENCODERS = {"ErnieForSequenceClassification": (4, 312), "BertForSequenceClassification": (12, 384)}
ROWS, HEADS = 21_500, 12
CASES = ((32, 20), (1, 20), (4, 256), (1, 256))
ROUNDS, SECONDS = 5, 0.1
GROUPS = {
    "fp32": ("plain", "optimizer", "attention", "Attention", "first token", "first token, attention"),
    "int8 static": ("plain", "attention", "first token", "first token, attention"),
    "int8 dynamic": ("plain", "Attention", "first token"),
}


def main() -> None:
    logging.disable(logging.WARNING)  # the optimizer and the quantizer tell what they do
    for architecture, (layers, width) in ENCODERS.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_programs(folder, architecture, layers, width)
            expected = logits(folder / "fp32, plain.onnx")
            print(f"\n{architecture}, {layers} x {width}; speed against the plain program of the same precision")
            print(f"{'':<38}{'error':>9}" + "".join(f"{f'{b} x {n}, {t} thr.':>18}" for t in (1, 2) for b, n in CASES))
            for group, variants in GROUPS.items():
                files = {variant: folder / f"{group}, {variant}.onnx" for variant in variants}
                columns = [measure(files, batch, length, threads) for threads in (1, 2) for batch, length in CASES]
                for variant, file in files.items():
                    error = np.abs(logits(file) - expected).max() / expected.std()
                    cells = "".join(f"{column[variant]:>18}" for column in columns)
                    print(f"{f'{group}, {variant}':<38}{error:>9.0e}{cells}", flush=True)


def draw(batch: int, length: int, seed: int = 0) -> np.ndarray:
    """Ids padded by up to an eighth of the length."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(1, ROWS, (batch, length))
    ids[np.arange(length) >= length - generator.integers(0, length // 8 + 1, (batch, 1))] = 0
    return ids


def session(file: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads, options.inter_op_num_threads, options.enable_mem_pattern = threads, 1, False
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def logits(file: Path) -> np.ndarray:
    """Answers to a few batches."""
    made = session(file, 1)
    return np.concatenate([made.run(None, {"input_ids": draw(8, length, seed=length)})[0] for length in (5, 20, 40)])


def measure(files: dict[str, Path], batch: int, length: int, threads: int) -> dict[str, str]:
    """Texts per second of the first program, ratios of the others."""
    feed = {"input_ids": draw(batch, length)}
    sessions = {name: session(file, threads) for name, file in files.items()}

    def seconds(name: str, runs: int) -> float:
        taken = []
        for _ in range(runs):
            started = time.perf_counter()
            sessions[name].run(None, feed)
            taken.append(time.perf_counter() - started)
        return min(taken)

    for name in sessions:
        seconds(name, 1)
    runs = max(2, int(SECONDS / seconds("plain", 1)))
    rounds = [{name: seconds(name, runs) for name in sessions} for _ in range(ROUNDS)]
    ratios = {name: statistics.median(found["plain"] / found[name] for found in rounds) for name in sessions}
    speed = batch / statistics.median(found["plain"] for found in rounds)
    return {name: f"{speed:.0f} texts/s" if name == "plain" else f"{ratio:.2f}" for name, ratio in ratios.items()}


def write_programs(folder: Path, architecture: str, layers: int, width: int) -> None:
    """Export one encoder without any rewriting, and make the variants from that."""
    paddle.seed(0)
    settings = {"vocab_size": ROWS, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": HEADS}
    settings |= {"intermediate_size": 4 * width, "max_position_embeddings": 512, "type_vocab_size": 2, "pad_token_id": 0}
    model = Encoder(vocabulary_size=ROWS, dimension=width, num_labels=3, architecture=architecture, settings=settings)
    program = next(folder / name for name in export_paddle_inference(model, folder) if name.endswith((".json", ".pdmodel")))
    plain = folder / "fp32, plain.onnx"
    environment = unittest.mock.patch.dict("os.environ", {"POLYGRAPHY_AUTOINSTALL_DEPS": "0"})
    with environment, unittest.mock.patch.object(_onnx_worker, "keep_first_token"):
        _onnx_worker.main(str(program), str(program.with_suffix(".pdiparams")), str(plain))
    for variant in GROUPS["fp32"][1:]:
        made = onnx.load(plain)
        if variant == "optimizer":
            made = optimized(plain, width)
        if "first token" in variant:
            keep_first_token(made)
        if "ttention" in variant:
            put_attention(made, whole="Attention" in variant)
        onnx.save(made, folder / f"fp32, {variant}.onnx")
    batches = [draw(8, length, seed=length) for length in (8, 16, 24, 32, 48)]
    for method in ("static", "dynamic"):
        for variant in GROUPS[f"int8 {method}"]:
            target = folder / f"int8 {method}, {variant}.onnx"
            source = folder / f"fp32, {variant}.onnx"
            if variant == "Attention":
                quantize_attention(source, target)
            else:
                quantization._write(source, target, "int8", method, batches)


def optimized(file: Path, width: int) -> Any:
    from onnxruntime.transformers import optimizer

    return optimizer.optimize_model(str(file), model_type="bert", num_heads=HEADS, hidden_size=width, opt_level=0).model


def quantize_attention(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kinds = ["MatMul", "Gemm", "Gather", "Attention"]
    quantize_dynamic(source, target, op_types_to_quantize=kinds, weight_type=QuantType.QInt8)


def put_attention(model: Any, *, whole: bool) -> None:
    """Put one operator in the place of each attention: with its projections, or from the projected values on."""
    graph = model.graph
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (padding,) = (node.output[0] for node in graph.node if node.op_type == "Equal")
    graph.node.append(helper.make_node("Not", [padding], ["known"]))
    graph.node.append(helper.make_node("Cast", ["known"], ["mask"], to=onnx.TensorProto.INT32))
    for number, found in enumerate(list(attentions(graph, constants))):
        biases = np.concatenate([constants[found[key, "bias"]] for key in "qkv"])
        weights = np.concatenate([constants[found[key, "weight"]] for key in "qkv"], axis=1)
        arrays = {f"attention.{number}.bias": biases, f"attention.{number}.weight": weights}
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
        one = whole and len({found[key, "source"] for key in "qkv"}) == 1
        inputs = [found["q", "source"], f"attention.{number}.weight"] if one else [found[key, "product"] for key in "qkv"]
        options = {"num_heads": HEADS, "scale": found["scale"], "mask_filter_value": -1e4, "domain": "com.microsoft"}
        kind, output = "Attention" if one else "MultiHeadAttention", found["output"]
        graph.node.append(helper.make_node(kind, [*inputs, f"attention.{number}.bias", "mask"], [output], **options))
        # The quantizer's shape inference knows none of these operators.
        hint = helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["batch", f"rows.{number}", len(biases) // 3])
        graph.value_info.append(hint)
    sort(graph)


def attentions(graph: Any, constants: dict[str, np.ndarray]) -> Iterator[dict[Any, Any]]:
    """Attentions as paddle2onnx writes those of PaddleNLP; takes the last node of each out."""
    makers = {name: node for node in graph.node for name in node.output}

    def reader(name: str) -> Any:
        (node,) = (node for node in graph.node if name in node.input)
        return node

    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        scores = makers[makers[softmax.input[0]].input[0]]
        scaled, values = makers[scores.input[0]], reader(softmax.output[0])
        joined = reader(reader(values.output[0]).output[0])
        found: dict[Any, Any] = {"scale": constants[scaled.input[1]].item(), "output": joined.output[0]}
        for key, name in {"q": scaled.input[0], "k": scores.input[1], "v": values.input[1]}.items():
            added = makers[makers[makers[name].input[0]].input[0]]
            bias = next(index for index, given in enumerate(added.input) if given in constants)
            product = makers[added.input[1 - bias]]
            found |= {(key, "bias"): added.input[bias], (key, "product"): product.output[0]}
            found |= {(key, "source"): product.input[0], (key, "weight"): product.input[1]}
        graph.node.remove(joined)
        yield found


def sort(graph: Any) -> None:
    """Put nodes behind those that they read, and leave out what nothing reads."""
    makers: dict[str, Any] = {name: node for node in graph.node for name in node.output}
    ordered: dict[str, Any] = {}

    def visit(name: str) -> None:
        node = makers.get(name)
        if node is not None and node.output[0] not in ordered:
            for given in node.input:
                visit(given)
            ordered[node.output[0]] = node

    visit(graph.output[0].name)
    nodes = list(ordered.values())
    del graph.node[:]
    graph.node.extend(nodes)
    _onnx_worker._drop_unused_initializers(graph)


if __name__ == "__main__":
    main()
