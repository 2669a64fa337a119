"""Quantization: a smaller program is kept where it is worth having, and refused with figures where it is not."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from paddlenlp_embtune import DataError
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, MissingDependencyError, ParityError
from paddlenlp_embtune.export import add_engines, calibrate, quantization, quantize, write_bundle
from paddlenlp_embtune.export.bundle_writer import reseal
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.text.windows import WindowSpec
from tests.export.large_bundle import LABELS, large_content, make_texts

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("speed_refuses_nothing")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("run") / "bundle", large_content(), engines=["onnxruntime", "paddle_inference"])


@pytest.fixture(scope="module")
def rows(bundle: Bundle) -> tuple[list[str], list[str]]:
    texts = make_texts(400)
    labels = [answer["label"] for answer in Predictor(bundle).predict(texts)]
    assert min(labels.count(label) for label in LABELS) > 20
    return texts, labels


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """Quantizing must not reach other tests through the root logger."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.fixture(scope="module", params=["static", "dynamic"])
def small(
    request: pytest.FixtureRequest,
    bundle: Bundle,
    rows: tuple[list[str], list[str]],
    speed_refuses_nothing: Callable[..., float],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    return quantize(bundle, *rows, method=request.param, tolerance=0.1, target=tmp_path_factory.mktemp("small") / "bundle")


def test_speed_is_measured(
    bundle: Bundle,
    rows: tuple[list[str], list[str]],
    speed_refuses_nothing: Callable[..., float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = []

    def accept(*given: Any) -> float:
        measured.append(speed_refuses_nothing(*given))
        return 2.0

    monkeypatch.setattr(quantization, "_speedup", accept)
    quantize(bundle, *rows, method="dynamic", tolerance=0.1, target=tmp_path / "bundle")
    (times,) = measured
    assert 0.1 < times < 50


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def own_copy(bundle: Bundle, folder: Path) -> Bundle:
    shutil.copytree(bundle.path, folder / "bundle")
    return Bundle.open(folder / "bundle")


def test_it_is_smaller_and_faster_and_answers_nearly_alike(bundle: Bundle, small: Bundle) -> None:
    (precision,) = small.manifest.quantized
    program = small.manifest.quantized[precision]
    assert (precision, program.file) == ("int8", "onnx/model.int8.onnx")
    assert program.bytes == (small.path / program.file).stat().st_size
    assert program.bytes_fp32 == (bundle.path / "onnx" / "model.onnx").stat().st_size
    assert program.bytes < program.bytes_fp32 / 2
    assert program.speedup is not None
    assert program.speedup > 1.05
    assert (program.accuracy_fp32, program.f1_macro_fp32) == (1.0, 1.0)  # the labels are its own answers
    assert program.accuracy == program.agreement > 0.9
    assert (program.rows, program.tolerance) == (200, 0.1)
    assert program.processor
    texts = make_texts(300, seed=5)
    plain, found = Predictor(small).probabilities(texts), Predictor(small, precision="int8").probabilities(texts)
    np.testing.assert_allclose(plain, Predictor(bundle).probabilities(texts), atol=5e-6)
    assert (plain.argmax(axis=1) == found.argmax(axis=1)).mean() > 0.9
    assert 0 < np.abs(plain - found).max() < 0.2


def test_the_measured_rows_are_not_those_it_was_calibrated_on(bundle: Bundle, small: Bundle, rows: Any) -> None:
    program, (texts, labels) = small.manifest.quantized["int8"], rows
    chosen = set(np.linspace(0, 399, 200).astype(int).tolist())
    rest = [number for number in range(400) if number not in chosen]
    found = [answer["label"] for answer in Predictor(small, precision="int8").predict([texts[row] for row in rest])]
    hits = np.mean([label == labels[row] for label, row in zip(found, rest, strict=True)])
    assert program.accuracy == pytest.approx(hits, abs=0.011)


def test_only_dynamic_answers_depend_on_the_company(small: Bundle) -> None:
    program = small.manifest.quantized["int8"]
    predictor = Predictor(small, precision="int8", batch_size=64)
    texts = make_texts(64, seed=9)
    together, alone = predictor.probabilities(texts), np.concatenate([predictor.probabilities([text]) for text in texts])
    if program.method == "static":
        np.testing.assert_allclose(together, alone, atol=5e-6)
        assert program.company < 5e-6
    else:
        assert 5e-6 < program.company < 0.1
        assert np.abs(together - alone).max() > 5e-6


def test_weights_are_in_8_bits(small: Bundle) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(small.path / "onnx" / "model.int8.onnx"))
    sizes = dict.fromkeys(("INT8", "UINT8", "FLOAT"), 0)
    for tensor in model.graph.initializer:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        sizes[kind] = sizes.get(kind, 0) + int(np.prod(tensor.dims))
    assert sizes["INT8"] + sizes["UINT8"] > 256 * 64 * 3 + 4096 * 4
    assert sizes["FLOAT"] < 2000
    (ids,), (logits, vectors) = model.graph.input, model.graph.output
    assert (ids.name, logits.name, vectors.name) == ("input_ids", "logits", "vectors")
    session = onnxruntime.InferenceSession(str(small.path / "onnx" / "model.int8.onnx"))
    assert session.run(None, {"input_ids": np.array([[3, 4]])})[0].shape == (1, 3)


def test_vectors_are_nearly_those_of_fp32(bundle: Bundle, small: Bundle, rows: tuple[list[str], list[str]]) -> None:
    program = small.manifest.quantized["int8"]
    plain, packed = Predictor(bundle).embed(rows[0]), Predictor(small, precision="int8").embed(rows[0])
    cosines = (plain * packed).sum(axis=1)
    assert program.vector_cosine is not None
    assert program.vector_cosine == pytest.approx(cosines.mean(), abs=0.02)
    assert program.vector_cosine > 0.95
    assert 0 < program.vector_neighbours <= 1


def test_everything_else_stays(bundle: Bundle, small: Bundle) -> None:
    before, after = contents(bundle.path), contents(small.path)
    assert set(after) == set(before) | {"onnx/model.int8.onnx"}
    changed = {"bundle.json", "interface.json"}
    assert {name: after[name] for name in before if name not in changed} == {k: before[k] for k in before if k not in changed}
    for field in dataclasses.fields(bundle.manifest):
        if field.name not in ("files", "quantized"):
            assert getattr(bundle.manifest, field.name) == getattr(small.manifest, field.name)
    assert '"int8": "onnx/model.int8.onnx"' in after["interface.json"].decode()
    assert Bundle.open(small.path).manifest == small.manifest


@pytest.mark.parametrize("engine", ["paddle", "paddle_inference"])
def test_other_engines_refuse_the_precision(small: Bundle, engine: str) -> None:
    with pytest.raises(DataError, match=f"precision is 'int8', but the engine '{engine}' runs fp32 only"):
        Predictor(small, engine=engine, precision="int8")


def test_a_precision_that_the_bundle_has_not(bundle: Bundle, small: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no program in 'int8'.*expected fp32.*embtune quantize"):
        Predictor(bundle, precision="int8")
    with pytest.raises(BundleError, match="did you mean 'int8'"):
        Predictor(small, precision="int4")


def test_windows_thresholds_and_explanations_in_8_bits(small: Bundle) -> None:
    predictor = Predictor(small, precision="int8", windows=WindowSpec(), abstain_below=0.5)
    text = "".join(make_texts(9, seed=2))
    (answer,), (explanation,) = predictor.predict([text], scores=True), predictor.explain([text])
    assert answer["window"]["windows"] > 1
    assert explanation.label == answer["label"]


def test_quantizing_again_and_calibrating_afterwards(bundle: Bundle, rows: Any, tmp_path: Path) -> None:
    own = own_copy(bundle, tmp_path)
    first = quantize(own, *rows, method="dynamic", tolerance=0.1)
    second = quantize(first, *rows, tolerance=0.1)
    assert (first.manifest.quantized["int8"].method, second.manifest.quantized["int8"].method) == ("dynamic", "static")
    data = (second.path / "onnx" / "model.int8.onnx").read_bytes()
    third = calibrate(second, *rows)
    assert third.manifest.quantized == second.manifest.quantized
    assert (third.path / "onnx" / "model.int8.onnx").read_bytes() == data
    both = quantize(third, *rows, precision="fp16", tolerance=0.5)
    assert set(both.manifest.quantized) == {"int8", "fp16"}
    assert both.manifest.temperature == third.manifest.temperature
    kept = add_engines(both, both.path, engines=["paddle_inference"])
    assert set(kept.manifest.quantized) == {"int8", "fp16"}
    expected = Predictor(kept).predict(rows[0][:3])
    anew = add_engines(kept, kept.path, engines=["onnxruntime"])
    assert anew.manifest.quantized == {}
    assert not {"onnx/model.int8.onnx", "onnx/model.fp16.onnx"} & set(contents(anew.path))
    assert Predictor(anew).predict(rows[0][:3]) == expected
    with pytest.raises(BundleError, match="has been replaced since it was opened"):
        Predictor(kept)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_half_precision_keeps_whole_numbers_whole(bundle: Bundle, rows: Any, tmp_path: Path) -> None:
    found = quantize(bundle, *rows, precision="fp16", tolerance=0.1, target=tmp_path / "bundle")
    assert found.manifest.quantized["fp16"].agreement > 0.9


def test_half_precision(rows: Any, tmp_path: Path) -> None:
    plain = write_bundle(tmp_path / "plain", large_content(buckets=0), engines=["onnxruntime"])
    labels = [answer["label"] for answer in Predictor(plain).predict(rows[0])]
    found = quantize(plain, rows[0], labels, precision="fp16", tolerance=0.2, target=tmp_path / "bundle")
    program = found.manifest.quantized["fp16"]
    assert (program.method, program.file, program.speedup) == ("cast", "onnx/model.fp16.onnx", None)
    assert program.bytes < 0.6 * program.bytes_fp32
    texts = make_texts(50, seed=3)
    half, whole = Predictor(found, precision="fp16").probabilities(texts), Predictor(found).probabilities(texts)
    assert (half.argmax(axis=1) == whole.argmax(axis=1)).mean() > 0.8


REFUSALS = [("slower", "is not faster"), ("larger", "is not smaller"), ("worse", "loses too much accuracy")]


@pytest.mark.parametrize(("how", "message"), REFUSALS)
def test_what_is_not_worth_having_is_refused_with_figures(
    bundle: Bundle, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, message: str
) -> None:
    own, (texts, labels) = own_copy(bundle, tmp_path), rows
    monkeypatch.setattr(quantization, "_speedup", lambda *a: 1.04 if how == "slower" else 3.0)
    if how == "larger":
        monkeypatch.setattr(quantization, "_write", lambda source, target, *a: target.write_bytes(source.read_bytes()))
    if how == "worse":
        real = quantization.classification_report

        def worse(truth: Any, predicted: Any, names: Any) -> Any:
            report, worse_report = real(truth, predicted, names), real(truth, [0] * len(truth), names)
            return report if list(predicted) == list(truth) else worse_report

        monkeypatch.setattr(quantization, "classification_report", worse)
        monkeypatch.setattr(quantization, "_write", flatten)
    before = contents(own.path)
    with pytest.raises(ParityError, match=message) as raised:
        quantize(own, texts, labels, tolerance=0.01)
    for part in ("the static int8 program", " MB against ", "accuracy", "on 200 rows", "nothing was written"):
        assert part in str(raised.value)
    assert contents(own.path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def flatten(source: Path, target: Path, *rest: Any) -> None:
    """A program that has lost its head: the weights of the head are zero."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(source))
    for tensor in model.graph.initializer:
        if list(tensor.dims) == [256, 3]:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros((256, 3), dtype=np.float32), tensor.name))
    del model.metadata_props[:]
    for node in model.graph.node:
        node.name = ""
        node.doc_string = ""
    onnx.save(model, str(target))
    target.write_bytes(target.read_bytes())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, r"precision is 'int4'; did you mean 'int8'"),
        ({"precision": "fp32"}, "precision is 'fp32'"),
        ({"method": "statik"}, r"method is 'statik'; of int8, did you mean 'static'"),
        ({"precision": "fp16", "method": "static"}, "method is 'static'; of fp16"),
        ({"tolerance": -0.1}, r"tolerance is -0\.1; expected accuracy that may be lost, 0 to 1"),
        ({"tolerance": 1.1}, r"tolerance is 1\.1"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"texts": 49, "labels": 49}, "49 labelled rows are too few; expected 50 or more"),
        ({"texts": 60, "labels": 59}, "60 texts and 59 labels"),
        ({"texts": 0, "labels": 0}, "0 labelled rows are too few"),
        ({"wrong": "excellent"}, "row 3 has the label 'excellent', which the bundle does not know"),
    ],
)
def test_arguments_that_are_not_legal(bundle: Bundle, rows: Any, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    given = dict(options)
    texts, labels = rows[0][: given.pop("texts", 60)], rows[1][: given.pop("labels", 60)]
    labels = [*labels[:3], given.pop("wrong"), *labels[4:]] if "wrong" in given else labels
    with pytest.raises(DataError, match=message):
        quantize(bundle, texts, labels, target=tmp_path / "bundle", **given)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_without_a_program(rows: Any, tmp_path: Path) -> None:
    bare = write_bundle(tmp_path / "bundle", large_content(), engines=[])
    before = contents(bare.path)
    with pytest.raises(BundleError, match="no files for the engine 'onnxruntime'"):
        quantize(bare, *rows)
    assert contents(bare.path) == before


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_without_onnx_the_extra_is_named(bundle: Bundle, rows: Any, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match="quantization needs onnx; install it with: pip install"):
        quantize(bundle, *rows, precision=precision)


def test_a_program_that_cannot_be_quantized(bundle: Bundle, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime.quantization as tools

    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("unsupported operator")

    monkeypatch.setattr(tools, "quantize_static", fail)
    with pytest.raises(BundleError, match=r"onnxruntime cannot quantize .*RuntimeError: unsupported operator"):
        quantize(bundle, *rows, target=tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_the_application_s_logging_is_left_alone(bundle: Bundle, rows: Any, tmp_path: Path) -> None:
    logging.getLogger().setLevel(logging.INFO)
    quantize(bundle, rows[0][:60], rows[1][:60], tolerance=0.5, target=tmp_path / "bundle")
    assert logging.getLogger().level == logging.INFO


def test_a_file_that_is_in_the_way_or_changed(small: Bundle, tmp_path: Path) -> None:
    own = own_copy(small, tmp_path)
    file = own.path / "onnx" / "model.int8.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"onnx/model\.int8\.onnx .*has changed"):
        Predictor(own.path, precision="int8")
    file.unlink()
    with pytest.raises(BundleError, match=r"lacks its file onnx/model\.int8\.onnx"):
        Bundle.open(own.path)


def test_a_resealed_bundle_keeps_its_program(small: Bundle, tmp_path: Path) -> None:
    found = reseal(small, tmp_path / "bundle", temperature=2.0)
    texts = make_texts(20)
    assert found.manifest.quantized == small.manifest.quantized
    same = [answer["label"] for answer in Predictor(small, precision="int8").predict(texts)]
    assert [answer["label"] for answer in Predictor(found, precision="int8").predict(texts)] == same


def test_neither_paddle_nor_leftovers(bundle: Bundle, rows: Any, tmp_path: Path) -> None:
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom paddlenlp_embtune.export import quantization, quantize\n"
        "quantization._speedup = lambda *given: 2.0\n"
        "from paddlenlp_embtune.bundle import Bundle\n"
        "rows = json.loads(sys.stdin.read())\n"
        "found = quantize(Bundle.open(sys.argv[1]), *rows, tolerance=0.5, target=Path('out') / 'bundle')\n"
        "print(sorted(found.manifest.quantized), 'paddle' in sys.modules)\n"
    )
    import json

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(bundle.path)],
        input=json.dumps([rows[0][:60], rows[1][:60]]),
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.stdout == "['int8'] False\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bundle"]
