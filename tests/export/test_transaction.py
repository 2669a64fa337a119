"""A bundle in one transaction: each engine reads labelled rows once, each file is hashed once, a step that fails is undone."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, DataError, PluginError
from paddlenlp_embtune.export import _staged_files, calibrate, edit_bundle, new_bundle
from paddlenlp_embtune.inference import OnnxRuntimeEngine, Predictor
from tests.bundles import content, names
from tests.helpers import hidden

ROWS = (["公司拟回购股份", "控股股东减持", "今天开会"] * 10, ["轻微利好", "轻微利空", "中性"] * 10)


@pytest.fixture
def own(tmp_path: Path) -> Bundle:
    return Bundle.open(shutil.copytree(FINANCE / "bundle", tmp_path / "bundle"))


def test_a_step_that_fails_is_undone_and_the_rest_is_written(tmp_path: Path) -> None:
    with new_bundle(tmp_path / "bundle", content()) as builder:
        builder.prove()
        before = names(builder.folder)
        with pytest.raises(PluginError, match="no exporter is called 'tensorrt'"):
            builder.add_engines(["onnxruntime", "tensorrt"])
        assert names(builder.folder) == before
        with pytest.raises(BundleError, match="no files for the engine 'onnxruntime'"):
            builder.quantize(builder.rows(["公司"] * 60, ["利好"] * 60))
        assert names(builder.folder) == before
    assert set(builder.bundle.manifest.engines) == set(builder.bundle.manifest.parity) == {"paddle"}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_exporter_that_fails_half_way_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(layer: Any, folder: Path) -> tuple[str, ...]:
        (folder / "half").mkdir()
        (folder / "half" / "program").write_bytes(b"x")
        raise RuntimeError("half way")

    with new_bundle(tmp_path / "bundle", content()) as builder:
        with monkeypatch.context() as patch:
            patch.setattr("paddlenlp_embtune.export.builder.find_exporters", lambda names: {"half": broken})
            with pytest.raises(RuntimeError, match="half way"):
                builder.add_engines(["half"])
        builder.add_engines(["onnxruntime"])
    assert "half/program" not in builder.bundle.manifest.files
    assert Predictor(builder.bundle).predict(["公司"])[0]["label"]


def test_an_engine_that_nobody_proved_is_proven_before_the_seal(tmp_path: Path) -> None:
    with new_bundle(tmp_path / "bundle", content()):
        pass
    assert Bundle.open(tmp_path / "bundle").manifest.parity["paddle"].same_labels


def test_each_engine_reads_the_rows_once(own: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = Counter[bytes](), OnnxRuntimeEngine.run

    def counted(engine: OnnxRuntimeEngine, ids: Any) -> Any:
        read.update(np.asarray(row).tobytes() for row in ids)
        return real(engine, ids)

    monkeypatch.setattr(OnnxRuntimeEngine, "run", counted)
    texts, labels = ROWS
    with edit_bundle(own, own.path) as builder:
        rows = builder.rows(texts, labels)
        builder.calibrate(rows)
        found = rows.probabilities("onnxruntime")
        again = rows.at_temperature("onnxruntime")(builder.manifest.temperature)
        np.testing.assert_array_equal(found, again)
        assert sum(read.values()) == len(texts)
    np.testing.assert_array_equal(found, Predictor(builder.bundle).probabilities(texts))


def test_files_that_stay_are_hashed_while_they_are_copied_and_never_again(own: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    real = _staged_files.sha256_of
    monkeypatch.setattr(_staged_files, "sha256_of", lambda path: hashed.append(path.name) or real(path))
    monkeypatch.setattr("paddlenlp_embtune.bundle.reader.sha256_of", lambda path: hashed.append(path.name) or real(path))
    found = calibrate(own, *ROWS)
    assert sorted(hashed) == ["fixtures.jsonl", "interface.json"]
    monkeypatch.undo()
    assert Bundle.open(own.path).manifest == found.manifest


def test_a_file_that_changed_since_the_bundle_was_opened_is_refused(own: Bundle) -> None:
    weights = own.path / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    before = {path: path.read_bytes() for path in own.path.rglob("*") if path.is_file()}
    with pytest.raises(BundleError, match=r"weights.safetensors of the bundle .* has changed since it was opened"):
        calibrate(own, *ROWS)
    assert {path: path.read_bytes() for path in own.path.rglob("*") if path.is_file()} == before
    assert hidden(own.path.parent) == []


def test_the_bundle_is_there_when_the_transaction_has_ended(own: Bundle, tmp_path: Path) -> None:
    with edit_bundle(own, tmp_path / "other") as builder, pytest.raises(BundleError, match="is not written yet"):
        _ = builder.bundle
    assert builder.bundle.path == tmp_path / "other"
    with pytest.raises(DataError, match="too few"), edit_bundle(own, tmp_path / "third") as builder:
        builder.calibrate(builder.rows(["公司"], ["中性"]))
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "other"}
