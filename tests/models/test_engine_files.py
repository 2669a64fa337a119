"""The files that the engine ``paddle`` rebuilds a layer from: whatever is wrong with them, one line says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.models.paddle_engine import load_layer

WEIGHTS, MODEL = "weights.safetensors", "model.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (WEIGHTS, MODEL):
        shutil.copyfile(FINANCE / "bundle" / name, tmp_path / name)
    return tmp_path


def config(**values: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        found = json.loads((folder / MODEL).read_text(encoding="utf-8"))
        found["config"].update(values)
        (folder / MODEL).write_text(json.dumps(found), encoding="utf-8")

    return change


def weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        found = dict(load_file(folder / WEIGHTS))
        change(found)
        save_file(found, folder / WEIGHTS)

    return write


def text(content: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / MODEL).write_text(content, encoding="utf-8")


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no model.json": (lambda folder: (folder / MODEL).unlink(), r"lacks model\.json"),
    "deep": (text('{"a":' * 100_000), r"model\.json nests deeper"),
    "digits": (text('{"name": ' + "9" * 5000 + "}"), r"model\.json is not valid JSON"),
    "a list": (text("[]"), r"model\.json says \[\]"),
    "no config": (text('{"name": "textcnn"}'), r"model\.json says"),
    "a size of 1e12": (config(dimension=10**12), r"model\.json says"),
    "a size of 10^9": (config(dimension=10**9), r"dimension in model\.json is 1,000,000,000, and the longest dimension"),
    "a size that is a list": (config(num_labels=[2]), r"model\.json says"),
    "a size that is true": (config(num_labels=True), r"model\.json says"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), r"weights\.safetensors cannot be read"),
    "cut weights": (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9]), "cannot be read"),
    "a weight less": (weights(lambda found: found.pop("embedding.weight")), r"'embedding\.weight' in .* is missing"),
    "another shape": (
        weights(lambda found: found.update({"embedding.weight": np.zeros((len(found["embedding.weight"]), 3), np.float32)})),
        r"'embedding\.weight' in weights\.safetensors has the shape",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_damaged_files_are_refused_in_one_line(case: str, folder: Path) -> None:
    change, message = CASES[case]
    change(folder)
    with pytest.raises(BundleError, match=message) as caught:
        load_layer(folder)
    assert "\n" not in str(caught.value)


def test_the_files_of_the_bundle_in_the_box(folder: Path) -> None:
    layer = load_layer(folder)
    assert set(layer.state_dict()) == set(load_file(folder / WEIGHTS))
