"""The interface: a port that knows nothing of our code comes to the same ids, logits and scores."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.export import add_engines, write_bundle
from paddlenlp_embtune.export.bundle_writer import reseal
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.text import CharTokenizer
from paddlenlp_embtune.text.windows import WindowSpec
from tests.bundles import TEXTS, content

SECRET = "密钥甲乙丙丁"
# Unicode's property White_Space, as PropList.txt has it.
WHITE_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
CONTROLS = "\x1c\x1d\x1e\x1f"


class Port:
    """What somebody writes who has the folder, Unicode and ONNX Runtime; the steps are those that interface.json gives."""

    def __init__(self, folder: Path) -> None:
        self.about: dict[str, Any] = json.loads((folder / "interface.json").read_text(encoding="utf-8"))
        said = self.about["tokenizer"]
        lines = (folder / said["vocabulary"]).read_text(encoding="utf-8").split("\n")
        self.ids = {line: number for number, line in enumerate(lines)}
        steps = said["steps"]
        (removed,) = (step for step in steps if step.startswith("Remove U+"))
        ranges = re.findall(r"U\+([0-9A-F]+)(?: to U\+([0-9A-F]+))?", removed)
        self.unwanted = [(int(first, 16), int(last or first, 16)) for first, last in ranges]
        replaced = "".join(step for step in steps if step.startswith("Replace U+2800"))
        self.replaced = {int(code, 16): int(other, 16) for code, other in re.findall(r"U\+(\w+) U\+(\w+)[,.]", replaced)}
        self.replaced |= {0x2800: 0x20} if replaced else {}
        self.session = onnxruntime.InferenceSession(str(folder / self.about["programs"]["fp32"]))

    def read(self, text: str) -> str:
        text = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
        text = "".join(c for c in text if not any(first <= ord(c) <= last for first, last in self.unwanted))
        text = text.translate(self.replaced)
        kept, run = "", 0
        for c in text:
            run = run + 1 if unicodedata.combining(c) else 0
            kept += c if run <= 30 else ""
        text = unicodedata.normalize("NFKC", kept)
        named = any("U+001C to U+001F" in step for step in self.about["tokenizer"]["steps"])
        text = re.sub(f"[{WHITE_SPACE}{CONTROLS if named else ''}]+", " ", text).strip(" ")
        return text.lower() if self.about["tokenizer"]["lowercase"] else text

    def encode(self, text: str) -> list[int]:
        said, text = self.about["tokenizer"], self.read(text)  # what cannot be seen has no ids without a further look
        return [self.ids.get(c, said["unknown_id"]) for c in text][: said["max_length"]]

    def logits(self, rows: list[list[int]]) -> np.ndarray:
        said = self.about["input"]
        batch = np.full((len(rows), max(map(len, rows))), said["padding_id"], dtype=said["dtype"])
        for row, ids in zip(batch, rows, strict=True):
            row[: len(ids)] = ids
        return self.session.run([self.about["output"]["name"]], {said["name"]: batch})[0]

    def scores(self, logits: np.ndarray, lengths: list[int]) -> np.ndarray:
        exponents = np.exp(logits.astype(np.float64))
        table = exponents / exponents.sum(axis=1, keepdims=True)
        method = (self.about["windows"] or {"aggregate": "mean"})["aggregate"]
        if method == "max":
            found = table.max(axis=0) / table.max(axis=0).sum()
        else:
            found = np.average(table, axis=0, weights=lengths if method == "length" else None)
        powers = found ** (1 / self.about["answer"]["temperature"])
        return powers / powers.sum()


def fixtures(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "fixtures.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = content(sample_texts=(*TEXTS, SECRET), windows=None)
    return write_bundle(tmp_path_factory.mktemp("run") / "bundle", made, engines=["onnxruntime"])


KINDS = ["plain", "mean", "length", "max", "warm", "case", "short", "finance"]


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    target = tmp_path_factory.mktemp("kind") / "bundle"
    kind = request.param
    if kind == "plain":
        yield bundle.path
        return
    if kind == "finance":
        yield reseal(Bundle.open(FINANCE / "bundle"), target, windows=WindowSpec()).path
        return
    if kind == "case":
        made = content()
        tokenizer = CharTokenizer(made.tokenizer.vocabulary, lowercase=False)
        yield write_bundle(target, dataclasses.replace(made, tokenizer=tokenizer), engines=["onnxruntime"]).path
        return
    changes: dict[str, Any] = {"windows": WindowSpec(overlap_tokens=5, aggregate=kind if kind in KINDS[1:4] else "mean")}
    if kind == "warm":
        changes |= {"temperature": 0.37, "thresholds": {"利好": 0.4}, "ordered": False, "kind": "single"}
    if kind == "short":
        changes |= {"max_length": 16}
    yield reseal(bundle, target, **changes).path


def test_a_port_comes_to_the_same_answers(folder: Path) -> None:
    port = Port(folder)
    found = fixtures(folder)
    assert len(found) >= 10
    assert len({row["text"] for row in found}) == len(found)
    for row in found:
        text = row["text"]
        if not row["windows"]:
            assert (port.encode(text), row["scores"]) == ([], None)
            continue
        assert all(len(window["ids"]) <= port.about["tokenizer"]["max_length"] for window in row["windows"])
        for window in row["windows"]:
            assert port.encode(text[window["start"] : window["end"]]) == window["ids"]
        ids = [window["ids"] for window in row["windows"]]
        logits = port.logits(ids)
        np.testing.assert_allclose(logits, [window["logits"] for window in row["windows"]], atol=1e-5)
        np.testing.assert_allclose(port.scores(logits, [len(each) for each in ids]), row["scores"], atol=1e-5)


def test_fixtures_are_what_serving_answers(folder: Path) -> None:
    predictor = Predictor(folder)
    rows = fixtures(folder)
    for row, answer in zip(rows, predictor.predict([row["text"] for row in rows], scores=True), strict=True):
        assert (answer["label"] is None) == (row["scores"] is None)
        if row["scores"] is not None:
            np.testing.assert_allclose(list(answer["scores"].values()), row["scores"], atol=5e-6)
        if "window" in answer and row["windows"]:
            assert answer["window"]["windows"] == len(row["windows"])
            assert [answer["window"]["start"], answer["window"]["end"]] in [[w["start"], w["end"]] for w in row["windows"]]


def test_the_interface_says_what_the_bundle_says(folder: Path) -> None:
    about, manifest = Port(folder).about, Bundle.open(folder).manifest
    assert about["version"] == 1
    assert {key: value for key, value in about["answer"].items() if key not in ("scores", "abstain", "cut")} == {
        "labels": list(manifest.labels),
        **({} if manifest.kind is None else {"kind": manifest.kind}),
        "ordered": manifest.ordered,
        "temperature": manifest.temperature,
        "thresholds": dict(manifest.thresholds),
    }
    assert about["windows"] == (dataclasses.asdict(manifest.windows) if manifest.windows else None)
    assert about["tokenizer"]["max_length"] == manifest.max_length
    assert about["tokenizer"]["steps"]
    assert about["programs"] == {"fp32": "onnx/model.onnx"}
    assert (folder / about["programs"]["fp32"]).is_file()
    assert about["output"]["shape"] == ["batch", len(manifest.labels)]


def test_the_manifest_has_their_hashes(folder: Path) -> None:
    files = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["files"]
    for name in ("interface.json", "fixtures.jsonl"):
        assert files[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {*files, "bundle.json"}


@pytest.mark.parametrize("name", ["interface.json", "fixtures.jsonl"])
def test_changed_files_are_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    copy = reseal(bundle, tmp_path / "bundle").path
    (copy / name).write_text((copy / name).read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(BundleError, match=name):
        Bundle.open(copy)


def test_no_text_of_a_user_is_in_the_bundle(bundle: Bundle) -> None:
    for path in bundle.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for text in (SECRET, TEXTS[4], TEXTS[5]):
                assert text.encode() not in data, path
                assert json.dumps(text).strip('"').encode() not in data, path


def test_writing_a_bundle_twice_gives_the_same_files(bundle: Bundle, tmp_path: Path) -> None:
    again = reseal(bundle, tmp_path / "bundle")
    assert again.manifest == bundle.manifest
    assert (again.path / "fixtures.jsonl").read_bytes() == (bundle.path / "fixtures.jsonl").read_bytes()


def test_a_bundle_without_a_program_has_fixtures_too(bundle: Bundle, tmp_path: Path) -> None:
    bare = write_bundle(tmp_path / "bundle", content(), engines=[])
    assert json.loads((bare.path / "interface.json").read_text(encoding="utf-8"))["programs"] == {}
    for row, other in zip(fixtures(bare.path), fixtures(bundle.path), strict=True):
        assert row["text"] == other["text"]
        if row["scores"] is not None:
            np.testing.assert_allclose(row["scores"], other["scores"], atol=1e-5)
    added = add_engines(bare, bare.path, engines=["onnxruntime"])
    assert Port(added.path).about["programs"] == {"fp32": "onnx/model.onnx"}


def test_the_steps_leave_no_control_character_open(bundle: Bundle) -> None:
    port, tokenizer = Port(bundle.path), bundle.tokenizer
    texts = [f"公{chr(code)}司" for code in range(0x100)]
    assert [text for text in texts if port.read(text) != "".join(tokenizer.tokens(text))] == []


def test_the_steps_hold_for_every_other_character(bundle: Bundle) -> None:
    port, tokenizer = Port(bundle.path), bundle.tokenizer
    codes = [*range(0x1C), *range(0x20, 0x3400), *range(0xA000, 0xAC00), *range(0xD700, 0x10200), *range(0x1D000, 0x20000)]
    codes += range(0xE0000, 0xE0200)
    for start in range(0, len(codes), 64):
        text = "公" + "a".join(map(chr, codes[start : start + 64])) + "司"
        assert port.read(text) == "".join(tokenizer.tokens(text)), hex(codes[start])


def test_the_steps_hold_for_runs_of_marks(bundle: Bundle) -> None:
    port, tokenizer = Port(bundle.path), bundle.tokenizer
    for text in (
        "⻓⻛⼭\u31d0\u2e88",
        "公\u2800\u2800司\u3164\ufe0f",
        "e" + "\u0301" * 40 + "x",
        "\u0301\u0323" * 40,
        "公" + "\u0301\u200b" * 35 + "\u0903" + "\u0327" * 33,
    ):
        assert port.read(text) == "".join(tokenizer.tokens(text))
