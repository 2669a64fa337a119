"""Pickles of weights: what asks for more than arrays is refused in one line, and what frameworks write is read."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.errors import BundleError, VectorError
from paddlenlp_embtune.utils.pickles.numpy_arrays import read_arrays, read_values
from paddlenlp_embtune.utils.pickles.torch_arrays import read_torch_arrays
from tests.hostile.crafted_pickles import GOOD, HARMLESS, NOT_READ, SEVERAL, TENSORS_NOT_READ, WHOLE, named, torch_file


@pytest.mark.parametrize("case", NOT_READ)
def test_pickles_that_ask_for_more_are_refused(case: str, tmp_path: Path) -> None:
    file = tmp_path / "model_state.pdparams"
    file.write_bytes(NOT_READ[case])
    for read in (read_arrays, read_values):
        with pytest.raises(VectorError, match=r"model_state\.pdparams") as caught:
            read(file, error=VectorError)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700


@pytest.mark.parametrize("case", HARMLESS)
def test_odd_pickles_give_their_array(case: str, tmp_path: Path) -> None:
    file = tmp_path / "model_state.pdparams"
    file.write_bytes(HARMLESS[case])
    arrays = read_arrays(file, error=VectorError)
    assert list(arrays) == ["a"]
    np.testing.assert_array_equal(arrays["a"], np.frombuffer(b"A" * 24, "<f4").reshape(2, 3))


@pytest.mark.parametrize(
    "case", ["lists a hundred thousand deep", "a list that holds itself", "a tuple of two of itself, 64 times"]
)
def test_values_are_bounded_in_depth_and_number(case: str, tmp_path: Path) -> None:
    file = tmp_path / "optimizer.pdopt"
    file.write_bytes(HARMLESS[case])
    with pytest.raises(BundleError, match="nests deeper than 64 levels"):
        read_values(file, error=BundleError)


@pytest.mark.parametrize("case", TENSORS_NOT_READ)
def test_tensors_that_reach_beyond_are_refused(case: str, tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    file.write_bytes(torch_file(TENSORS_NOT_READ[case]))
    with pytest.raises(BundleError, match=r"pytorch_model\.bin cannot be read as tensors") as caught:
        read_torch_arrays(file, error=BundleError)
    assert "\n" not in str(caught.value)


def test_the_crafted_ones_differ_from_good_ones_in_one_thing(tmp_path: Path) -> None:
    """Or else they would be refused for nothing."""
    file = tmp_path / "file"
    file.write_bytes(named(GOOD))
    assert read_arrays(file, error=VectorError)["embeddings.word_embeddings.weight"].shape == (2, 3)
    file.write_bytes(torch_file(named(WHOLE)))
    np.testing.assert_array_equal(*[read_torch_arrays(file, error=VectorError).popitem()[1], np.arange(6.0).reshape(2, 3)])


def test_several_tensors(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(torch_file(SEVERAL))
    arrays = read_torch_arrays(file, error=VectorError)
    assert list(arrays) == ["whole", "tied", "turned", "half", "brain", "scalar"]
    assert arrays["tied"] is arrays["whole"]
    np.testing.assert_array_equal(arrays["turned"], arrays["whole"].T)
    np.testing.assert_array_equal(arrays["half"], [2, 4, 6])
    np.testing.assert_array_equal(arrays["brain"], [1.5, -2, 0, np.nan])
    assert arrays["scalar"] == 5
    file.write_bytes(torch_file(SEVERAL, stored={"0": bytes(24), "1": bytes(16)}))
    with pytest.raises(VectorError, match="storage 2 is missing"):
        read_torch_arrays(file, error=VectorError)


ARRAYS: dict[str, np.ndarray] = {
    **{code: np.arange(6).astype(code).reshape(2, 3) for code in ("<f2", "<f4", "<f8", "<i2", "<i4", "<i8", "u1", "<u2", "c8")},
    "big-endian": np.arange(6, dtype=">f4").reshape(2, 3),
    "Fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "bool": np.array([True, False]),
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 4), np.float32),
    "bytes of all values": np.arange(256, dtype=np.uint8),
    "one byte": np.array([7], np.int8),
    "long": np.arange(5000, dtype=np.float32),
    "long bytes": np.tile(np.arange(256, dtype=np.uint8), 40),
}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_numpys_arrays_are_read(protocol: int, tmp_path: Path) -> None:
    file = tmp_path / "model_state.pdparams"
    saved: dict[Any, Any] = {**ARRAYS, "same": ARRAYS["<f4"], "StructuredToParameterName@@": {"a": "b"}, 7: np.zeros(2)}
    file.write_bytes(pickle.dumps(OrderedDict(saved), protocol))
    arrays = read_arrays(file, error=VectorError)
    assert list(arrays) == [*ARRAYS, "same"]
    for key, value in ARRAYS.items():
        np.testing.assert_array_equal(arrays[key], value)
        assert arrays[key].dtype == value.dtype.newbyteorder("=")
        assert arrays[key].flags.writeable
    assert list(read_values(file, error=VectorError)) == [*saved]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_paddle_saves_is_read(protocol: int, tmp_path: Path) -> None:
    paddle = pytest.importorskip("paddle")
    layer = paddle.nn.Linear(3, 2000)
    schedule = paddle.optimizer.lr.LinearWarmup(paddle.optimizer.lr.PolynomialDecay(0.1, 9), 5, 0, 0.1)
    optimizer = paddle.optimizer.AdamW(learning_rate=schedule, parameters=layer.parameters())
    layer(paddle.ones([1, 3])).sum().backward()
    optimizer.step()
    file = tmp_path / "file"
    paddle.save(layer.state_dict(), str(file), protocol=protocol)
    arrays = read_arrays(file, error=VectorError)
    assert list(arrays) == ["weight", "bias"]
    np.testing.assert_array_equal(arrays["weight"], layer.weight.numpy())
    for state in (optimizer.state_dict(), schedule.state_dict(), {"a": {"b": layer.weight}, "c": [layer.bias, 1.5, None, "x"]}):
        paddle.save(state, str(file), protocol=protocol)
        assert_same(read_values(file, error=VectorError), paddle.load(str(file), return_numpy=True, keep_name_table=True))


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_pytorch_saves_is_read(method: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    base = torch.arange(60, dtype=torch.float32)
    state = {
        "transposed": base[:12].reshape(3, 4).T,
        "slice": base[20:50:3],
        "tied": base[:12].reshape(3, 4).T,
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.ones(2, 3)),
        "half": torch.ones(3, dtype=torch.float16),
        "bfloat16": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "empty bfloat16": torch.zeros(0, dtype=torch.bfloat16),
        "bool": torch.tensor([True, False]),
        "long": torch.arange(3),
    }
    network = torch.nn.Linear(2, 3)
    state.update(network.state_dict())
    ordered = network.state_dict()  # with _metadata, which is pickled as a state
    ordered.update(state)
    file = tmp_path / "pytorch_model.bin"
    torch.save({"state_dict": ordered, "epoch": 3}, file)
    if method == zipfile.ZIP_DEFLATED:
        with zipfile.ZipFile(file) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        with zipfile.ZipFile(file, "w", method) as archive:
            for each, content in members.items():
                archive.writestr(each, content)
    arrays = read_torch_arrays(file, error=BundleError)
    assert set(arrays) == set(state)
    for key, value in state.items():
        np.testing.assert_array_equal(arrays[key], value.detach().float().numpy(), err_msg=key)
        assert arrays[key].shape == tuple(value.shape)
    assert arrays["tied"] is arrays["transposed"]
    assert arrays["bool"].dtype == np.bool_


def test_zip_files_that_expand_or_repeat_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", named(WHOLE))
        archive.writestr("archive/data/0", b"\0" * (100 << 20))
    with pytest.raises(BundleError, match=r"its members claim 104,85.,... bytes"):
        read_torch_arrays(file, error=BundleError)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", named(WHOLE))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("archive/data.pkl", named(WHOLE))
    with pytest.raises(BundleError, match="two members of the same name"):
        read_torch_arrays(file, error=BundleError)
    content = bytearray(torch_file(named(WHOLE), stored={"0": bytes(24)}, method=zipfile.ZIP_DEFLATED))
    at = content.rindex(b"archive/data/0") - 46 + 24  # its size in the directory
    content[at : at + 4] = (12).to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(BundleError, match="storage 0 has 12 bytes, expected 6 values"):
        read_torch_arrays(file, error=BundleError)
