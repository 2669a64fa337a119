"""``bundle.json`` under attack: every flipped bit, and manifests that somebody who can seal them has made to lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.bundle.manifest_seal import read_sealed, sealed_text
from paddlenlp_embtune.errors import BundleError, DataError, EmbtuneError, RecipeError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.utils.files.atomic_io import sha256_of
from tests.helpers import edit_manifest

BUNDLE = FINANCE / "bundle"
TEXT = "公司拟以十亿元回购股份并全部注销"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))


def test_every_flipped_bit_is_refused() -> None:
    content, opened = (BUNDLE / "bundle.json").read_bytes(), []
    read_sealed(content, "bundle.json")
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            read_sealed(bytes(flipped), "bundle.json")
        except BundleError:
            continue
        opened.append(bit)
    assert 8 * len(content) > 48_000
    assert opened == []


def test_other_damage_is_refused_too() -> None:
    content = (BUNDLE / "bundle.json").read_bytes()
    generator = np.random.default_rng(0)
    places = [int(at) for at in generator.integers(0, len(content), 3000)]
    damaged = [content[:at] for at in places]
    damaged += [content[:at] + content[at + 1 :] for at in places]
    damaged += [content[:at] + b" " + content[at:] for at in places]
    damaged += [content[:at] + bytes(generator.integers(0, 256, 4, dtype=np.uint8)) + content[at + 4 :] for at in places]
    damaged += [content + b"\n", content + b" ", b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n"), content * 2]
    for one in damaged:
        if one != content:
            with pytest.raises(BundleError):
                read_sealed(one, "bundle.json")


def test_flipped_bits_are_refused_where_a_bundle_is_opened(copy: Path) -> None:
    file = copy / "bundle.json"
    content = file.read_bytes()
    for bit in range(3, 8 * len(content), 397):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        with pytest.raises(BundleError, match=r"bundle\.json"):
            Bundle.open(copy)


def test_a_seal_that_is_taken_off_is_missed(copy: Path) -> None:
    manifest = json.loads((copy / "bundle.json").read_text(encoding="utf-8"))
    seal = manifest.pop("seal")
    for version, extra in ((2, {}), (1, {"seal": seal}), (True, {}), (1.0, {}), ("1", {}), (None, {}), (3, {}), ([1], {})):
        (copy / "bundle.json").write_text(json.dumps({**manifest, "schema_version": version, **extra}), encoding="utf-8")
        with pytest.raises(BundleError, match=r"has changed since it was written|has the schema version"):
            Bundle.open(copy)
    (copy / "bundle.json").write_text(sealed_text({**manifest, "schema_version": 1}), encoding="utf-8")
    with pytest.raises(BundleError, match="version 1 has no seal"):
        Bundle.open(copy)


def test_a_bundle_of_schema_1_still_opens_and_is_sealed_when_it_is_written_again(copy: Path, tmp_path: Path) -> None:
    from paddlenlp_embtune.export.bundle_writer import reseal

    manifest = json.loads((copy / "bundle.json").read_text(encoding="utf-8"))
    del manifest["seal"], manifest["teacher"]  # a field that came later
    manifest["metrics"]["strange"] = float("nan")  # as a measure of a plugin once wrote it
    (copy / "bundle.json").write_text(json.dumps({**manifest, "schema_version": 1}), encoding="utf-8")
    with Predictor(copy) as old, Predictor(BUNDLE) as new:
        assert old.predict([TEXT], scores=True) == new.predict([TEXT], scores=True)
    written = reseal(Bundle.open(copy), tmp_path / "again")
    assert (written.manifest.schema_version, written.manifest.metrics["strange"]) == (2, None)


DEEP = "[" * 100_000 + "]" * 100_000
CONTENTS = {
    "nothing": "",
    "a list": "[]",
    "a number": "3",
    "100,000 levels": '{"schema_version": 1, "metrics": ' + DEEP + "}",
    "5,000 digits": '{"schema_version": 1, "max_length": ' + "9" * 5000 + "}",
    "5,000 digits as the version": '{"schema_version": ' + "9" * 5000 + "}",
    "1e400": '{"schema_version": 1, "temperature": 1e400}',
    "a key twice": '{"schema_version": 1, "labels": [], "labels": []}',
    "bytes": "\x00\xff",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_files_that_hold_no_manifest(copy: Path, content: str) -> None:
    (copy / "bundle.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(BundleError, match=r"bundle\.json"):
        Bundle.open(copy)


def put(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest.update(values)


def rename(old: str, new: str) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["files"].update({new: manifest["files"][old]})


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["files"].pop(name)


HASH = "0" * 64
LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    **{f"{count} labels": put(labels=[str(number) for number in range(count)]) for count in (0, 1, 3, 4, 6, 7, 5000)},
    "labels in another order": put(labels=["强烈利好", "轻微利好", "中性", "轻微利空", "强烈利空"]),
    "a label twice": put(labels=["强烈利空", "强烈利空", "中性", "轻微利好", "强烈利好"]),
    "a label of no text": put(labels=["强烈利空", 3, "中性", "轻微利好", "强烈利好"]),
    "a label of null": put(labels=[None, "轻微利空", "中性", "轻微利好", "强烈利好"]),
    "an empty label": put(labels=["", "轻微利空", "中性", "轻微利好", "强烈利好"]),
    "a blank label": put(labels=[" ", "轻微利空", "中性", "轻微利好", "强烈利好"]),
    "half a character": put(labels=["\ud800", "轻微利空", "中性", "轻微利好", "强烈利好"]),
    "labels in a mapping": put(labels={"强烈利空": 1}),
    **{
        f"temperature {value}": put(temperature=value)
        for value in (
            0,
            -1,
            1e-300,
            5e-324,
            1e-45,
            1e-39,
            1e-30,
            1e39,
            1e300,
            True,
            None,
            [],
            "nan",
            "inf",
            "-inf",
            "1e-300",
            0.9,
        )
    },
    **{
        f"threshold {value}": put(thresholds={"中性": value})
        for value in (-0.1, 1.1, "nan", "inf", 1e300, None, True, [0.5], {})
    },
    "threshold of an unknown label": put(thresholds={"利好": 0.5}),
    **{f"max_length {value}": put(max_length=value) for value in (0, -1, 10**12, 10**30, 129, 1.5, "128", True, None, [128])},
    **{
        f"windows {value}": put(windows=value)
        for value in (
            {"overlap_tokens": -1},
            {"overlap_tokens": 1.5},
            {"aggregate": "median"},
            {"aggregate": 3},
            [],
            True,
            "mean",
            {"x": 1},
            {},
        )
    },
    "ordered as a text": put(ordered="yes"),
    "not ordered": put(ordered=False),
    "no engines": put(engines={}),
    "an engine without files": put(engines={"onnxruntime": []}),
    "engines in a list": put(engines=["onnxruntime"]),
    "an engine's file outside": put(engines={"onnxruntime": ["../../model.onnx"]}),
    "an engine's file without a hash": put(engines={"onnxruntime": ["onnx/other.onnx"]}),
    "an engine's file that is a number": put(engines={"onnxruntime": [3]}),
    "quantized outside": put(quantized={"int8": {"file": "../x.onnx"}}),
    "quantized in part": put(quantized={"int8": {"file": "onnx/model.onnx"}}),
    "quantized as a text": put(quantized="int8"),
    "parity that is infinite": lambda manifest: manifest["parity"]["paddle"].update(max_probability_difference="inf"),
    "parity as a list": put(parity=[]),
    **{
        f"a file named {name!r}": rename("vocab.txt", name)
        for name in (
            "/etc/passwd",
            "../vocab.txt",
            "onnx/../../bundle/vocab.txt",
            "onnx/../vocab.txt",
            "./vocab.txt",
            "onnx//model.onnx",
            "onnx/",
            "",
            ".",
            "..",
            "vocab.txt\0",
            "onnx\\model.onnx",
            "C:/vocab.txt",
            "C:vocab.txt",
            "bundle.json",
            "\ud800",
            "x" * 5000,
            "no such file",
            "onnx",
        )
    },
    **{
        f"the hash {str(digest)[:5]!r}": put(files={"vocab.txt": digest})
        for digest in ("", HASH[1:], HASH, "G" * 64, None, 3, [])
    },
    **{
        f"without {name}": drop(name)
        for name in ("vocab.txt", "weights.safetensors", "model.json", "interface.json", "fixtures.jsonl", "onnx/model.onnx")
    },
    "no files": put(files={}),
    "files in a list": put(files=["vocab.txt"]),
    "another vocabulary": put(vocabulary_sha256=HASH),
    "a vocabulary of null": put(vocabulary_sha256=None),
    **{
        f"the tokenizer {value}": put(tokenizer=value)
        for value in (
            {},
            [],
            None,
            {"name": 3},
            {"name": "char", "lowercase": False},
            {"name": "char", "x": 1},
            {"name": "word"},
            {"name": ["char"]},
        )
    },
    "an unknown key": put(surprise=1),
    "a key less": lambda manifest: manifest.pop("labels"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_manifest_that_lies_is_refused_at_opening(copy: Path, lie: Callable[[dict[str, Any]], object]) -> None:
    edit_manifest(copy, lie)
    with pytest.raises(BundleError) as refused:
        Bundle.open(copy)
    assert len(str(refused.value)) < 1000
    assert "\n" not in str(refused.value)


def file_changed(folder: Path, name: str, content: bytes) -> None:
    """Put other content into a file, with the hash that fits."""
    (folder / name).write_bytes(content)
    edit_manifest(folder, lambda manifest: manifest["files"].update({name: sha256_of(folder / name)}))


@pytest.mark.parametrize("name", ["model.json", "interface.json", "fixtures.jsonl", "weights.safetensors", "onnx/model.onnx"])
@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"a": ' + DEEP.encode() + b"}", b"[" + b"9" * 5000 + b"]"]
)
@pytest.mark.parametrize("engine", ["onnxruntime", "paddle"])
def test_files_that_hold_something_else_with_the_right_hash(copy: Path, name: str, content: bytes, engine: str) -> None:
    file_changed(copy, name, content)
    needed = {"weights.safetensors": engine == "paddle", "onnx/model.onnx": engine == "onnxruntime"}.get(name, True)
    if needed:
        with pytest.raises(BundleError):
            Predictor(copy, engine=engine)
    else:
        Predictor(copy, engine=engine).close()


def in_all_files(folder: Path, labels: list[str]) -> None:
    """A thorough liar: every text file says that there are so many labels."""
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    model["config"]["num_labels"] = len(labels)
    file_changed(folder, "model.json", json.dumps(model).encode())
    told = json.loads((folder / "interface.json").read_text(encoding="utf-8"))
    told["answer"]["labels"], told["output"]["shape"] = labels, ["batch", len(labels)]
    file_changed(folder, "interface.json", json.dumps(told).encode())
    edit_manifest(folder, put(labels=labels))


@pytest.mark.parametrize("engine", ["onnxruntime", "paddle_inference", "paddle"])
@pytest.mark.parametrize("count", [2, 4, 6])
def test_a_thorough_liar_about_the_number_of_labels_is_refused_by_the_program(copy: Path, count: int, engine: str) -> None:
    in_all_files(copy, [f"label {number}" for number in range(count)])
    Bundle.open(copy)
    with pytest.raises(BundleError, match=rf"shape \(1, 5\); expected \(1, {count}\)|weight|bias"):
        Predictor(copy, engine=engine)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_program_that_gives_no_numbers_is_refused_at_opening(copy: Path, value: float) -> None:
    from safetensors.numpy import load_file, save

    arrays = load_file(copy / "weights.safetensors")
    bias = next(name for name, array in arrays.items() if array.shape == (5,))
    arrays[bias] = np.full_like(arrays[bias], value)
    file_changed(copy, "weights.safetensors", save(arrays))
    with pytest.raises(BundleError, match=r"in its logits; expected finite numbers"):
        Predictor(copy, engine="paddle")


def test_a_program_that_gives_nan_for_some_texts_only_is_found_when_it_does(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Predictor(copy) as predictor:
        real, bad = predictor.engine.run, predictor.bundle.vocabulary.ids["注"]

        def run(input_ids: Any) -> Any:
            return np.where((input_ids == bad).any(axis=1, keepdims=True), np.float32(np.nan), real(input_ids))

        monkeypatch.setattr(predictor.engine, "run", run)
        assert predictor.predict(["公司拟回购股份"])[0]["label"] in predictor.labels
        for call in (
            predictor.predict,
            predictor.probabilities,
            predictor.explain,
            lambda texts: list(predictor.stream(texts)),
        ):
            with pytest.raises(BundleError, match=r"gives nan in its logits"):
                call(["公司拟回购股份", TEXT])


def test_a_program_that_fails_is_an_error_of_the_bundle(copy: Path) -> None:
    with Predictor(copy) as predictor:
        for ids in ([[10**9]], [[-(10**9)]]):
            with pytest.raises(BundleError, match=r"model\.onnx fails on ids of shape \(1, 1\)"):
                predictor.engine.run(np.array(ids, dtype=np.int64))


def test_a_tokenizer_that_cannot_be_built_is_no_traceback_of_another_kind(copy: Path) -> None:
    interface = json.loads((copy / "interface.json").read_text(encoding="utf-8"))
    for config in ({"name": "char", "lowercase": 3}, {"name": "terms", "count": 10**9, "base": {"name": "char"}}):
        told = {**interface, "tokenizer": {**interface["tokenizer"], **config}}
        file_changed(copy, "interface.json", json.dumps(told).encode())
        edit_manifest(copy, put(tokenizer=config))
        with pytest.raises((BundleError, DataError, RecipeError)) as refused:
            Predictor(copy).predict([TEXT])
        assert isinstance(refused.value, EmbtuneError)
