"""The sections of the report: what each says of a run, of parts that are not there, and of damage."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.evaluation.error_analysis import analyze_predictions
from paddlenlp_embtune.report import read_run, write_report
from paddlenlp_embtune.report._formatting import printable
from paddlenlp_embtune.report.plots._curves import numeric_fields, phases, series
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.report import SECTIONS
from paddlenlp_embtune.report.sections._health import alarm_epochs, health
from paddlenlp_embtune.report.sections._overview import findings
from paddlenlp_embtune.report.sections._results import by_label
from tests.report.invented import LABELS, MEASURE, SCRIPT, answers, events, lines, manifest, moves, phase, write_run
from tests.report.reading import Reader, section

pytest.importorskip("matplotlib")


def test_what_nobody_could_see_is_written_as_a_code_point(report: Path, page: Reader) -> None:
    assert "U+20E3" in page.text("td")
    assert "U+0020" in page.text("td", "span")
    text = report.read_text(encoding="utf-8")
    assert "\ufffd" in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    assert printable("好\ud800\x1b") == "好\ufffd\ufffd"


def test_it_says_what_matters_first(report: Path) -> None:
    text = section(report.read_text(encoding="utf-8"), "At a glance")
    for told in ("macro F1", "calibration error", "4 of 6 epochs", "alarm above 0.5", "1 more alarm"):
        assert told in text
    assert "the weights of epoch 2 were kept" in text
    assert text.index("drifted at 30") < text.index("duplicates") < text.index("no longer improved")


def test_health_shows_what_everybody_should_see_and_folds_the_rest(report: Path) -> None:
    text = section(report.read_text(encoding="utf-8"), "Embedding health")
    first, rest = text.split("2 more measures")
    for title in ("Drift", "95th percentile", MEASURE, "Share of the gradient", "easing"):
        assert title in first
    assert "Drift, largest" in rest
    assert "Did not change: Gradient of the embedding 0.5." in rest
    assert "Action taken: lowered <script>" in first


def test_an_alarm_is_marked_where_its_measure_is_drawn(tmp_path: Path) -> None:
    record = lines([{"event": "alarm", "step": 10, "message": "m", "measure": "cosine_drift_max"}, *events(alarms=0)])
    run = read_run(write_run(tmp_path, **{"record.jsonl": record}))
    assert (alarm_epochs(run), alarm_epochs(run, ["norm_mean"]), alarm_epochs(run, ["cosine_drift_max"])) == ([1.0], [], [1.0])
    drawn = Reader(health(run, FigureWriter())).text("text", "figcaption", "summary")
    assert drawn.count("alarm") == 1
    assert drawn.index("Drift, largest") < drawn.index("1 more measure")  # an alarm brings its measure to the front


@pytest.mark.parametrize(("labels", "figures", "wide"), [(12, 1, False), (13, 1, True), (41, 0, False)])
def test_many_labels_scroll_and_very_many_are_only_listed(labels: int, figures: int, wide: bool, tmp_path: Path) -> None:
    names = [f"标签{number}" for number in range(labels)]
    dev = analyze_predictions(np.eye(labels), [*range(1, labels), 0], names, names)
    run = read_run(write_run(tmp_path, **{"insight.json": {"dev": dev}}))
    part = by_label(run, FigureWriter())
    assert (part.count("<svg"), 'class="wide"' in part) == (figures, wide)
    assert all(f">{name}</td>" in part for name in names)


def test_neighbours_are_marked_as_kept_gone_or_new(page: Reader) -> None:
    chips = [attributes["class"] for tag, attributes in page.tags if tag == "span" and "chip" in attributes.get("class", "")]
    assert {"chip gone", "chip new", "chip "} == set(chips)


@pytest.mark.parametrize(
    ("parts", "title", "told"),
    [
        ({"insight.json": None}, "Calibration", "insight.json"),
        ({"insight.json": None}, "Examples", "insight.json"),
        ({"insight.json": None}, "Term map", "insight.json"),
        ({"insight.json": {"dev": answers()}}, "Largest changes", SCRIPT),
        ({"insight.json": {"movement": moves()}}, "Calibration", "insight.json"),
        ({"insight.json": None, "metrics.json": None}, "Results by label", "metrics.json"),
        ({"insight.json": None}, "Results by label", "all (macro)"),
        ({"record.jsonl": None}, "Learning curves", "record.jsonl"),
        ({"record.jsonl": None}, "Learning rates", "record.jsonl"),
        ({"record.jsonl": None}, "Embedding health", "record.jsonl"),
        ({"record.jsonl": None}, "Data", "record.jsonl"),
        ({"bundle/bundle.json": None}, "Export", "bundle/bundle.json"),
        ({"recipe.yaml": None}, "Recipe", "recipe.yaml"),
        ({"record.jsonl": ""}, "Embedding health", "record.jsonl"),
        ({"record.jsonl": lines(events(alarms=0))}, "Embedding health", "No alarm was raised"),
        ({"record.jsonl": lines([e for e in events() if e["event"] != "phase"])}, "Learning curves", "Nothing was frozen"),
    ],
)
def test_what_is_not_there_is_said_in_its_section(parts: dict[str, Any], title: str, told: str, tmp_path: Path) -> None:
    (part,) = [part for part in SECTIONS if part.title == title]
    assert told in Reader(part.write(read_run(write_run(tmp_path, **parts)), FigureWriter())).text()


@pytest.mark.parametrize("kept", ["recipe.yaml", "record.jsonl", "metrics.json", "insight.json", "bundle/bundle.json"])
def test_one_part_alone_is_enough(kept: str, tmp_path: Path) -> None:
    every = ("recipe.yaml", "record.jsonl", "metrics.json", "insight.json", "bundle/bundle.json", "bundle/onnx/<b>.onnx")
    folder = write_run(tmp_path, **{name: None for name in every if name != kept})
    assert "At a glance" in write_report(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"metrics.json": "{"}, "metrics.json is damaged"),
        ({"metrics.json": "[]"}, "expected a mapping"),
        ({"metrics.json": b"\xff\xfe"}, "metrics.json is damaged"),
        ({"insight.json": {"dev": [1]}}, "expected a mapping"),
        ({"record.jsonl": '{"event": "start"}\n{"event": "he'}, "line 2"),
        ({"record.jsonl": "[1]\n"}, "line 1 is not an event"),
        ({"record.jsonl": '{"event": 3}\n'}, "line 1 is not an event"),
        ({"recipe.yaml": "a: [1"}, "recipe.yaml is damaged"),
        ({"recipe.yaml": "- 1"}, "expected a mapping"),
        ({"insight.json": {"dev": {"n": 3}}}, "'At a glance' cannot be written from .*insight.json.*f1_macro"),
        ({"insight.json": {"dev": {**answers(), "hardest": 3}}}, "'Examples' cannot be written"),
        ({"record.jsonl": '{"event": "rates", "rates": 3}\n'}, "'Learning rates' cannot be written"),
        ({"bundle/bundle.json": {**manifest(), "parity": {"x": {}}}}, "bundle.json"),
    ],
)
def test_a_damaged_run_is_refused_and_the_file_named(parts: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path, **parts)
    with pytest.raises(DataError, match=told):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a run; expected the folder that embtune train wrote"):
        write_report(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        write_report(tmp_path / "none")


def test_phases_are_known_to_the_step(tmp_path: Path) -> None:
    record = [
        phase(0, "frozen", "a", "b"),
        phase(15, "released", "a"),
        phase(15, "released", "b"),
        phase(30, "frozen again", "a"),
    ]
    run = read_run(write_run(tmp_path, **{"record.jsonl": lines([*events()[5:7], *record, events()[-1]])}))
    assert [(found.begin, found.end, found.frozen) for found in phases(run)] == [(0.0, 1.5, ("a", "b")), (3.0, 4.0, ("a",))]


def test_numbers_that_are_not_finite_are_passed_over(tmp_path: Path) -> None:
    values = [math.nan, 1.0, math.inf, None, "2", True, 2.0]
    record = [{"event": "health", "epoch": at, "step": at, "a": value, "b": math.nan} for at, value in enumerate(values, 1)]
    run = read_run(write_run(tmp_path, **{"record.jsonl": lines(record)}))
    assert series(run, run.of("health"), "a") == ([2.0, 7.0], [1.0, 2.0])
    assert numeric_fields(run.of("health")) == ["a"]


def test_a_run_that_went_astray_at_once_has_a_report(tmp_path: Path) -> None:
    record = [*events()[:5], {"event": "stopped", "reason": "not_finite", "loss": "nan"}]
    record.append({"event": "trained", "seconds": 0.1, "steps": 0, "epochs": 0.0})
    text = write_report(write_run(tmp_path, **{"record.jsonl": lines(record)})).read_text(encoding="utf-8")
    assert "training was stopped: not finite" in section(text, "At a glance")
    assert "Nothing to show" in section(text, "Learning curves")


def told_of(tmp_path: Path, **parts: Any) -> dict[str, str]:
    return {text: kind for kind, text in findings(read_run(write_run(tmp_path, **parts)))}


def test_findings_of_a_run_that_went_well(tmp_path: Path) -> None:
    dev = {**answers(), "n": 500, "f1_macro": 0.5, "accuracy": 0.7}
    dev["per_class"] = {label: {"f1": 0.5 + at / 10, "support": 9} for at, label in enumerate(LABELS)}
    dev["calibration"] = {"ece": 0.01, "confidence": 0.7}
    record = lines([event for event in events(alarms=0) if event["event"] != "data"])
    told = told_of(tmp_path, **{"insight.json": {"dev": dev, "movement": moves()}, "record.jsonl": record})
    assert set(told.values()) == {"ok"}
    assert len(told) == 5


@pytest.mark.parametrize(
    ("event", "kind", "told"),
    [
        ({"event": "stopped", "reason": "not_finite", "loss": "nan"}, "alarm", "not finite"),
        ({"event": "export_failed", "message": "no"}, "alarm", "could not be exported"),
        ({"event": "baseline", "ahead": "baseline", "summary": "the baseline is ahead"}, "check", "the baseline is ahead"),
        ({"event": "baseline", "ahead": "model", "summary": "the model is ahead"}, "ok", "the model is ahead"),
        ({"event": "baseline", "left_out": "no room"}, "check", "not compared with a baseline: no room"),
        ({"event": "early_stopping", "improved": True, "value": 1, "metric": "x"}, "check", "more epochs may still help"),
    ],
)
def test_findings_of_events(event: dict[str, Any], kind: str, told: str, tmp_path: Path) -> None:
    assert any(told in text and of == kind for text, of in told_of(tmp_path, **{"record.jsonl": lines([event])}).items())


def test_baselines_stand_below_the_results(tmp_path: Path) -> None:
    figures = {"accuracy": 0.125, "f1_macro": 0.5}
    candidates = {"tfidf": {**figures, "out_of_fold_f1_macro": 0.375}, "fasttext": figures}
    event = {"event": "baseline", "ahead": None, "summary": "within noise", "candidates": candidates}
    text = write_report(write_run(tmp_path, **{"record.jsonl": lines([*events(), event])})).read_text(encoding="utf-8")
    shown = section(text, "Results by label")
    assert "Baselines on the same rows" in shown
    assert all(part in shown for part in ("this model", "tfidf", "0.125", "0.375", "fasttext"))


def test_findings_of_answers_and_parity(tmp_path: Path) -> None:
    other = manifest()
    other["parity"]["onnxruntime"] = {**other["parity"]["onnxruntime"], "same_labels": False}
    told = told_of(tmp_path, **{"bundle/bundle.json": other})
    assert told["the engine onnxruntime does not agree with the trained model"] == "alarm"
    assert told["there are only 5 development rows: treat all metrics as rough"] == "check"
    assert any("confident" in text and kind == "check" for text, kind in told.items())
