"""``embtune calibrate`` and ``embtune quantize``, the same through a recipe, and how they fail."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune import Recipe, RecipeError
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.export import quantization, write_bundle
from paddlenlp_embtune.inference import Predictor
from tests.export.large_bundle import LABELS, large_content, make_texts
from tests.helpers import RECIPE, ROWS, Run, embtune, error_of, hidden, tsv

pytestmark = pytest.mark.usefixtures("speed_refuses_nothing")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that 8 bits make smaller, beside 200 rows that have the labels it gives them."""
    folder = tmp_path_factory.mktemp("large")
    bundle = write_bundle(folder / "bundle", large_content(), engines=["onnxruntime"])
    texts = make_texts(200)
    labels = [answer["label"] for answer in Predictor(bundle).predict(texts)]
    (folder / "rows.tsv").write_text(tsv(list(zip(texts, labels, strict=True))), encoding="utf-8")
    return folder


@pytest.fixture
def here(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(large, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_calibrate_prints_the_path_and_talks_on_stderr(here: Path, run: Run) -> None:
    code, out, err = run("calibrate", "bundle", "--data", "rows.tsv", "--target-precision", "0.8")
    assert (code, out) == (0, "bundle\n"), err
    assert "calibrated: temperature" in err
    assert "thresholds for a precision of 80%: bad" in err
    assert "note: all 200 rows are right, but a temperature is fitted to errors, so it is 1" in err.replace("\n", " ")
    manifest = Bundle.open("bundle").manifest
    assert manifest.temperature == 1
    assert manifest.calibration is not None
    assert manifest.calibration.note is not None
    assert (manifest.calibration.rows, manifest.calibration.target_precision) == (200, 0.8)
    assert set(manifest.thresholds) == set(LABELS)
    assert hidden(here) == []


def test_without_a_target_there_are_no_thresholds(here: Path, run: Run) -> None:
    code, _, err = run("calibrate", "bundle", "--data", "rows.tsv")
    assert code == 0
    assert "thresholds" not in err
    assert Bundle.open("bundle").manifest.thresholds == {}


def test_predict_shows_what_was_withheld(here: Path, run: Run) -> None:
    (here / "held.tsv").write_text(tsv([(text, LABELS[n % 3]) for n, text in enumerate(make_texts(90))]), encoding="utf-8")
    assert run("calibrate", "bundle", "--data", "held.tsv", "--target-precision", "0.9")[0] == 0
    code, out, _ = run("predict", "bundle", "--data", "rows.tsv", "--json", "--scores")
    answers = [json.loads(line) for line in out.splitlines()]
    assert (code, len(answers)) == (0, 200)
    assert {answer["abstained"] for answer in answers} == {True, False} or all(answer["abstained"] for answer in answers)


@pytest.mark.parametrize("command", ["calibrate", "quantize"])
def test_out_leaves_the_bundle_alone(here: Path, run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "_speedup", lambda *a: 2.0)
    before = contents(here / "bundle")
    options = ("--tolerance", "0.5") if command == "quantize" else ()
    code, out, err = run(command, "bundle", "--data", "rows.tsv", "--out", "deep/other", *options)
    assert (code, out) == (0, "deep/other\n"), err
    assert contents(here / "bundle") == before
    assert Bundle.open("deep/other").manifest != Bundle.open("bundle").manifest
    assert run("evaluate", "deep/other", "--data", "rows.tsv", "--json")[0] == 0
    assert hidden(here) == []


@pytest.mark.parametrize("options", [(), ("--method", "dynamic"), ("--precision", "int8", "--method", "static")])
def test_quantize_prints_the_path_and_the_figures(here: Path, run: Run, options: tuple[str, ...]) -> None:
    code, out, err = run("quantize", "bundle", "--data", "rows.tsv", "--tolerance", "0.1", *options)
    assert (code, out) == (0, "bundle\n"), err
    method = "dynamic" if "dynamic" in options else "static"
    assert f"int8, {method}: " in err
    assert "times as fast" in err
    assert Bundle.open("bundle").manifest.quantized["int8"].method == method
    assert hidden(here) == []


def test_other_columns_and_formats(here: Path, run: Run) -> None:
    lines = (here / "rows.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [dict(zip(("body", "mood"), line.split("\t"), strict=True)) for line in lines]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "'text'" in error_of(run("calibrate", "bundle", "--data", "rows.jsonl"), 1)
    columns = ("--text-column", "body", "--label-column", "mood")
    assert run("calibrate", "bundle", "--data", "rows.jsonl", *columns)[0] == 0


FAILURES: list[tuple[str, tuple[str, ...], int, str]] = [
    ("calibrate", ("absent", "--data", "rows.tsv"), 1, "absent is not a bundle"),
    ("calibrate", ("bundle", "--data", "absent.tsv"), 1, "there is no file absent.tsv"),
    ("calibrate", ("bundle", "--data", "few.tsv"), 1, "19 labelled rows are too few; expected 20 or more"),
    ("calibrate", ("bundle", "--data", "other.tsv"), 1, "row 60 has the label '涨', which the bundle does not know"),
    (
        "calibrate",
        ("bundle", "--data", "rows.tsv", "--target-precision", "1.5"),
        1,
        "target_precision is 1.5; expected above 0",
    ),
    ("calibrate", ("bundle", "--data", "rows.tsv", "--target-precision", "nan"), 1, "target_precision is nan"),
    ("calibrate", ("bundle", "--data", "rows.tsv", "--out", "."), 1, "is no bundle, so it will not be replaced"),
    ("calibrate", ("bundle", "--data", "rows.tsv", "--out", "rows.tsv"), 1, "is no bundle, so it will not be replaced"),
    ("quantize", ("absent", "--data", "rows.tsv"), 1, "absent is not a bundle"),
    ("quantize", ("bundle", "--data", "few.tsv"), 1, "19 labelled rows are too few; expected 50 or more"),
    ("quantize", ("bundle", "--data", "other.tsv"), 1, "row 60 has the label '涨'"),
    ("quantize", ("bundle", "--data", "rows.tsv", "--precision", "int4"), 1, "precision is 'int4'; did you mean 'int8'"),
    ("quantize", ("bundle", "--data", "rows.tsv", "--method", "magic"), 1, "method is 'magic'"),
    ("quantize", ("bundle", "--data", "rows.tsv", "--out", "."), 1, "is no bundle, so it will not be replaced"),
]


@pytest.mark.parametrize(("command", "arguments", "code", "says"), FAILURES)
def test_what_cannot_be_done_is_said_in_one_line(
    here: Path, run: Run, command: str, arguments: tuple[str, ...], code: int, says: str
) -> None:
    lines = (here / "rows.tsv").read_text(encoding="utf-8").splitlines()
    (here / "few.tsv").write_text("\n".join(lines[:20]) + "\n", encoding="utf-8")
    (here / "other.tsv").write_text("\n".join(lines[:61]) + "\n公司\t涨\n", encoding="utf-8")
    before = contents(here)
    assert says in error_of(run(command, *arguments), code)
    assert contents(here) == before
    assert hidden(here) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("calibrate",),
        ("calibrate", "bundle"),
        ("quantize", "bundle"),
        ("calibrate", "bundle", "--data", "rows.tsv", "--target-precision", "many"),
        ("quantize", "bundle", "--data", "rows.tsv", "--tolerance", "1.5"),
        ("quantize", "bundle", "--data", "rows.tsv", "--nonsense"),
    ],
)
def test_misuse_is_2(here: Path, run: Run, arguments: tuple[str, ...]) -> None:
    before = contents(here)
    code, out, _ = run(*arguments)
    assert (code, out) == (2, "")
    assert contents(here) == before


def test_a_program_that_is_not_worth_having(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "_speedup", lambda *a: 0.9)
    before = contents(here)
    says = error_of(run("quantize", "bundle", "--data", "rows.tsv", "--tolerance", "0.5"), 1)
    assert "is not faster" in says
    assert "speed 0.90 times" in says
    assert contents(here) == before
    assert hidden(here) == []


def test_in_a_process_of_their_own(here: Path) -> None:
    done = embtune("calibrate", "bundle", "--data", "rows.tsv", cwd=here)
    assert (done.returncode, done.stdout) == (0, "bundle\n"), done.stderr
    done = embtune("quantize", "bundle", "--data", "rows.tsv", "--tolerance", "0.1", "--out", "small", cwd=here)
    assert (done.returncode, done.stdout) == (0, "small\n"), done.stderr
    assert done.stderr.startswith("int8, static: ")
    assert sorted(path.name for path in here.iterdir()) == ["bundle", "rows.tsv", "small"]


ILLEGAL: list[tuple[str, Any]] = [
    *(("export.calibrate", value) for value in ("yes", 1, None)),
    *(("export.target_precision", value) for value in (0, 1, -0.5, 95, float("nan"), "high", True)),
    *(("export.int8", value) for value in (True, "dynamik", "", 8, "int8")),
    *(("text.windows", value) for value in (True, [32], "mean", 32)),
    *(("text.windows.overlap_tokens", value) for value in (-1, 1.5, "32", None, True)),
    *(("text.windows.aggregate", value) for value in ("median", "", None, 3)),
    *(("text.windows.overlap", value) for value in (3,)),
]


@pytest.mark.parametrize(("path", "value"), ILLEGAL)
def test_illegal_values_in_a_recipe_name_themselves(path: str, value: Any) -> None:
    *rooms, key = path.split(".")
    plain: Any = {key: value}
    for room in reversed(rooms):
        plain = {room: plain}
    with pytest.raises(RecipeError, match=key) as raised:
        Recipe.from_dict(plain)
    assert any(part in str(raised.value) for part in ("expected ", "must be", "has no key"))


@pytest.mark.parametrize(
    ("export", "message"),
    [
        ({"calibrate": False, "target_precision": 0.9}, "null where export.calibrate is false"),
        ({"engines": [], "int8": "static"}, "null without onnxruntime"),
        ({"engines": ["paddle_inference"], "int8": "dynamic"}, "null without onnxruntime"),
    ],
)
def test_values_that_contradict_each_other(export: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict({"export": export})


def test_legal_values() -> None:
    recipe = Recipe.from_dict({"export": {"target_precision": 0.9, "int8": "static"}, "text": {"windows": {}}})
    assert recipe.text.windows is not None
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Recipe().text.windows is None


def recipe_with(work: Path, *lines: str, rows: int = 60) -> None:
    (work / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (work / "dev.tsv").write_text(tsv((ROWS * 2)[:rows]), encoding="utf-8")
    base = RECIPE.replace("data: {train: train.tsv}", "data: {train: train.tsv, dev: dev.tsv}")
    base = base.replace("max_length: 32}", "max_length: 32, windows: {overlap_tokens: 4, aggregate: max}}")
    (work / "own.yaml").write_text(base + "\n".join(lines) + "\n", encoding="utf-8")


def test_a_recipe_calibrates_and_sets_windows_and_thresholds(work: Path, run: Run) -> None:
    recipe_with(work, "export: {engines: [onnxruntime], target_precision: 0.8}")
    code, _, err = run("train", "own.yaml", "--out", "run")
    assert code == 0, err
    assert "calibrated: temperature" in err
    manifest = Bundle.open("run/bundle").manifest
    assert manifest.calibration is not None
    assert manifest.calibration.rows == 60
    assert (manifest.windows.overlap_tokens, manifest.windows.aggregate) == (4, "max")  # type: ignore[union-attr]
    events = [json.loads(line) for line in (work / "run" / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    (event,) = [event for event in events if event["event"] == "calibrated"]
    assert event["temperature"] == manifest.temperature


def test_a_recipe_may_leave_calibration_out(work: Path, run: Run) -> None:
    recipe_with(work, "export: {engines: [], calibrate: false}")
    assert run("train", "own.yaml", "--out", "run")[0] == 0
    manifest = Bundle.open("run/bundle").manifest
    assert (manifest.calibration, manifest.temperature) == (None, 1.0)


def test_a_target_that_cannot_be_met_for_want_of_rows_is_told(work: Path, run: Run) -> None:
    recipe_with(work, "export: {engines: [], target_precision: 0.8}", rows=15)
    code, _, err = run("train", "own.yaml", "--out", "run")
    assert code != 0 or "too few" in err


def test_8_bits_for_want_of_rows_do_not_cost_the_training(work: Path, run: Run) -> None:
    recipe_with(work, "export: {engines: [onnxruntime], int8: static}", rows=30)
    code, _, err = run("train", "own.yaml", "--out", "run")
    assert code == 1
    assert re.search("50 (rows )?or more", err)
    assert "trained:" not in err or (work / "run" / "metrics.json").is_file()


def test_8_bits_that_are_not_worth_having_leave_a_whole_run_behind(
    work: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "_speedup", lambda *a: 0.9)
    recipe_with(work, "export: {engines: [onnxruntime], int8: static}")
    code, _, err = run("train", "own.yaml", "--out", "run")
    assert code == 1
    assert "is not faster" in err
    assert (work / "run" / "metrics.json").is_file()
    assert Predictor("run/bundle").predict(["公司"])[0]["label"]
    assert Bundle.open("run/bundle").manifest.quantized == {}
    assert hidden(work) == []
