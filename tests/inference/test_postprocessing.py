"""Answers: windows put together, thresholds, levels, and what a blank text gets."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, DataError, RecipeError
from paddlenlp_embtune.export.bundle_writer import reseal
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.inference.postprocessing import aggregate, level_of, probabilities_of, softmax, thresholds_of
from paddlenlp_embtune.text import clean
from paddlenlp_embtune.text.encoding import TokenizedTexts
from paddlenlp_embtune.text.windows import WindowSpec, split_windows
from tests.bundles import TEXTS
from tests.helpers import edit_manifest

LABELS = ("利空", "中性", "利好")
LONG = "控股股东减持，净利润同比增长五成。公司拟回购股份！今天开会，停牌。" * 9
BLANKS = ("", " ", "\n\t", "\u200b", "\ufeff \x00")


def mixed(count: int, *, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    return [
        "".join(
            generator.choices(
                "公司拟回购股份控东减持净利润同比增长五成，。！ a", k=generator.choice([0, 1, 5, 30, 64, 65, 200, 700])
            )
        )
        for _ in range(count)
    ]


def changed(bundle: Bundle, folder: Path, **changes: Any) -> Bundle:
    return reseal(bundle, folder / "bundle", **changes)


def by_hand(predictor: Predictor, text: str, spec: WindowSpec) -> tuple[np.ndarray, tuple[int, int], int]:
    """Aggregate what the slices get by themselves: probabilities, the decisive place, the number of windows."""
    tokenizer, most = predictor.bundle.tokenizer, predictor.bundle.manifest.max_length
    places = split_windows(text, tokenizer, max_length=most, overlap=spec.overlap_tokens)
    alone = Predictor(predictor.bundle, windows=False)
    table = alone.probabilities([text[begin:end] for begin, end in places]).astype(np.float64)
    if spec.aggregate == "mean":
        found = table.mean(axis=0)
    elif spec.aggregate == "max":
        found = table.max(axis=0) / table.max(axis=0).sum()
    else:
        lengths = [len(tokenizer.encode(text[begin:end], max_length=most)) for begin, end in places]
        found = np.average(table, axis=0, weights=lengths)
    return found, places[int(table[:, found.argmax()].argmax())], len(places)


@pytest.mark.parametrize("method", ["mean", "length", "max"])
@pytest.mark.parametrize("overlap", [0, 7, 500])
def test_windows_are_put_together_as_by_hand(bundle: Bundle, method: str, overlap: int) -> None:
    spec = WindowSpec(overlap_tokens=overlap, aggregate=method)
    predictor = Predictor(bundle, windows=spec, batch_size=3)
    texts = ["公司拟回购股份", LONG, "", "停" * 64, "停" * 65, LONG[5:200], "a" * 500]
    for text, answer in zip(texts, predictor.predict(texts, scores=True), strict=True):
        assert answer["text"] == text
        if not text:
            assert answer["window"] == {"start": 0, "end": 0, "windows": 1}
            continue
        expected, place, count = by_hand(predictor, text, spec)
        np.testing.assert_allclose(list(answer["scores"].values()), expected, atol=5e-6)
        assert answer["window"] == {"start": place[0], "end": place[1], "windows": count}
        assert answer["label"] == LABELS[int(expected.argmax())]
        assert answer["score"] == pytest.approx(expected.max(), abs=5e-6)
    assert predictor.predict([LONG])[0]["window"]["windows"] > 4


@pytest.mark.parametrize("windows", [True, {}, {"overlap_tokens": 32}, WindowSpec(), {"aggregate": "mean"}])
def test_ways_to_ask_for_windows(bundle: Bundle, windows: Any) -> None:
    expected = Predictor(bundle, windows=WindowSpec(overlap_tokens=32, aggregate="mean")).predict([LONG])
    assert Predictor(bundle, windows=windows).predict([LONG]) == expected


def test_without_windows_long_texts_are_cut(bundle: Bundle, tmp_path: Path) -> None:
    expected = Predictor(bundle).predict([LONG[:64], "停"], scores=True)
    windowed = changed(bundle, tmp_path, windows=WindowSpec(overlap_tokens=3, aggregate="max"))
    for predictor in (Predictor(bundle), Predictor(bundle, windows=False), Predictor(windowed, windows=False)):
        found = predictor.predict([LONG, "停"], scores=True)
        assert [set(answer) for answer in found] == [{*expected[0], "cut"}, set(expected[0])]
        assert found[0]["cut"] is True
        assert "window" not in found[0]
        np.testing.assert_allclose(list(found[0]["scores"].values()), list(expected[0]["scores"].values()), atol=1e-6)


def test_the_bundle_says_how_long_texts_are_read(bundle: Bundle, tmp_path: Path) -> None:
    spec = WindowSpec(overlap_tokens=3, aggregate="max")
    windowed = changed(bundle, tmp_path, windows=spec)
    assert Bundle.open(windowed.path).manifest.windows == spec
    expected = Predictor(bundle, windows=spec).predict([LONG], scores=True)
    assert Predictor(windowed.path).predict([LONG], scores=True) == expected
    assert Predictor(windowed, windows={"aggregate": "mean"}).predict([LONG], scores=True) != expected


@pytest.mark.parametrize("windows", [{"overlap": 3}, {"aggregate": "median"}, {"overlap_tokens": -1}, "mean", 3, []])
def test_windows_that_are_not_legal(bundle: Bundle, windows: Any) -> None:
    with pytest.raises(RecipeError, match="windows"):
        Predictor(bundle, windows=windows)


def test_a_bundle_with_illegal_windows_is_refused_as_a_bundle(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.path, copy)
    edit_manifest(copy, lambda manifest: manifest.update(windows={"overlap_tokens": -1, "aggregate": "mean"}))
    with pytest.raises(BundleError, match="overlap_tokens must be 0 or more, got -1"):
        Bundle.open(copy)


def test_a_long_text_with_words_always_has_a_label(bundle: Bundle) -> None:
    predictor = Predictor(bundle, windows=WindowSpec(overlap_tokens=0))
    texts = ["停" * 64 + " " + first + "a" * 200 for first in ("", "公司", "减")] + ["停" * 64 + " " + "z" * 64]
    found = predictor.predict(texts)
    assert [answer["label"] is None for answer in found] == [False] * 4
    for answer in found:
        assert answer["text"][answer["window"]["start"] : answer["window"]["end"]].strip()
    expected, _, _ = by_hand(predictor, texts[3], WindowSpec(overlap_tokens=0))
    alone = Predictor(bundle).probabilities(["停" * 64, "z" * 64]).astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(expected, alone, atol=1e-6)


@pytest.mark.parametrize("engine", ["onnxruntime", "paddle"])
def test_the_decisive_window_is_explained(bundle: Bundle, engine: str) -> None:
    predictor = Predictor(bundle, engine=engine, windows=WindowSpec(overlap_tokens=5))
    begun = set()
    for text in [*mixed(12, seed=3), LONG, "\u200b " + LONG, "公司。", " "]:
        (answer,), (explanation,) = predictor.predict([text], scores=True), predictor.explain([text])
        assert (explanation.text, explanation.label) == (text, answer["label"])
        if answer["label"] is None:
            assert not explanation.offsets
            continue
        window = answer["window"]
        start, end = window["start"], window["end"]
        assert explanation.score == pytest.approx(answer["score"], abs=1e-6)
        assert (explanation.begun_at or 0, explanation.cut_at or len(text)) == (start, end)
        assert (explanation.begun_at is None, explanation.cut_at is None) == (start == 0, end == len(text))
        assert all(start <= first < last <= end for first, last in explanation.offsets)
        assert len(explanation.tokens) == len(explanation.offsets) == len(explanation.attribution.contributions)
        read = [clean(text[first:last], lowercase=True) for first, last in explanation.offsets]
        assert read == [token.strip() for token in explanation.tokens]
        begun.add(start > 0)
    assert begun == {True, False}


def test_thresholds_mark_answers_and_change_nothing_else(bundle: Bundle) -> None:
    texts = [*mixed(40), *BLANKS]
    plain = Predictor(bundle).predict(texts, scores=True)
    scores = sorted(answer["score"] for answer in plain if answer["label"])
    threshold = (scores[len(scores) // 2] + scores[len(scores) // 2 + 1]) / 2
    found = Predictor(bundle, abstain_below=threshold).predict(texts, scores=True)
    marks = [answer.pop("abstained") for answer in found]
    assert found == plain
    assert marks == [answer["score"] < threshold for answer in plain]
    assert 0 < sum(marks[:40]) < 40
    assert all(marks[40:])


def test_thresholds_by_label(bundle: Bundle, tmp_path: Path) -> None:
    texts = mixed(60)
    plain = Predictor(bundle).predict(texts)
    label = next(answer["label"] for answer in plain if answer["label"])
    expected = [answer["label"] in (None, label) for answer in plain]
    assert 0 < sum(expected) < 60 or len({answer["label"] for answer in plain}) < 3
    assert [a["abstained"] for a in Predictor(bundle, abstain_below={label: 1.0}).predict(texts)] == expected
    held = changed(bundle, tmp_path, thresholds={label: 1.0})
    assert [a["abstained"] for a in Predictor(held).predict(texts)] == expected
    assert not any(a["abstained"] for a in Predictor(held, abstain_below=0).predict(texts) if a["label"])
    assert not any(a["abstained"] for a in Predictor(held, abstain_below={}).predict(texts) if a["label"])


def test_a_threshold_of_zero_withholds_blanks_only_and_one_almost_all(bundle: Bundle) -> None:
    answers = Predictor(bundle, abstain_below=0).predict(["公司", ""])
    assert [answer["abstained"] for answer in answers] == [False, True]
    assert [answer["abstained"] for answer in Predictor(bundle, abstain_below=1).predict(["公司", ""])] == [True, True]


def test_no_thresholds_no_marks(bundle: Bundle) -> None:
    assert "abstained" not in Predictor(bundle).predict(["公司"])[0]


@pytest.mark.parametrize(
    "value", [-0.1, 1.0001, float("nan"), float("inf"), True, "0.5", [0.5], {"利好": 2}, {"利好": None}, {"利好": False}]
)
def test_thresholds_that_are_not_probabilities(bundle: Bundle, value: Any) -> None:
    with pytest.raises(DataError, match="expected a probability, 0 to 1"):
        Predictor(bundle, abstain_below=value)


@pytest.mark.parametrize("label", ["利", "", 3, None])
def test_thresholds_of_unknown_labels(bundle: Bundle, label: Any) -> None:
    with pytest.raises(DataError, match="abstain_below names the label"):
        Predictor(bundle, abstain_below={label: 0.5})


def test_a_threshold_as_numpy_gives_it() -> None:
    assert thresholds_of(np.float64(0.5), LABELS, {}) is not None  # type: ignore[arg-type]
    assert thresholds_of({"利好": 1}, LABELS, {"利空": 0.5}).tolist() == [0, 0, 1]  # type: ignore[union-attr]


def test_a_score_that_equals_its_threshold_is_an_answer(bundle: Bundle) -> None:
    for text in mixed(20, seed=5):
        (answer,) = Predictor(bundle).predict([text])
        if answer["label"] is not None:
            assert Predictor(bundle, abstain_below=answer["score"]).predict([text])[0]["abstained"] is False


def test_levels_and_their_spread_by_hand(bundle: Bundle, tmp_path: Path) -> None:
    for predictor in (Predictor(bundle), Predictor(bundle, windows=True)):
        for answer in predictor.predict([*TEXTS, LONG], scores=True):
            if answer["label"] is None:
                assert (answer["level"], answer["level_spread"]) == (None, None)
                continue
            shares = list(answer["scores"].values())
            level = shares[1] + 2 * shares[2]
            assert answer["level"] == pytest.approx(level, abs=1e-5)
            spread = sum(share * (k - level) ** 2 for k, share in enumerate(shares)) ** 0.5
            assert answer["level_spread"] == pytest.approx(spread, abs=1e-5)
        assert "level" not in predictor.predict(["公司"])[0]
    unordered = changed(bundle, tmp_path, ordered=False, kind="single")
    assert "level" not in Predictor(unordered).predict(["公司"], scores=True)[0]


@pytest.mark.parametrize(
    ("shares", "level", "spread"),
    [([1, 0, 0], 0, 0), ([0, 0, 1], 2, 0), ([0.5, 0, 0.5], 1, 1), ([0, 1, 0], 1, 0), ([0.25, 0.5, 0.25], 1, 0.5**0.5)],
)
def test_levels_of_plain_numbers(shares: list[float], level: float, spread: float) -> None:
    mean, deviation = level_of(np.array([shares], dtype=np.float32))
    assert (mean[0], deviation[0]) == (pytest.approx(level), pytest.approx(spread))


@pytest.mark.parametrize("blank", BLANKS)
def test_everything_a_blank_text_gets(bundle: Bundle, blank: str) -> None:
    predictor = Predictor(bundle, windows=True, abstain_below=0.0)
    nothing = {"text": blank, "label": None, "score": 0.0, "abstained": True, "scores": dict.fromkeys(LABELS, 0.0)}
    nothing |= {"level": None, "level_spread": None, "window": {"start": 0, "end": len(blank), "windows": 1}}
    assert predictor.predict(["利好", blank, "减持"], scores=True)[1] == nothing
    assert predictor.predict([blank], scores=True) == [nothing]


def test_answers_are_plain_values(bundle: Bundle) -> None:
    answers = Predictor(bundle, windows=True, abstain_below=0.4).predict([LONG, "", "公司"], scores=True)
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers
    assert all(type(answer["abstained"]) is bool for answer in answers)


def test_an_array_of_texts_is_a_sequence_too(bundle: Bundle) -> None:
    texts = np.array(["公司", "减持"], dtype=object)
    assert [answer["label"] for answer in Predictor(bundle).predict(texts)] == [  # type: ignore[arg-type]
        answer["label"] for answer in Predictor(bundle).predict(texts.tolist())
    ]


def test_nothing_at_all(bundle: Bundle) -> None:
    for windows in (False, True):
        predictor = Predictor(bundle, windows=windows, abstain_below=0.5)
        assert predictor.predict([], scores=True) == predictor.explain([]) == predictor.predict(()) == []
        assert predictor.probabilities([]).shape == (0, 3)
        assert list(predictor.stream([])) == []


def test_aggregation_of_plain_numbers() -> None:
    windows = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.3, 0.7]], dtype=np.float32)
    tokenized = TokenizedTexts(ids=[[1] * 9, [1], [1], [1, 2]], first=np.array([0, 2, 3, 4]), spans=None)
    for method, expected in (("mean", [0.55, 0.45]), ("length", [0.83, 0.17]), ("max", [0.9 / 1.7, 0.8 / 1.7])):
        found, decisive = aggregate(windows, tokenized, method=method)
        np.testing.assert_allclose(found, [expected, [0.5, 0.5], [0.3, 0.7]], atol=1e-6)
        assert (found.dtype, decisive.tolist()) == (np.float32, [0, 2, 3])


def test_softmax_of_extreme_logits() -> None:
    found = softmax(np.array([[1e4, 0, -1e4], [-1e30, -1e30, -1e30], [0, np.log(3), -np.inf]], dtype=np.float32))
    np.testing.assert_allclose(found, [[1, 0, 0], [1 / 3] * 3, [0.25, 0.75, 0]], atol=1e-6)


def test_the_temperature_of_the_bundle_is_used_once(bundle: Bundle, tmp_path: Path) -> None:
    warm = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, temperature=2.5))
    logits = np.log(Predictor(bundle).probabilities(TEXTS[:-1]).astype(np.float64))
    np.testing.assert_allclose(Predictor(warm).probabilities(TEXTS[:-1]), softmax(logits / 2.5), atol=1e-6)  # type: ignore[arg-type]
    np.testing.assert_allclose(
        Predictor(bundle).scaled_probabilities(TEXTS)(2.5), Predictor(warm).probabilities(TEXTS), atol=1e-7
    )


def spread(counts: list[int]) -> TokenizedTexts:
    """Texts with so many windows of one token."""
    return TokenizedTexts([[1]] * sum(counts), np.cumsum([0, *counts]))


@pytest.mark.parametrize("method", ["mean", "length", "max"])
@pytest.mark.parametrize("temperature", [0.001, 0.05, 0.5, 3.0, 20.0, 1000.0])
@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 30.0, 1e4])
def test_no_temperature_changes_a_label_or_the_decisive_window(method: str, temperature: float, scale: float) -> None:
    generator = np.random.default_rng(0)
    counts = generator.integers(1, 5, 200).tolist()
    logits = (generator.normal(size=(sum(counts), 3)) * scale).astype(np.float32)
    logits[::7, 1] = np.nextafter(logits[::7].max(axis=1), np.float32(np.inf))  # as near a tie as can be
    windows = WindowSpec(overlap_tokens=1, aggregate=method)
    with np.errstate(all="raise", under="ignore"):
        plain, decisive = probabilities_of(logits, spread(counts), temperature=1.0, windows=windows)
        found, again = probabilities_of(logits, spread(counts), temperature=temperature, windows=windows)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(axis=1), plain.argmax(axis=1))
    np.testing.assert_array_equal(again, decisive)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 2.5, 20.0])
def test_a_text_of_one_window_gets_the_same_scores_beside_others_with_more(temperature: float) -> None:
    logits = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32) * 5
    counts = [1, 3, 1, 2, 1, 1]
    found, _ = probabilities_of(logits, spread(counts), temperature=temperature, windows=WindowSpec(overlap_tokens=1))
    for text, row in ((0, 0), (2, 4), (4, 7), (5, 8)):
        alone, _ = probabilities_of(logits[row : row + 1], spread([1]), temperature=temperature, windows=None)
        assert found[text].tobytes() == alone[0].tobytes()
