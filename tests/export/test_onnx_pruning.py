"""What the first token alone is read from is computed for it alone, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import paddle
import pytest

from paddlenlp_embtune.export import quantization
from paddlenlp_embtune.export._onnx_pruning import keep_first_token
from paddlenlp_embtune.export.onnx import export_onnx
from paddlenlp_embtune.models.pretrained_classifier import PretrainedClassifier
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.text import pad
from tests.encoders import tiny_encoder

onnx = pytest.importorskip("onnx")
WIDTH, LAYERS, LENGTH = 16, 2, 9
IDS = pad([[2, *range(5, 12), 3], [2, 7, 3], [0], [2, 8, 9, 3, 0, 0, 10]])
CONSTANTS = {"w": (4, 4), "g": (4,), "c": (4,), "one": (1, 1, 4), "row": (1, LENGTH, 4)}
NUMBERS = {"n0": [0], "n1": [1], "n2": [2], "both": [1, 2], "keep": [0, 0, 2, 2], "joined": [0, 0, 4]}
NUMBERS |= {"mixed": [0, -1, 2], "flat": [-1, 4], "spread": [-1, LENGTH, 4]}


def program(*lines: str, outputs: str = "y") -> Any:
    """A program on ``x`` (B, L, 4), with L stated as open; a line is one node in ONNX's text form."""
    types = ", ".join(f"float {name}" for name in outputs.split())
    head = '<ir_version: 8, opset_import: ["" : 17]>\n'
    text = "\n".join(lines)
    model = onnx.parser.parse_model(
        f"{head} made (float[batch, length, 4] x, float[batch, length] m) => ({types}) {{\n{text}\n}}"
    )
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {name: generator.normal(size=shape).astype(np.float32) for name, shape in CONSTANTS.items()}
    arrays |= {name: np.array(values, dtype=np.int64) for name, values in NUMBERS.items()}
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(arrays[name], name) for name in sorted(used & set(arrays)))
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def run(model: Any, **inputs: Any) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, inputs
    )


def narrow(model: Any, *, changed: bool) -> dict[str, tuple[int, ...]]:
    """Change a program, compare its answers with those of the old one, and return the shapes of what it computes."""
    generator = np.random.default_rng(1)
    inputs = {"x": generator.normal(size=(3, LENGTH, 4)).astype(np.float32)}
    inputs["m"] = generator.normal(size=(3, LENGTH)).astype(np.float32)
    before = model.SerializeToString()
    expected = run(model, **inputs)
    assert keep_first_token(model) is changed
    if not changed:
        assert model.SerializeToString() == before
    onnx.checker.check_model(model, full_check=True)
    for found, whole in zip(run(model, **inputs), expected, strict=True):
        assert found.shape == whole.shape
        np.testing.assert_allclose(found, whole, atol=1e-5)
    return shapes(model, inputs)


def shapes(model: Any, inputs: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    traced = onnx.ModelProto.FromString(model.SerializeToString())
    names = [name for node in model.graph.node for name in node.output]
    del traced.graph.output[:]
    traced.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return {name: value.shape for name, value in zip(names, run(traced, **inputs), strict=True)}


FIRST = "s = Slice(t, n0, n1, n1, n1)", "y = Squeeze(s, n1)"


def test_a_layer_without_attention() -> None:
    model = program(
        "p = MatMul(x, w)", "q = Add(p, c)", "r = Tanh(q)", "a = Add(r, x)", "t = LayerNormalization<axis=-1>(a, g, c)", *FIRST
    )
    found = narrow(model, changed=True)
    assert {found[name] for name in "pqrat"} == {(3, 1, 4)}
    assert [node.op_type for node in model.graph.node].count("Slice") == 1


def test_attention_computes_one_query() -> None:
    model = program(
        *("q0 = MatMul(x, w)", "q1 = Reshape(q0, keep)", "q = Transpose<perm=[0, 2, 1, 3]>(q1)"),
        *("k0 = MatMul(x, w)", "k1 = Reshape(k0, keep)", "k = Transpose<perm=[0, 2, 3, 1]>(k1)"),
        *("v1 = Reshape(x, keep)", "v = Transpose<perm=[0, 2, 1, 3]>(v1)", "mask = Unsqueeze(m, both)"),
        *("scores = MatMul(q, k)", "masked = Add(scores, mask)", "p = Softmax<axis=-1>(masked)"),
        *("o = MatMul(p, v)", "o1 = Transpose<perm=[0, 2, 1, 3]>(o)", "o2 = Reshape(o1, joined)", "t = Add(o2, x)", *FIRST),
    )
    found = narrow(model, changed=True)
    assert found["p"] == found["scores"] == (3, 2, 1, LENGTH)
    assert (found["q"], found["k"], found["v"]) == ((3, 2, 1, 2), (3, 2, 2, LENGTH), (3, 2, LENGTH, 2))
    assert found["t"] == (3, 1, 4)
    assert [node.op_type for node in model.graph.node].count("Slice") == 1


@pytest.mark.parametrize("other", ["c", "one", "row", "wide"])
def test_what_is_spread_over_the_tokens(other: str) -> None:
    narrow(
        program("wide = ReduceMean<axes=[1], keepdims=1>(x)", "p = MatMul(x, w)", f"t = Mul({other}, p)", *FIRST), changed=True
    )


def test_slices_of_slices() -> None:
    model = program(
        "p = MatMul(x, w)", "a = Slice(p, n0, n1, n1, n1)", "b = Tanh(a)", "c1 = Add(b, one)", "t = Exp(c1)", *FIRST
    )
    assert narrow(model, changed=True)["p"] == (3, 1, 4)
    narrow(program("p = MatMul(x, w)", "t = Slice(p, n0, n1, n1, n1)", *FIRST), changed=True)
    narrow(program("p = MatMul(x, w)", "t = Slice(p, n0, n1, n2, n1)", *FIRST), changed=False)


UNCHANGED = {
    "tokens mixed by a softmax": ("p = MatMul(x, w)", "t = Softmax<axis=1>(p)", *FIRST),
    "tokens mixed by a norm": ("p = MatMul(x, w)", "t = LayerNormalization<axis=1>(p, row)", *FIRST),
    "tokens mixed by a mean": ("p = MatMul(x, w)", "t = ReduceMean<axes=[1], keepdims=1>(p)", *FIRST),
    "tokens mixed by a sum": ("p = MatMul(x, w)", "t = CumSum(p, n1)", *FIRST),
    "tokens put elsewhere": ("p = MatMul(x, w)", "t = Reshape(p, mixed)", *FIRST),
    "tokens counted anew": ("p = MatMul(x, w)", "f = Reshape(p, flat)", "t = Reshape(f, spread)", *FIRST),
    "columns of a product": ("p = MatMul(x, w)", "t = Slice(p, n0, n1, n2, n1)", "y = Squeeze(t, n2)"),
    "right side of a product": (
        "z = Transpose<perm=[0, 2, 1]>(x)",
        "p = MatMul(z, x)",
        "s = Slice(p, n0, n1, n2, n1)",
        "y = Identity(s)",
    ),
    "another reader": ("t = MatMul(x, w)", *FIRST[:1], "z = Add(t, s)", "y = ReduceMean<axes=[1]>(z)"),
    "two tokens": ("t = MatMul(x, w)", "s = Slice(t, n0, n2, n1, n1)", "y = Identity(s)"),
    "the second token": ("t = MatMul(x, w)", "s = Slice(t, n1, n2, n1, n1)", "y = Identity(s)"),
    "the slice is the answer": ("t = MatMul(x, w)", "y = Slice(t, n0, n1, n1, n1)"),
    "nothing to gain": ("t = Tanh(x)", *FIRST),
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_left_as_it_is(name: str) -> None:
    narrow(program(*UNCHANGED[name]), changed=False)


def test_an_answer_in_full_is_kept() -> None:
    narrow(program("t = MatMul(x, w)", *FIRST, outputs="y t"), changed=False)


BRANCH = "{0} () => (float[batch, length, 4] {0}y) {{ {0}y = Identity({1}) }}"


def test_graphs_inside_nodes_are_left_alone() -> None:
    inner = f"<then_branch = {BRANCH.format('a', 't')}, else_branch = {BRANCH.format('b', 'x')}>"
    lines = "t = MatMul(x, w)", "l = ReduceSum<keepdims=0>(m)", "k = Cast<to=9>(l)", f"z = If (k) {inner}", *FIRST
    narrow(program(*lines, outputs="y z"), changed=False)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_answer_alike(seed: int) -> None:
    """Programs of nodes that read any earlier value of their shape, wherever that leads."""
    generator = np.random.default_rng(seed)
    names, lines = ["x"], []
    for number in range(12):
        a, b = (names[-int(generator.integers(1, min(4, len(names)) + 1))] for _ in range(2))
        made = [
            f"v{number} = Add({a}, {b})",
            f"v{number} = MatMul({a}, w)",
            f"v{number} = Mul({a}, one)",
            f"v{number} = LayerNormalization<axis=-1>({a}, g, c)",
            f"v{number} = Softmax<axis={generator.choice([1, 2, -1])}>({a})",
            f"z{number} = Transpose<perm=[0, 2, 1]>({b})\nh{number} = MatMul({a}, z{number})\n"
            f"v{number} = MatMul(h{number}, {b})",
            f"s{number} = Slice({a}, n0, n1, n1, n1)\nt{number} = Tanh(s{number})\nv{number} = Add({b}, t{number})",
            f"r{number} = Reshape({a}, keep)\nu{number} = Transpose<perm=[0, 2, 1, 3]>(r{number})\n"
            f"e{number} = Softmax<axis={generator.choice([1, 2, 3])}>(u{number})\n"
            f"d{number} = Transpose<perm=[0, 2, 1, 3]>(e{number})\nv{number} = Reshape(d{number}, joined)",
        ]
        lines.append(str(generator.choice(made)))
        names.append(f"v{number}")
    narrow(program(*lines, f"t = MatMul({names[-1]}, w)", *FIRST), changed=True)


def classifier(architecture: str, pooling: str) -> PretrainedClassifier:
    pretrained = tiny_encoder(architecture, layers=LAYERS, width=WIDTH)
    paddle.seed(0)
    model = PretrainedClassifier(
        vocabulary_size=len(pretrained.tokenizer.vocabulary),
        dimension=WIDTH,
        num_labels=3,
        architecture=architecture,
        settings=pretrained.settings,
        pooling=pooling,
    )
    model.network.set_state_dict({name: paddle.to_tensor(value) for name, value in pretrained.weights.items()})
    model.eval()
    return model


def norms(model: Any) -> list[tuple[int, ...]]:
    """Shapes of what the norms of a program compute."""
    found = shapes(model, {"input_ids": IDS})
    return [found[node.output[0]] for node in model.graph.node if node.op_type == "LayerNormalization"]


FAMILIES = (
    ("BertModel", "pooler"),
    ("ErnieModel", "first"),
    pytest.param("RobertaModel", "pooler", marks=pytest.mark.slow),
    pytest.param("BertModel", "mean", marks=pytest.mark.slow),
)


@pytest.mark.parametrize(("architecture", "pooling"), FAMILIES)
def test_exported_encoders(tmp_path: Path, architecture: str, pooling: str) -> None:
    live = classifier(architecture, pooling)
    export_onnx(live, tmp_path)
    file = tmp_path / "onnx" / "model.onnx"
    model = onnx.load(str(file))
    whole, first = (len(IDS), LENGTH, WIDTH), (len(IDS), 1, WIDTH)
    assert norms(model) == [whole] * (2 * LAYERS - 1) + [whole if pooling == "mean" else first] * 2
    assert [opset.domain for opset in model.opset_import] == [""]
    found, vectors = run(model, input_ids=IDS)
    np.testing.assert_allclose(found, live(paddle.to_tensor(IDS)).numpy(), atol=1e-5)
    np.testing.assert_allclose(vectors, live.features(paddle.to_tensor(IDS)).numpy(), atol=1e-5)
    before = model.SerializeToString()
    assert not keep_first_token(model)
    assert model.SerializeToString() == before
    quantization._write(file, tmp_path / "small.onnx", "int8", "static", [IDS])
    small, _ = run(onnx.load(str(tmp_path / "small.onnx")), input_ids=IDS)
    assert np.abs(small - found).max() < 0.1 * np.abs(found).max()


def test_text_cnn_stays_as_it_was(tmp_path: Path) -> None:
    export_onnx(TextCNN(vocabulary_size=30, dimension=8, num_labels=3, filters=6, ngram_buckets=31), tmp_path)
    model = onnx.load(str(tmp_path / "onnx" / "model.onnx"))
    before = model.SerializeToString()
    assert not keep_first_token(model)
    assert model.SerializeToString() == before
