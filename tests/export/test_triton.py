"""The repository for Triton: its configuration, and the model of the Python backend, fed as Triton feeds it."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.export.bundle_writer import reseal
from paddlenlp_embtune.export.triton import write_triton
from paddlenlp_embtune.inference import Predictor
from tests.bundles import TEXTS


class Tensor:
    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name, self.values = name, values

    def as_numpy(self) -> np.ndarray:
        return self.values


class Response:
    def __init__(self, tensors: list[Tensor], error: Exception | None = None) -> None:
        self.tensors = {tensor.name: tensor.values for tensor in tensors}
        self.error = error


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Triton puts into the Python of its backend, as far as its documentation says."""
    module = types.ModuleType("triton_python_backend_utils")
    named: dict[str, Any] = {
        "Tensor": Tensor,
        "InferenceResponse": Response,
        "TritonError": RuntimeError,
        "get_input_tensor_by_name": lambda request, name: request[name],
    }
    for name, value in named.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def repository(bundle: Bundle, tmp_path: Path) -> Path:
    write_triton(bundle, tmp_path / "models", name="finance")
    return tmp_path / "models"


def request(values: list[Any]) -> dict[str, Tensor]:
    return {"TEXT": Tensor("TEXT", np.array(values, dtype=np.object_).reshape(-1, 1))}


def test_texts_are_answered_as_the_predictor_does(bundle: Bundle, repository: Path, triton: None) -> None:
    spec = importlib.util.spec_from_file_location("model", repository / "finance" / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    config = {"parameters": {"precision": {"string_value": "fp32"}}}
    model.initialize(
        {"model_repository": str(repository / "finance"), "model_version": "1", "model_config": json.dumps(config)}
    )
    encoded = [text.encode() for text in TEXTS]
    first, broken, second, nothing = model.execute(
        [request(encoded[:3]), request([b"\xff"]), request(encoded[3:]), request([])]
    )
    model.finalize()
    expected = Predictor(bundle).predict(TEXTS, scores=True)
    labels = [row[0].decode() for response in (first, second) for row in response.tensors["LABEL"]]
    assert labels == [answer["label"] or "" for answer in expected]
    scores = np.concatenate([first.tensors["SCORES"], second.tensors["SCORES"]])
    np.testing.assert_allclose(scores, [list(answer["scores"].values()) for answer in expected], atol=1e-6)
    assert first.tensors["SCORE"].shape == (3, 1)
    assert "byte 0 is 0xff" in str(broken.error)
    assert nothing.tensors["SCORES"].shape == (0, 3)


def test_ids_are_answered_by_the_program_itself(bundle: Bundle, repository: Path) -> None:
    session = onnxruntime.InferenceSession(str(repository / "finance_ids" / "1" / "model.onnx"))
    ids = np.array([bundle.tokenizer.encode(TEXTS[0])])
    expected = Predictor(bundle).engine.run(ids)
    np.testing.assert_allclose(session.run(["logits"], {"input_ids": ids})[0], expected, atol=1e-6)


def test_the_configuration_states_names_types_and_sizes(repository: Path) -> None:
    by_text = (repository / "finance" / "config.pbtxt").read_text(encoding="utf-8")
    by_ids = (repository / "finance_ids" / "config.pbtxt").read_text(encoding="utf-8")
    found = [re.findall(r'name: "(\w+)" data_type: (\w+) dims: \[ (-?\d+) \]', text) for text in (by_text, by_ids)]
    assert found == [
        [
            ("TEXT", "TYPE_STRING", "1"),
            ("LABEL", "TYPE_STRING", "1"),
            ("SCORE", "TYPE_FP32", "1"),
            ("SCORES", "TYPE_FP32", "3"),
        ],
        [("input_ids", "TYPE_INT64", "-1"), ("logits", "TYPE_FP32", "3")],
    ]
    assert '\nname: "finance"\nbackend: "python"\n' in by_text
    assert '\nname: "finance_ids"\nbackend: "onnxruntime"\n' in by_ids


def test_writing_again_replaces_and_strangers_are_left_alone(bundle: Bundle, repository: Path) -> None:
    write_triton(bundle, repository, name="finance", max_batch_size=3)
    assert "max_batch_size: 3" in (repository / "finance" / "config.pbtxt").read_text(encoding="utf-8")
    (repository / "other").mkdir()
    (repository / "other" / "precious").touch()
    (repository / "other" / "config.pbtxt").write_text('name: "other"\n', encoding="utf-8")
    with pytest.raises(BundleError, match="is not ours"):
        write_triton(bundle, repository, name="other")
    assert {path.name for path in (repository / "other").iterdir()} == {"config.pbtxt", "precious"}


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "a b"])
def test_a_name_that_is_no_folder_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="the model's name is"):
        write_triton(bundle, tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


def test_the_model_of_another_bundle_is_not_replaced_unasked(bundle: Bundle, repository: Path, tmp_path: Path) -> None:
    other = reseal(bundle, tmp_path / "other", labels=("x", "y", "z"))
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    with pytest.raises(BundleError, match=r"finance holds the model of another bundle.*--name.*--overwrite"):
        write_triton(other, repository, name="finance")
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before
    write_triton(other, repository, name="second")
    with pytest.raises(BundleError, match=r"second_ids holds the model of another bundle"):
        write_triton(bundle, repository, name="second_ids")
    assert write_triton(other, repository, name="finance", overwrite=True)[0] == repository / "finance"
    kept = repository / "finance" / "1" / "bundle"
    assert Bundle.open(kept).manifest.labels == ("x", "y", "z")
