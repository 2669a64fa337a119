"""How commands fail: the exit code, one line that says what to do, and nothing left behind."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from paddlenlp_embtune import hookimpl
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import Vocabulary
from paddlenlp_embtune.utils.files.atomic_io import sha256_of
from tests.helpers import QUICK, ROWS, Run, TinyRun, edit_manifest, embtune, error_of, hidden, tsv

BAD_DATA: dict[str, tuple[str | bytes, str]] = {
    "empty file": ("", "bad.tsv is empty"),
    "header only": ("text\tlabel\n", "holds no rows"),
    "missing column": (tsv(ROWS, "test\tlabel"), "no column 'text'; did you mean 'test'"),
    "one class": (tsv(ROWS[:20]), "has the label '利好'; expected two or more classes"),
    "empty texts": (tsv([*ROWS, ("", "利好"), (" ", "利空")]), "2 rows of bad.tsv have an empty text, line 62 first"),
    "empty label": (tsv([*ROWS, ("公司", "")]), "line 62 of bad.tsv has no label"),
    "too many fields": (tsv([*ROWS, ("公司", "利好\t利空")]), "line 62 of bad.tsv has 3 fields"),
    "odd byte": (tsv(ROWS).encode() + b"\xff", "is not UTF-8: byte"),
    "one row of a label": (tsv([*ROWS, ("公司", "其他")]), "label '其他' has too few different texts"),
}
RECIPES = {
    "unknown key": ("trian: {epochs: 3}", "recipe has no key 'trian'; did you mean 'train'"),
    "unknown nested key": ("schedule: {warmup: 0.1}", "recipe.schedule has no key 'warmup'; did you mean 'warmup_ratio'"),
    "wrong kind": ("seed: many", "recipe.seed must be a whole number, got str 'many'"),
    "freeze group": ("freeze: {groups: [embeding]}", "names the group 'embeding'; did you mean 'embedding'"),
    "group pattern": (
        "groups: [{name: a, parameters: ['convolutoin.*'], rate: 1.0e-3}, {name: embedding, rate: 1.0e-3}]",
        "pattern 'convolutoin.*' matched 0 of 5 parameters; did you mean 'convolution'",
    ),
    "exporter": ("export: {engines: [onnxruntim]}", "exporter 'onnxruntim'; did you mean 'onnxruntime'"),
    "model": ("model: {name: textcn}", "model 'textcn'; did you mean 'textcnn'"),
    "model option": ("model: {options: {filter: 3}}", "has no 'filter'; did you mean 'filters'"),
    "domain": ("domain: finanse", "domain is 'finanse'; did you mean 'finance'"),
    "vectors": ("vectors: {source: lak}", "vectors.source is 'lak'; did you mean 'lac'"),
    "metric": ("early_stopping: {metric: f1_micro}", "watches 'eval_f1_micro'"),
    "not YAML": ("data: [", "is not valid YAML"),
}


def check_failure(result: tuple[int, str, str], code: int, *, says: str, folder: Path) -> None:
    assert says in error_of(result, code)
    assert "Traceback" not in result[2]
    assert not (folder / "run" / "bundle").exists()
    assert hidden(folder) == []


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize("option", ["--data", "--dev"])
def test_rows_that_cannot_be_used(work: Path, run: Run, name: str, option: str) -> None:
    content, says = BAD_DATA[name]
    if option == "--dev" and name in ("one class", "one row of a label"):
        says = "label '其他', which no row of train.tsv has"
        content = tsv([("公司", "其他")])
    (work / "bad.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    check_failure(run("train", "quick.yaml", option, "bad.tsv", "--out", "run"), 1, says=says, folder=work)
    assert not (work / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--data", "absent.tsv"], 1, "there is no file absent.tsv"),
        (["--data", "quick.yaml"], 1, "ends in '.yaml'"),
        (["--data", "."], 1, "is a folder with"),
        (["--data", "train.tsv", "--labels", "利好,利空"], 1, "has the label '中性' (20 rows)"),
        (["--data", "train.tsv", "--labels", "利好,利好"], 2, "labels that differ"),
        (["--data", "train.tsv", "--domain", "finance"], 1, "which is not among the labels in use"),
        ([], 2, "there is nothing to train on; pass --data FILE"),
        (["absent.yaml"], 2, "cannot read the recipe absent.yaml"),
    ],
)
def test_arguments_that_cannot_be_used(work: Path, run: Run, arguments: list[str], code: int, says: str) -> None:
    check_failure(run("train", *arguments, "--out", "run"), code, says=says, folder=work)
    assert not (work / "run").exists()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_cannot_be_used_is_misuse(work: Path, run: Run, name: str) -> None:
    text, says = RECIPES[name]
    kept = "".join(line + "\n" for line in QUICK.splitlines() if line.split(":")[0] != text.split(":")[0])
    (work / "bad.yaml").write_text(f"{kept}{text}\n", encoding="utf-8")
    check_failure(run("train", "bad.yaml", "--data", "train.tsv", "--out", "run"), 2, says=says, folder=work)


@pytest.mark.parametrize("place", ["a folder with files", "a file"])
def test_a_run_replaces_nothing_unasked(work: Path, run: Run, place: str) -> None:
    target = work / "run" if place == "a file" else work / "run" / "notes.txt"
    target.parent.mkdir(exist_ok=True)
    target.write_text("mine", encoding="utf-8")
    says = "run is a file" if place == "a file" else "run is not empty (it holds notes.txt)"
    check_failure(run("train", "quick.yaml", "--out", "run"), 2, says=says, folder=work)
    assert target.read_text(encoding="utf-8") == "mine"


def test_a_failed_overwrite_does_not_mix_two_runs(tiny_run: TinyRun, work: Path, run: Run) -> None:
    shutil.copytree(tiny_run.folder, work / "run")
    (work / "bad.yaml").write_text(QUICK + "freeze: {groups: [embeding]}\n", encoding="utf-8")
    error_of(run("train", "bad.yaml", "--out", "run", "--overwrite"), 2)
    kept = sha256_of(work / "run" / "recipe.yaml") == sha256_of(tiny_run.folder / "recipe.yaml")
    assert (work / "run" / "bundle").exists() == kept


def _edit(bundle: Path, **changes: object) -> None:
    edit_manifest(bundle, lambda manifest: manifest.update(changes))


def _flip_a_byte(bundle: Path) -> None:
    file = bundle / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def _exchange_vocabulary(bundle: Path) -> None:
    tokens = list(Vocabulary.load(bundle / "vocab.txt").tokens)
    Vocabulary([*tokens[:2], *reversed(tokens[2:])]).save(bundle / "vocab.txt")
    files = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["files"]
    _edit(bundle, files={**files, "vocab.txt": sha256_of(bundle / "vocab.txt")})


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (_flip_a_byte, "weights.safetensors of the bundle bundle has changed"),
    (_exchange_vocabulary, "was trained with the vocabulary"),
    (_exchange_vocabulary, ": id 2 was "),
    (lambda bundle: _edit(bundle, schema_version=99), "has the schema version 99; this release reads 1 and 2"),
    (lambda bundle: _edit(bundle, max_length="long"), "bundle.json.max_length must be a whole number"),
    (lambda bundle: _edit(bundle, files={"../train.tsv": ""}), "must be inside the bundle, as folder/name, got '../train.tsv'"),
    (lambda bundle: (bundle / "onnx" / "model.onnx").unlink(), "lacks its file onnx/model.onnx"),
    (lambda bundle: (bundle / "bundle.json").unlink(), "is not a bundle"),
    (lambda bundle: shutil.copy(bundle / "vocab.txt", bundle / "bundle.json"), "bundle.json is damaged"),
]


@pytest.mark.parametrize(("damage", "says"), DAMAGES, ids=[says for _, says in DAMAGES])
def test_a_bundle_that_is_not_what_it_was(
    tiny_run: TinyRun, work: Path, run: Run, damage: Callable[[Path], object], says: str
) -> None:
    shutil.copytree(tiny_run.bundle, work / "bundle")
    damage(work / "bundle")
    for arguments in (["evaluate", "--data", "train.tsv"], ["predict"], ["params"], ["export", "--engine", "onnxruntime"]):
        result = run(arguments[0], "bundle", *arguments[1:], *(["--out", "run/bundle"] if arguments[0] == "export" else []))
        check_failure(result, 1, says=says, folder=work)


def test_a_bundle_without_the_program_of_an_engine(tiny_run: TinyRun, work: Path, run: Run) -> None:
    shutil.copytree(tiny_run.bundle, work / "bundle")
    program = next(file for file in (work / "bundle" / "paddle").iterdir() if file.suffix != ".pdiparams")
    program.unlink()
    files = json.loads((work / "bundle" / "bundle.json").read_text(encoding="utf-8"))["files"]
    _edit(work / "bundle", files={name: value for name, value in files.items() if name != f"paddle/{program.name}"})
    check_failure(run("evaluate", "bundle", "--data", "train.tsv", "--engine", "paddle_inference"), 1, says="", folder=work)


def test_an_engine_that_nobody_registered(tiny_run: TinyRun, work: Path, run: Run) -> None:
    says = "did you mean 'onnxruntime'"
    for command in (["evaluate", tiny_run.bundle, "--data", "train.tsv"], ["predict", tiny_run.bundle]):
        check_failure(run(*command, "--engine", "onnxruntim"), 1, says=says, folder=work)
    check_failure(run("export", tiny_run.bundle, "--engine", "onnxruntim", "--out", "run"), 2, says=says, folder=work)


def test_onnxruntime_that_is_not_installed(tiny_run: TinyRun, work: Path) -> None:
    (work / "stub").mkdir()
    (work / "stub" / "onnxruntime.py").write_text("raise ModuleNotFoundError(name='onnxruntime')\n")
    command = ("evaluate", str(tiny_run.bundle), "--data", "train.tsv")
    done = embtune(*command, cwd=work, env={"PYTHONPATH": str(work / "stub")})
    assert done.stderr.count("\n") == 1
    says = 'install it with: pip install "paddlenlp-embtune[serve]"'
    check_failure((done.returncode, done.stdout, done.stderr), 1, says=says, folder=work)


def test_an_export_that_fails_leaves_nothing(tiny_run: TinyRun, work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = run("export", tiny_run.bundle, "--engine", "onnxruntime", "--out", "run/bundle")
    check_failure(result, 1, says="the engine onnxruntime is not installed", folder=work)
    result = run("export", tiny_run.bundle, "--engine", "paddle_inference", "--out", ".")
    check_failure(result, 1, says="is no bundle, so it will not be replaced", folder=work)
    assert (work / "train.tsv").is_file()


def test_a_plugin_whose_commands_fail_is_named(run: Run) -> None:
    broken = types.SimpleNamespace(__name__="mine", embtune_add_commands=hookimpl(lambda app: app.no_such_method()))
    former = registry.use(registry.load(plugins=[broken], installed=False))
    try:
        assert "mine" in error_of(run("plugins"), 1)
    finally:
        registry.use(former)
