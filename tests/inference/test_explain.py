"""Explanations: the planted word is found, every token knows its place in the text as given, and the figures add up."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable

import numpy as np
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.inference._occlusion import log_odds, occlude
from paddlenlp_embtune.inference.explain import Attribution, Explanation
from paddlenlp_embtune.text import clean, pad
from paddlenlp_embtune.text._offsets import locate
from tests.planted import LABELS, PLANTED, planted_rows

NASTY = [
    "ＡＢＣ，立案调查！１２％",
    "😀👨\u200d👩\u200d👧🚀立案调查",
    "<b>立案调查</b>&amp;<script>",
    "a\x00立\x07案\u200b调\ufeff查",
    "\ud800立案调查\udc00\ude00\ud83d",
    "㈱立案ﬁ½①",
    "  立 案\t\n\u3000调  查\u2028 ",
    "e\u0301\u0323立ｶﾞ각İΣ\u00a8案",
    "\u0301\u0301立",
    "\u200d\u0301 \u0301立",
    "公司\r\n被立案调查" * 30,
]


def explanation_of(text: str, contributions: list[float]) -> Explanation:
    values = np.array(contributions, dtype=np.float32)
    places = tuple((at, at + 1) for at in range(len(text)))
    return Explanation(text, "利空", 0.9, tuple(text), places, Attribution("occlusion", values, float(values.sum())))


def test_the_planted_word_is_named(planted: Bundle) -> None:
    rows = [(text, label) for text, label in planted_rows(90)[:60] if label != "中性"]
    found = Predictor(planted).explain([text for text, _ in rows])
    for (text, label), explanation in zip(rows, found, strict=True):
        (word,) = [word for word in PLANTED if word in text]
        at = text.index(word)
        inside = explanation.attribution.contributions[at : at + 4].sum()
        start, end, value = explanation.terms()[0]
        assert (explanation.label, value > 0) == (label, True)
        assert max(start, at) < min(end, at + 4), text
        assert inside > 0.7 * np.abs(explanation.attribution.contributions).sum(), text


def test_a_label_that_a_text_does_not_get_is_spoken_against(planted: Bundle) -> None:
    predictor = Predictor(planted)
    (explanation,) = predictor.explain(["今天被立案调查了"], label="利好")
    (answer,) = predictor.predict(["今天被立案调查了"], scores=True)
    assert (answer["label"], explanation.label) == ("利空", "利好")
    assert explanation.score == answer["scores"]["利好"]
    start, end, value = explanation.terms()[0]
    assert value < 0
    assert explanation.text[start:end] in "立案调查"


@pytest.mark.parametrize("windows", [None, True])
def test_answers_that_are_there_are_explained_without_predicting_again(
    planted: Bundle, windows: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["今天被立案调查了", " ", "这是回购注销的" * 20]
    predictor = Predictor(planted, windows=windows)
    expected = [predictor.explain(texts, label=label) for label in (None, "利好")]
    answers = predictor.predict(texts, scores=True)
    runs: list[np.ndarray] = []
    occluded = predictor.engine.run
    monkeypatch.setattr(predictor.engine, "run", lambda ids: (runs.append(ids), occluded(ids))[1])
    monkeypatch.setattr(Predictor, "predict", lambda *_, **__: pytest.fail("predicted again"))
    for label, wanted in zip((None, "利好"), expected, strict=True):
        found = predictor.explain_answers(answers, label=label)
        assert [explanation.to_dict() for explanation in found] == [explanation.to_dict() for explanation in wanted]
    runs.clear()
    predictor.explain_answers(answers[1:2])
    assert runs == []  # nothing to explain in a blank text


def test_an_answer_without_the_score_of_the_label_is_refused(planted: Bundle) -> None:
    predictor = Predictor(planted)
    answers = predictor.predict(["今天被立案调查了"])
    assert predictor.explain_answers(answers)[0].score == answers[0]["score"]
    assert predictor.explain_answers(answers, label="利空")[0].score == answers[0]["score"]
    with pytest.raises(DataError, match="no score of '利好', only of '利空'; to explain '利好', predict with scores=True"):
        predictor.explain_answers(answers, label="利好")


def test_figures_are_log_odds_and_add_up(planted: Bundle) -> None:
    predictor = Predictor(planted)
    (explanation,) = predictor.explain(["这是回购注销的"])
    ids = planted.tokenizer.encode("这是回购注销的")
    number = LABELS.index(explanation.label or "")
    text, nothing = (log_odds(predictor.engine.run(pad([row])), label=number, temperature=1.0)[0] for row in (ids, []))
    attribution = explanation.attribution
    assert text == pytest.approx(np.log(explanation.score / (1 - explanation.score)), rel=0.01)
    assert attribution.difference == pytest.approx(text - nothing, abs=1e-4)
    assert attribution.contributions.sum() == pytest.approx(attribution.difference + attribution.residual, abs=1e-4)
    assert attribution.contributions.dtype == np.float32


def test_the_temperature_of_the_bundle_counts() -> None:
    logits = np.array([[3.0, 1.0, 0.0]], dtype=np.float32)
    scaled = np.exp(logits[0] / 2)
    assert log_odds(logits, label=0, temperature=2.0)[0] == pytest.approx(np.log(scaled[0] / scaled[1:].sum()))


Run = Callable[[np.ndarray], np.ndarray]


def additive(weights: np.ndarray, seen: list[tuple[int, int]] | None = None) -> Run:
    """An engine whose answer is a sum over tokens, in two classes."""

    def run(ids: np.ndarray) -> np.ndarray:
        if seen is not None:
            seen.append(ids.shape)
        total = weights[ids].sum(axis=1)
        return np.stack([total, np.zeros_like(total)], axis=1).astype(np.float32)

    return run


@pytest.mark.parametrize("length", [1, 2, 3, 20, 147])
def test_occlusion_is_exact_where_tokens_add_up(length: int) -> None:
    generator = np.random.default_rng(length)
    weights = np.append(0.0, generator.normal(size=50))
    ids = generator.integers(1, 51, length)
    found = occlude(additive(weights), ids.tolist(), label=0)
    np.testing.assert_allclose(found.contributions, weights[ids], atol=1e-3)
    assert found.difference == pytest.approx(weights[ids].sum(), abs=1e-3)
    assert abs(found.residual) < 1e-2


@pytest.mark.parametrize("length", [147, 148, 256, 512, 1000, 5000])
def test_long_texts_are_searched_in_blocks_first_at_a_bounded_cost(length: int) -> None:
    weights = np.array([0.0, 0.0, 3.0, -2.0])
    ids = np.ones(length, dtype=np.int64)
    ids[length // 2], ids[5] = 2, 3
    seen: list[tuple[int, int]] = []
    found = occlude(additive(weights, seen), ids.tolist(), label=0)
    contributions = found.contributions
    assert int(contributions.argmax()) == length // 2
    assert contributions.max() == pytest.approx(3.0, abs=0.3)
    assert int(contributions.argmin()) == 5
    assert abs(found.residual) < 0.05
    assert sum(rows for rows, _ in seen) <= 450
    assert max(rows * width for rows, width in seen) <= max(1 << 14, length)


def test_neighbours_that_say_the_same_share_what_they_say() -> None:
    """Either of two tokens is enough, so that leaving one out changes nothing."""

    def run(ids: np.ndarray) -> np.ndarray:
        either = 4.0 * (ids == 9).any(axis=1)
        return np.stack([either, np.zeros_like(either)], axis=1).astype(np.float32)

    ids = [1, 2, 3, 4, 9, 9, 5, 6, 7, 8]
    contributions = occlude(run, ids, label=0).contributions
    assert set(np.argsort(-contributions)[:2].tolist()) == {4, 5}
    assert contributions[4] == pytest.approx(contributions[5], abs=0.05)
    assert contributions[4:6].sum() > 2.0


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("text", [*NASTY, "", " ", "\u200b\x00"])
def test_places_point_at_what_was_cleaned(text: str, lowercase: bool) -> None:
    cleaned = clean(text, lowercase=lowercase)
    places = locate(text, lowercase=lowercase, limit=len(text) * 20)
    assert len(places) == len(cleaned)
    for character, (start, end) in zip(cleaned, places, strict=True):
        part = clean(f"一{text[start:end]}一", lowercase=lowercase)
        assert character in part or character in "σς"
    for (_, end), (start, _) in itertools.pairwise(places):
        assert start >= end or (start, end) in places
    for limit in (1, 3):
        assert locate(text, lowercase=lowercase, limit=limit) == places[:limit]


def test_places_of_characters_that_cleaning_changes() -> None:
    def parts(text: str) -> list[str]:
        return [text[start:end] for start, end in locate(text, lowercase=True, limit=99)]

    assert parts("Ａ，①") == ["Ａ", "，", "①"]
    assert parts("㈱涨") == ["㈱", "㈱", "㈱", "涨"]
    assert parts("e\u0301涨ｶﾞ") == ["e\u0301", "涨", "ｶﾞ"]
    assert parts("a\u200b\u0301b\x00") == ["a\u200b\u0301", "b"]
    assert parts(" \x00立 \u3000\n案 ") == ["立", " \u3000\n", "案"]
    assert parts("\ud800涨") == ["\ud800", "涨"]


def test_places_of_every_character_and_of_mixtures() -> None:
    generator = random.Random(3)
    for start in range(0, 0x110000, 0x80):
        text = "".join(map(chr, range(start, start + 0x80)))
        assert len(locate(text, lowercase=True, limit=9999)) == len(clean(text, lowercase=True))
    pools = [
        "涨停abＡ，",
        "\u0301\u0323\u0345\u3099\u0f71\u0f72",
        "가각ᆫ",
        "かｶﾞﾟ",
        "👨\u200d\ufe0f",
        " \t\u3000\u00a8\x85",
        "\x00\u200b\xad",
    ]
    for _ in range(3000):
        text = "".join(generator.choice(generator.choice(pools)) for _ in range(generator.randint(0, 12)))
        assert len(locate(text, lowercase=True, limit=99)) == len(clean(text, lowercase=True)), ascii(text)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["股", " ", "a\u0301", "\u0301", "\u200b", "ᆨ", "涨　Ａ\u200b\n", "\u1025\u102e"])
def test_places_in_a_long_text(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    assert len(locate(text, lowercase=True, limit=200_000)) == len(clean(text, lowercase=True))


@pytest.mark.parametrize("text", [*NASTY, "股" * 100_000])
def test_odd_texts_are_explained(planted: Bundle, text: str) -> None:
    (explanation,) = Predictor(planted).explain([text])
    tokens = planted.tokenizer.tokens(text)
    assert explanation.text == text
    assert list(explanation.tokens) == tokens[:64]
    assert len(explanation.offsets) == len(explanation.tokens) == len(explanation.attribution.contributions)
    assert np.isfinite(explanation.attribution.contributions).all()
    for token, (start, end) in zip(explanation.tokens, explanation.offsets, strict=True):
        assert token in clean(f"一{text[start:end]}一", lowercase=True)
    if len(tokens) > 64:
        assert explanation.cut_at == explanation.offsets[-1][1]
        assert clean(text[: explanation.cut_at], lowercase=True) == "".join(tokens[:64]).strip()
    else:
        assert explanation.cut_at is None
    assert json.loads(json.dumps(explanation.to_dict()))["tokens"] == list(explanation.tokens)


@pytest.mark.parametrize("label", [None, "利好"])
def test_as_many_explanations_as_texts_blanks_included(planted: Bundle, label: str | None) -> None:
    found = Predictor(planted).explain(["立案调查", " \u200b", "回购注销"], label=label)
    assert [explanation.label is None for explanation in found] == [False, True, False]
    blank = found[1]
    assert (blank.text, blank.score, blank.tokens, blank.offsets, blank.terms()) == (" \u200b", 0.0, (), (), [])
    assert blank.attribution.contributions.shape == (0,)
    assert Predictor(planted).explain([]) == []


def test_what_is_not_there_is_refused_with_what_there_is(planted: Bundle) -> None:
    predictor = Predictor(planted)
    with pytest.raises(DataError, match=r"no label '利坏'; did you mean .*Expected 中性, 利好 or 利空"):
        predictor.explain(["公司"], label="利坏")
    with pytest.raises(DataError, match="'onnxruntime' does not explain by 'occlusio'; did you mean 'occlusion'"):
        predictor.explain(["公司"], method="occlusio")
    with pytest.raises(TypeError, match="text number 1 must be a str, got 3"):
        predictor.explain(["公司", 3])  # type: ignore[list-item]


def test_an_engine_that_can_attribute_is_asked(planted: Bundle) -> None:
    predictor = Predictor(planted)

    def attribute(ids: list[int], *, label: int, temperature: float, fixed: tuple[int, int]) -> Attribution:
        assert fixed == (0, 0)
        return Attribution("integrated_gradients", np.full(len(ids), label, dtype=np.float32), temperature)

    predictor.engine.attribute = attribute  # type: ignore[attr-defined]
    (explanation,) = predictor.explain(["公司"], label="利好")
    assert explanation.attribution.contributions.tolist() == [2.0, 2.0]
    assert explanation.attribution.method == "integrated_gradients"
    (explanation,) = predictor.explain(["公司"], method="occlusion")
    assert explanation.attribution.method == "occlusion"


@pytest.mark.parametrize(
    ("text", "contributions", "terms"),
    [
        ("被立案调查了", [0.0, 1.0, 2.0, 0.2, 1.0, 0.0], [("立案调查", 4.2)]),
        ("涨，跌", [1.0, 1.0, 1.0], [("涨", 1.0), ("，", 1.0), ("跌", 1.0)]),
        ("涨跌停", [1.0, -2.0, -1.0], [("跌停", -3.0), ("涨", 1.0)]),
        ("涨 停", [1.0, 1.0, 1.0], [("涨", 1.0), ("停", 1.0)]),
        ("涨停板", [2.0, 0.05, 0.2], [("涨", 2.0)]),
        ("涨停", [0.0, 0.0], []),
    ],
)
def test_neighbours_of_one_sign_are_one_term(text: str, contributions: list[float], terms: list[tuple[str, float]]) -> None:
    explanation = explanation_of(text, contributions)
    found = [(text[start:end], round(value, 3)) for start, end, value in explanation.terms()]
    assert found == [(term, pytest.approx(value)) for term, value in terms]
    assert [term["text"] for term in explanation.to_dict()["terms"]] == [term for term, _ in terms]
