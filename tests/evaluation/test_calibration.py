"""Calibration: planted temperatures are found, figures are those of plain loops, bundles are revised whole or not at all."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paddlenlp import Taskflow

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, DataError, EmbtuneError, MissingDependencyError
from paddlenlp_embtune.evaluation.calibration import (
    brier_score,
    calibration_error,
    fit_temperature,
    fit_thresholds,
    negative_log_likelihood,
)
from paddlenlp_embtune.evaluation.error_analysis import analyze_predictions
from paddlenlp_embtune.export import MIN_CALIBRATION_ROWS, calibrate
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.inference.label_kinds import SINGLE
from paddlenlp_embtune.inference.postprocessing import format_predictions, softmax, thresholds_of
from paddlenlp_embtune.text.encoding import TokenizedTexts
from paddlenlp_embtune.text.windows import WindowSpec
from tests.bundles import names

LABELS = ("利空", "中性", "利好")
LETTERS = "公司拟回购股份控东减持净利润同比增长五成"
ROOT = Path(__file__).resolve().parents[2]


def planted(rows: int, classes: int, *, temperature: float, seed: int = 0) -> tuple[Callable[[float], np.ndarray], np.ndarray]:
    """Probabilities at any temperature, and labels drawn at the one that is right."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, classes)) * 2
    shares = softmax(logits).cumsum(axis=1)  # type: ignore[arg-type]
    truth = (generator.random(rows)[:, None] > shares).sum(axis=1).clip(0, classes - 1)
    scaled = (logits * temperature).astype(np.float32)
    return (lambda t: softmax(scaled / np.float32(t))), truth


def labelled(bundle: Bundle, rows: int, *, temperature: float = 1.0, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts, and labels drawn from what the bundle says at a temperature."""
    generator = np.random.default_rng(seed)
    texts = ["".join(generator.choice(list(LETTERS), generator.integers(2, 60))) for _ in range(rows)]
    logits = np.log(Predictor(bundle, engine="paddle").probabilities(texts).astype(np.float64))
    shares = softmax(logits / temperature).cumsum(axis=1)  # type: ignore[arg-type]
    truth = (generator.random(rows)[:, None] > shares).sum(axis=1).clip(0, 2)
    return texts, [LABELS[number] for number in truth]


@pytest.fixture
def own(bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy that may be revised."""
    shutil.copytree(bundle.path, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0, 2.0, 6.0, 15.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_planted_temperature_is_found(temperature: float, classes: int) -> None:
    at, truth = planted(8000, classes, temperature=temperature)
    found = fit_temperature(at, truth)
    assert found == pytest.approx(temperature, rel=0.06)
    best = min(np.linspace(0.9, 1.1, 41) * found, key=lambda t: negative_log_likelihood(at(float(t)), truth))
    assert found == pytest.approx(best, rel=0.006)
    assert calibration_error(at(found), truth) < 0.02
    if not 0.5 < temperature < 2:
        assert calibration_error(at(found), truth) < calibration_error(at(1.0), truth) / 3


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", ["all right", "all wrong", "one class only", "sure and wrong at times", "even"])
def test_degenerate_rows_have_a_temperature_too(classes: int, kind: str) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(40, classes)).astype(np.float32)
    truth = logits.argmax(axis=1)
    if kind == "all wrong":
        truth = logits.argmin(axis=1)
    elif kind == "one class only":
        truth = np.zeros(40, dtype=np.int64)
    elif kind == "sure and wrong at times":
        logits = np.float32(1e4) * np.eye(classes, dtype=np.float32)[generator.integers(0, classes, 40)]
    elif kind == "even":
        logits = np.zeros_like(logits)

    def at(temperature: float) -> np.ndarray:
        return softmax(logits / np.float32(temperature))

    with np.errstate(all="raise", under="ignore"):
        found = fit_temperature(at, truth)
    assert 0.05 <= found <= 20
    assert negative_log_likelihood(at(found), truth) <= negative_log_likelihood(at(1.0), truth) + 1e-6
    if kind == "all wrong":
        assert found > 19


def test_a_few_wrong_rows_that_are_very_sure_do_not_mislead() -> None:
    generator = np.random.default_rng(1)
    logits = (generator.normal(size=(400, 3)) * 60).astype(np.float32)
    truth = logits.argmax(axis=1)
    truth[:60] = (truth[:60] + 1) % 3

    def at(temperature: float) -> np.ndarray:
        return softmax(logits / np.float32(temperature))

    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 400))
    best = min(negative_log_likelihood(at(float(t)), truth) for t in grid)
    assert negative_log_likelihood(at(fit_temperature(at, truth)), truth) <= best + 1e-3


def test_figures_by_hand() -> None:
    shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.35, 0.34, 0.31], [0.2, 0.2, 0.6]])
    truth = np.array([0, 1, 2, 1, 2])
    assert calibration_error(shares, truth, bins=5) == pytest.approx((0.35 + 0.4 + 2 * 0.25 + 0.9) / 5)
    assert negative_log_likelihood(shares, truth) == pytest.approx(-np.log([0.7, 0.8, 0.05, 0.34, 0.6]).mean())
    assert negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1])) < 30
    squares = [0.14, 0.06, 0.81 + 0.0025 + 0.9025, 0.1225 + 0.4356 + 0.0961, 0.24]
    assert brier_score(shares, truth) == pytest.approx(sum(squares) / 5)
    assert brier_score(np.eye(3), np.array([1, 2, 0])) == 2
    assert calibration_error(np.eye(3), np.arange(3)) == 0
    assert calibration_error(np.eye(3), np.array([1, 2, 0])) == 1


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (40, 2), (1000, 7)])
def test_figures_are_those_of_the_report(rows: int, classes: int) -> None:
    generator = np.random.default_rng(rows)
    shares = generator.dirichlet(np.full(classes, 0.4), size=rows)
    shares[: rows // 10] = np.eye(classes)[0]
    truth = generator.integers(classes, size=rows)
    found = analyze_predictions(shares, truth.tolist(), [f"c{n}" for n in range(classes)], ["x"] * rows)
    assert calibration_error(shares, truth) == pytest.approx(found["calibration"]["ece"])
    assert brier_score(shares, truth) == pytest.approx(found["brier"])


def precisions(shares: np.ndarray, truth: np.ndarray, thresholds: dict[str, float]) -> dict[str, tuple[int, float]]:
    """How many answers of each label pass, and how many of them are right, as the predictor decides it."""
    limits = np.array([thresholds[label] for label in LABELS], dtype=np.float32)
    best, score = shares.argmax(axis=1), shares.max(axis=1).astype(np.float32)
    passed = score >= limits[best]
    found = {}
    for number, label in enumerate(LABELS):
        rows = passed & (best == number)
        found[label] = (int(rows.sum()), float((truth[rows] == number).mean()) if rows.any() else 1.0)
    return found


def lowest(shares: np.ndarray, truth: np.ndarray, number: int, target: float) -> int:
    """The most answers of a label, five at least, that one threshold can let through at a precision."""
    best, score = shares.argmax(axis=1), shares.max(axis=1)
    rows = best == number
    counts = [0]
    for limit in set(score[rows].tolist()):
        passed = rows & (score >= limit)
        if passed.sum() >= 5 and (truth[passed] == number).mean() >= target:
            counts.append(int(passed.sum()))
    return max(counts)


@pytest.mark.parametrize("target", [0.01, 0.6, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("seed", range(5))
def test_thresholds_reach_the_precision_and_let_as_many_through_as_can_be(target: float, seed: int) -> None:
    at, truth = planted(int(20 * 5**seed / 4) + 20, 3, temperature=1.5, seed=seed)
    shares = at(1.5)
    thresholds = fit_thresholds(shares, truth, LABELS, target_precision=target)
    assert list(thresholds) == list(LABELS)
    assert all(type(value) is float and 0 <= value <= 1 for value in thresholds.values())
    for number, (label, (count, precision)) in enumerate(precisions(shares, truth, thresholds).items()):
        assert precision >= target, label
        assert count == lowest(shares, truth, number, target), label


def test_thresholds_reach_the_precision_where_scores_are_the_same() -> None:
    for seed in range(10):
        at, truth = planted(300, 3, temperature=1.0, seed=seed)
        shares = np.repeat(at(1.0)[:60], 5, axis=0)  # the same text several times, as headlines are, with labels that differ
        thresholds = fit_thresholds(shares, truth, LABELS, target_precision=0.6)
        for number, (label, (count, precision)) in enumerate(precisions(shares, truth, thresholds).items()):
            assert precision >= 0.6, label
            assert count == lowest(shares, truth, number, 0.6), label


def test_a_label_that_is_never_right_is_withheld_however_sure() -> None:
    shares = np.eye(3, dtype=np.float32)[[0] * 5 + [1] * 5]
    thresholds = fit_thresholds(shares, np.array([0] * 5 + [2] * 5), LABELS, target_precision=0.9)
    answers = format_predictions(
        ["a"] * 10,
        TokenizedTexts([[1]] * 10, np.arange(11)),
        100 * shares,
        labels=LABELS,
        kind=SINGLE,
        thresholds=thresholds_of(None, LABELS, thresholds),
    )
    assert [answer["abstained"] for answer in answers] == [False] * 5 + [True] * 5


def test_thresholds_of_labels_without_good_rows() -> None:
    shares = np.array([[0.9, 0.05, 0.05]] * 5 + [[0.1, 0.8, 0.1]] * 5)
    found = fit_thresholds(shares, np.array([0] * 5 + [2] * 5), LABELS, target_precision=0.9)
    assert found == {"利空": 0.0, "中性": 1.0, "利好": 1.0}


def test_four_answers_are_no_evidence() -> None:
    shares = np.array([[0.9, 0.05, 0.05]] * 4 + [[0.1, 0.8, 0.1]] * 5)
    found = fit_thresholds(shares, np.array([0] * 4 + [1] * 5), LABELS, target_precision=0.9)
    assert found == {"利空": 1.0, "中性": 0.0, "利好": 1.0}


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("target", [None, 0.5])
def test_a_bundle_is_calibrated_in_its_place(own: Bundle, temperature: float, target: float | None) -> None:
    texts, labels = labelled(own, 600, temperature=temperature)
    before, files = Predictor(own).predict(texts), names(own.path)
    found = calibrate(own, texts, labels, target_precision=target)
    again, record = Bundle.open(own.path), found.manifest.calibration
    assert again.manifest == found.manifest
    assert record is not None
    assert found.manifest.temperature == pytest.approx(temperature, rel=0.3)
    assert names(own.path) == files
    assert [path.name for path in own.path.parent.iterdir()] == ["bundle"]
    after = Predictor(again).predict(texts, scores=True)
    assert [answer["label"] for answer in after] == [answer["label"] for answer in before]
    if target is None or any(again.manifest.thresholds.values()):
        assert all(("abstained" in answer) == (target is not None) for answer in after)
    shares = np.array([list(answer["scores"].values()) for answer in after])
    truth = np.array([LABELS.index(label) for label in labels])
    assert record.rows == 600
    assert record.ece_after == pytest.approx(calibration_error(shares, truth), abs=1e-3)
    assert record.nll_after == pytest.approx(negative_log_likelihood(shares, truth), abs=1e-5)
    assert record.brier_after == pytest.approx(brier_score(shares, truth), abs=1e-5)
    assert record.nll_after <= record.nll_before
    assert abs(record.ece_held_out - record.ece_after) < 0.03
    assert record.target_precision == target
    if target is None:
        assert (record.answered, again.manifest.thresholds) == (1.0, {})
        return
    passed = [not answer.get("abstained", False) for answer in after]
    right = [a["label"] == label for a, label, good in zip(after, labels, passed, strict=True) if good]
    assert record.answered == pytest.approx(np.mean(passed))
    assert record.precision == pytest.approx(np.mean(right))
    assert not right or np.mean(right) >= target


def test_the_rest_of_the_bundle_stays_as_it_was(own: Bundle) -> None:
    texts, labels = labelled(own, 100)
    found = calibrate(own, texts, labels)
    changes = {"temperature", "thresholds", "calibration", "files"}
    for field in own.manifest.__dataclass_fields__:
        assert field in changes or getattr(found.manifest, field) == getattr(own.manifest, field), field
    same = set(own.manifest.files) - {"interface.json", "fixtures.jsonl"}
    assert {name: found.manifest.files[name] for name in same} == {name: own.manifest.files[name] for name in same}
    for engine in ("paddle", "paddle_inference"):
        np.testing.assert_allclose(
            Predictor(found, engine=engine).probabilities(texts), Predictor(found).probabilities(texts), atol=1e-5
        )


def test_calibrating_again_begins_from_the_model_not_from_the_last_time(own: Bundle, tmp_path: Path) -> None:
    texts, labels = labelled(own, 300, temperature=0.4)
    first = calibrate(own, texts, labels, target_precision=0.5)
    second = calibrate(first, texts, labels, target_precision=0.5)
    assert second.manifest.temperature == pytest.approx(first.manifest.temperature, rel=1e-3)
    assert second.manifest.calibration == first.manifest.calibration
    third = calibrate(second, texts, labels)
    assert third.manifest.thresholds == {}


def test_another_place_leaves_the_bundle_alone(own: Bundle, tmp_path: Path) -> None:
    before = {name: (own.path / name).read_bytes() for name in names(own.path) if (own.path / name).is_file()}
    texts, labels = labelled(own, 50)
    found = calibrate(own, texts, labels, target=tmp_path / "deep" / "other")
    assert found.path == tmp_path / "deep" / "other"
    assert {name: (own.path / name).read_bytes() for name in before} == before
    assert Bundle.open(own.path).manifest.temperature == 1
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(BundleError, match="is no bundle, so it will not be replaced"):
        calibrate(own, texts, labels, target=tmp_path / "thesis")


def test_a_bundle_with_a_target_always_says_whether_it_abstained(own: Bundle) -> None:
    texts, labels = labelled(own, 60)
    found = calibrate(own, texts, labels, target_precision=0.001)
    assert set(found.manifest.thresholds) == set(LABELS)
    assert [answer["abstained"] for answer in Predictor(found).predict([texts[0], ""])] == [False, True]


def test_windows_are_calibrated_together(own: Bundle) -> None:
    windowed = dataclasses.replace(own, manifest=dataclasses.replace(own.manifest, windows=WindowSpec(overlap_tokens=3)))
    texts, labels = labelled(own, 60)
    texts = [text * 9 for text in texts]
    found = calibrate(windowed, texts, labels)
    assert Predictor(found).predict(texts)[0]["window"]["windows"] > 1
    shares = Predictor(found).probabilities(texts)
    truth = np.array([LABELS.index(label) for label in labels])
    assert found.manifest.calibration is not None
    assert found.manifest.calibration.nll_after == pytest.approx(negative_log_likelihood(shares, truth), abs=1e-6)


def test_the_task_answers_with_the_new_temperature(own: Bundle) -> None:
    texts, labels = labelled(own, 200, temperature=0.3)
    calibrate(own, texts, labels, target_precision=0.97)
    found = Taskflow("domain_sentiment", task_path=str(own.path))(texts[:20])
    expected = Predictor(own.path).predict(texts[:20])
    assert [(a["label"], a["abstained"]) for a in found] == [(a["label"], a["abstained"]) for a in expected]
    np.testing.assert_allclose([a["score"] for a in found], [a["score"] for a in expected], atol=5e-6)


@pytest.mark.parametrize(
    ("rows", "labels", "target", "message"),
    [
        (MIN_CALIBRATION_ROWS - 1, None, None, "19 labelled rows are too few; expected 20 or more"),
        (0, None, None, "0 labelled rows are too few"),
        (30, ["利好"] * 29 + ["涨"], None, "row 29 has the label '涨'"),
        (30, None, 0.0, r"target_precision is 0\.0; expected above 0 and below 1"),
        (30, None, 1.0, "target_precision is 1.0"),
        (30, None, float("nan"), "target_precision is nan"),
        (30, None, 95.0, "target_precision is 95.0"),
        pytest.param(
            30,
            ["利好"] * 25,
            None,
            "30 texts and 25 labels",
        ),
    ],
)
def test_rows_that_cannot_be_used(own: Bundle, rows: int, labels: list[str] | None, target: float | None, message: str) -> None:
    before = (own.path / "bundle.json").read_bytes()
    texts, drawn = labelled(own, rows) if rows else ([], [])
    with pytest.raises(EmbtuneError, match=message) as raised:
        calibrate(own, texts, drawn if labels is None else labels, target_precision=target)
    assert isinstance(raised.value, DataError)
    assert (own.path / "bundle.json").read_bytes() == before


def test_without_scipy_the_extra_is_named(own: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = labelled(own, 30)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingDependencyError, match="pip install scipy"):
        calibrate(own, texts, labels)
    assert Bundle.open(own.path).manifest == own.manifest


PREPARE = (
    "import os, resource, signal, sys; from pathlib import Path; from paddlenlp_embtune.errors import BundleError;"
    "from paddlenlp_embtune.bundle import Bundle; from paddlenlp_embtune.export import BundleBuilder, calibrate;"
    "opened = Bundle.open(sys.argv[1]); rows = ['公司', '减持'] * 15, ['利好', '利空'] * 15;"
)


def child(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", PREPARE + script, str(folder)]
    return subprocess.run(command, check=False, text=True, capture_output=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize("limit", [300, 20_000])
def test_a_disk_that_takes_no_more_leaves_the_old_bundle(own: Bundle, limit: int) -> None:
    before = {name: (own.path / name).read_bytes() for name in names(own.path) if (own.path / name).is_file()}
    done = child(
        f"signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n    calibrate(opened, *rows)\nexcept BundleError as error:\n    print(error)\n",
        own.path,
    )
    assert "nothing was left behind" in done.stdout, done.stderr
    assert {name: (own.path / name).read_bytes() for name in before} == before
    assert [path.name for path in own.path.parent.iterdir()] == ["bundle"]


def test_a_kill_in_the_middle_leaves_the_old_bundle(own: Bundle) -> None:
    before = {name: (own.path / name).read_bytes() for name in names(own.path) if (own.path / name).is_file()}
    done = child("BundleBuilder.seal = lambda *a: os.kill(os.getpid(), signal.SIGKILL); calibrate(opened, *rows)", own.path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert {name: (own.path / name).read_bytes() for name in before} == before
    texts, labels = labelled(own, 30)
    calibrate(own, texts, labels)
    assert [path.name for path in own.path.parent.iterdir()] == ["bundle"]


def test_calibration_needs_no_paddle(own: Bundle) -> None:
    done = child("calibrate(opened, *rows); print('paddle' in sys.modules)", own.path)
    assert done.stdout == "False\n", done.stderr


def test_a_bundle_for_paddle_alone_can_be_calibrated(own: Bundle) -> None:
    engines = {"paddle": own.manifest.engines["paddle"]}
    bare = dataclasses.replace(own, manifest=dataclasses.replace(own.manifest, engines=engines))
    texts, labels = labelled(own, 40)
    assert calibrate(bare, texts, labels).manifest.calibration is not None


def test_labels_survive_any_temperature(bundle: Bundle) -> None:
    texts, _ = labelled(bundle, 200)
    at = Predictor(bundle).scaled_probabilities(texts)
    expected: Any = at(1.0).argmax(axis=1).tolist()
    assert all(at(t).argmax(axis=1).tolist() == expected for t in (0.05, 0.5, 3.0, 20.0))
