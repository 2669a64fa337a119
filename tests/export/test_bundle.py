"""Bundles: written whole or not at all, proven, and refused when anything about them has changed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, ParityError, PluginError
from paddlenlp_embtune.export import add_engines, write_bundle
from paddlenlp_embtune.export.parity import live_answers, parity_batches, verify_parity
from paddlenlp_embtune.inference import EngineOptions, Predictor
from paddlenlp_embtune.plugin import registry
from tests.bundles import ENGINES, TEXTS, content, names
from tests.helpers import edit_manifest


def test_every_engine_is_proven(bundle: Bundle) -> None:
    assert set(bundle.manifest.parity) == {"paddle", *ENGINES}
    for name, record in bundle.manifest.parity.items():
        assert record.max_probability_difference < 1e-5, name
        assert record.same_labels
        assert record.texts >= len(TEXTS)


def test_engines_answer_alike_whatever_the_batches(bundle: Bundle) -> None:
    texts = [text for text in TEXTS for _ in range(3)]
    reference = Predictor(bundle, engine="paddle", batch_size=1).probabilities(texts)
    for engine in ("onnxruntime", "paddle_inference", "paddle"):
        for size in (1, 4, 64):
            found = Predictor(bundle, engine=engine, batch_size=size).probabilities(texts)
            np.testing.assert_allclose(found, reference, atol=1e-5, err_msg=f"{engine}, batches of {size}")


def test_the_onnx_file_is_what_it_says(bundle: Bundle) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(bundle.path / "onnx" / "model.onnx"))
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    (ids,) = model.graph.input
    assert (ids.name, [d.dim_param for d in ids.type.tensor_type.shape.dim]) == ("input_ids", ["batch", "length"])
    assert [output.name for output in model.graph.output] == ["logits", "vectors"]
    weights = (bundle.path / "weights.safetensors").stat().st_size
    assert (bundle.path / "onnx" / "model.onnx").stat().st_size < weights + 40_000


def test_export_leaves_the_live_model_as_it_was(tmp_path: Path) -> None:
    made = content()
    made.model.train()
    write_bundle(tmp_path / "bundle", made, engines=ENGINES)
    assert made.model.training
    ids = paddle.to_tensor([[2, 3, 4]])
    paddle.nn.functional.cross_entropy(made.model(ids), paddle.to_tensor([0])).backward()
    assert made.model.embedding.weight.grad is not None


def test_a_program_that_answers_otherwise_is_not_written(tmp_path: Path) -> None:
    class Wrong:
        def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
            self.engine = original(bundle, options)

        def run(self, input_ids: np.ndarray) -> np.ndarray:
            logits = self.engine.run(input_ids)
            logits[..., 0] += 1e-3
            return logits

    current = registry.current()
    original = current.get("engine", "onnxruntime")
    (key,) = [key for key in current._entries if key == ("engine", "onnxruntime")]
    entry = current._entries[key]
    current._entries[key] = registry.Entry("engine", "onnxruntime", Wrong, "test")
    try:
        with pytest.raises(ParityError, match="'onnxruntime' differs from the live model by"):
            write_bundle(tmp_path / "bundle", content(), engines=["onnxruntime"])
    finally:
        current._entries[key] = entry
    assert names(tmp_path) == set()


def test_a_model_whose_answers_depend_on_padding_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="depend on padding"):
        write_bundle(tmp_path / "bundle", content(padding=1.0), engines=["onnxruntime"])
    assert names(tmp_path) == set()


def test_parity_batches_mix_where_they_are_small_and_hold_every_text_once() -> None:
    texts = [[number] * (5 + number % 20) for number in range(1000, 1256)]
    batches = parity_batches(texts, vocabulary_size=1000, max_length=256)
    rows = [[token for token in row.tolist() if token] for batch in batches for row in batch]
    assert sorted(row for row in rows if row[0] >= 1000) == texts
    assert len(rows) == len(texts) + 28
    assert max(map(len, rows)) == 256
    assert {batch.shape[0] for batch in batches} >= {1, 2, 3, 4, 16, 32}
    assert all(batch.size <= 1024 or len(batch) == 1 for batch in batches)
    assert any((batch == 0).sum() > batch.size / 3 for batch in batches if len(batch) <= 7)
    # Padding took three quarters of the work when long random rows stood beside headlines in batches of all sizes.
    assert sum(batch.size for batch in batches) < 2 * sum(map(len, rows))
    assert [batch.tolist() for batch in parity_batches(texts, vocabulary_size=1000, max_length=256)] == [
        batch.tolist() for batch in batches
    ]


def test_parity_runs_small_batches_again_after_all_others(bundle: Bundle) -> None:
    class Moody:
        calls = 0

        def run(self, input_ids: np.ndarray) -> np.ndarray:
            Moody.calls += 1
            return made.model(paddle.to_tensor(input_ids)).numpy() * (1.5 if Moody.calls == 4 else 1.0)

    made = content()
    made.model.eval()
    batches = parity_batches([], vocabulary_size=10, max_length=8)
    with pytest.raises(ParityError):
        verify_parity(live_answers(made.model, batches), Moody(), name="moody")


def test_engines_can_be_added_later(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "bundle", content(), engines=[])
    assert set(first.manifest.engines) == {"paddle"}
    with pytest.raises(BundleError, match=r"no files for the engine 'onnxruntime'; .*embtune export"):
        Predictor(first)
    second = add_engines(first, first.path, engines=["onnxruntime"])
    assert set(second.manifest.engines) == {"paddle", "onnxruntime"}
    expected = Predictor(first, engine="paddle").probabilities(TEXTS)
    np.testing.assert_allclose(Predictor(second).probabilities(TEXTS), expected, atol=1e-5)
    assert names(tmp_path) == {f"bundle/{name}" for name in names(second.path)} | {"bundle"}


@pytest.mark.parametrize("name", ["weights.safetensors", "onnx/model.onnx", "vocab.txt", "paddle/model.pdiparams"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_changed_file_is_refused(bundle: Bundle, tmp_path: Path, name: str, damage: str) -> None:
    copy = tmp_path / "bundle"
    subprocess.run(["cp", "-r", str(bundle.path), str(copy)], check=True)
    data = bytearray((copy / name).read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(bytes(data))
    elif damage == "truncate":
        (copy / name).write_bytes(bytes(data[:-7]))
    else:
        (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema version 99; this release reads 1 and 2"),
        ({"vocabulary_sha256": "0" * 64}, "was trained with the vocabulary 000000000000"),
        ({"labels": "利好"}, "labels must be a list"),
        ({"surprise": 1}, "has no key 'surprise'"),
        ({"files": {"../outside": "0"}}, "must be inside the bundle"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(bundle: Bundle, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    copy = tmp_path / "bundle"
    subprocess.run(["cp", "-r", str(bundle.path), str(copy)], check=True)
    edit_manifest(copy, lambda manifest: manifest.update(change))
    with pytest.raises(BundleError, match=message):
        Bundle.open(copy)


def test_another_vocabulary_is_refused_where_the_weights_are_damaged_too(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    subprocess.run(["cp", "-r", str(bundle.path), str(copy)], check=True)
    (copy / "vocab.txt").write_text("[PAD]\n[UNK]\n", encoding="utf-8")
    (copy / "weights.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(BundleError, match="was trained with the vocabulary"):
        Bundle.open(copy)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [300, 3_000])
def test_a_disk_that_takes_no_more_leaves_nothing_behind(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files makes every writer fail as a full disk does: in Python, in Rust and in the child process."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from tests.bundles import content;"
        "from paddlenlp_embtune.errors import BundleError; from paddlenlp_embtune.export import write_bundle;"
        "made = content(); signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n    write_bundle(Path(sys.argv[1]), made, engines=['onnxruntime'])\n"
        "except BundleError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "bundle")]
    done = subprocess.run(command, check=True, text=True, capture_output=True, cwd=Path(__file__).parents[2])
    assert "nothing was left behind" in done.stdout
    assert names(tmp_path) == set()


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_the_old_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", content(), engines=["onnxruntime"])
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path) if (tmp_path / name).is_file()}
    script = (
        "import os, signal, sys; from pathlib import Path; from tests.bundles import content;"
        "from paddlenlp_embtune.export import BundleBuilder, write_bundle;"
        "BundleBuilder.add_engines = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL);"
        "write_bundle(Path(sys.argv[1]), content(), engines=[])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "bundle")], check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == -signal.SIGKILL
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    write_bundle(tmp_path / "bundle", content(), engines=[])
    assert {path.name for path in tmp_path.iterdir()} == {"bundle"}


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError, match="is no bundle, so it will not be replaced"):
        write_bundle(tmp_path / "bundle", content(), engines=[])


def test_an_unknown_exporter_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"no exporter is called 'tensorrt'; .*expected onnxruntime or paddle_inference"):
        write_bundle(tmp_path / "bundle", content(), engines=["tensorrt"])
