"""Baselines on invented rows: what they answer, how one is chosen, and what is said about the difference to a model."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from paddlenlp_embtune.config import BASELINES
from paddlenlp_embtune.errors import MissingDependencyError, RecipeError
from paddlenlp_embtune.evaluation.baselines import (
    FittedBaselines,
    build_baseline,
    compare_with_baseline,
    fit_baselines,
    out_of_fold_f1,
    out_of_fold_scores,
    predict_labels,
)
from tests.helpers import ROWS

TEXTS = [text for text, _ in ROWS]
LABELS = [label for _, label in ROWS]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("labels", [("利好", "利空"), ("利好", "利空", "中性")])
def test_every_baseline_learns(name: str, labels: tuple[str, ...]) -> None:
    texts = [text for text, label in ROWS if label in labels]
    truth = [label for _, label in ROWS if label in labels]
    fitted = build_baseline(name).fit(texts, truth)
    assert fitted.classes == tuple(sorted(labels))
    assert fitted.scores(texts).shape == (len(texts), len(labels))
    assert predict_labels(fitted, texts) == truth
    assert predict_labels(fitted, ["龘", "\ud800"]) != []


def noisy() -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("甲乙丙丁戊己庚辛"), 6)) for _ in range(400)]
    return texts, [("正" if text.count("甲") > text.count("乙") else "负") for text in texts]


@pytest.mark.parametrize(
    ("name", "longest", "reference"),
    [
        ("tfidf", 2, LogisticRegression(C=4.0, max_iter=5000)),
        ("tfidf-svm", 3, LinearSVC(C=1.0, max_iter=20_000, random_state=1)),
    ],
)
def test_linear_baselines_answer_like_those_of_scikit_learn(name: str, longest: int, reference: object) -> None:
    texts, labels = noisy()
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, longest))
    reference.fit(vectorizer.fit_transform(texts[:300]), labels[:300])  # type: ignore[attr-defined]
    expected = reference.predict(vectorizer.transform(texts[300:]))  # type: ignore[attr-defined]
    found = predict_labels(build_baseline(name).fit(texts[:300], labels[:300]), texts[300:])
    assert np.mean(np.asarray(found) == expected) > 0.97


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_scores(name: str) -> None:
    texts, labels = noisy()
    first, second = (build_baseline(name, seed=3).fit(texts, labels).scores(texts) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", BASELINES)
def test_rows_that_are_sorted_by_label_teach_as_much(name: str) -> None:
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("甲乙丙丁戊己庚辛"), 6)) for _ in range(4000)]
    truth = np.asarray([text.count("甲") > text.count("乙") for text in texts])
    labels = [str(label) for label in truth ^ (generator.random(4000) < 0.3)]  # as people disagree
    order = sorted(range(3000), key=labels.__getitem__)
    mixed = build_baseline(name).fit(texts[:3000], labels[:3000])
    ranked = build_baseline(name).fit([texts[row] for row in order], [labels[row] for row in order])
    right = [np.mean(np.asarray(predict_labels(each, texts[3000:])) == truth[3000:].astype(str)) for each in (mixed, ranked)]
    assert abs(right[0] - right[1]) <= 0.05


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"baseline is 'tfid'; did you mean 'tfidf'"):
        build_baseline("tfid")


@pytest.mark.parametrize(("package", "tokens"), [("fasttext", ()), ("jieba", TEXTS)])
def test_a_missing_package_names_the_extra(package: str, tokens: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"needs {package}.*paddlenlp-embtune\[baselines\]"):
        build_baseline("fasttext", tokens, LABELS)


def test_out_of_fold_figures_are_of_rows_that_were_not_fitted() -> None:
    """Texts that share nothing can be learned by heart, and tell nothing of others."""
    texts = [chr(0x4E00 + number) for number in range(60)]
    labels = ["正", "负"] * 30
    assert predict_labels(build_baseline("tfidf").fit(texts, labels), texts) == labels
    assert out_of_fold_f1(lambda: build_baseline("tfidf"), texts, labels) < 0.6


def test_rows_of_a_group_stay_in_one_fold() -> None:
    """A model that had seen a copy of a row would find its label likely."""
    texts, labels = noisy()
    texts, labels = texts[:90] * 2, labels[:90] * 2
    own = np.arange(180), np.unique(labels, return_inverse=True)[1]

    def answered(groups: np.ndarray) -> np.ndarray:
        return out_of_fold_scores(lambda: build_baseline("tfidf"), texts, labels, folds=5, groups=groups)

    together = answered(np.arange(180) % 90)
    assert np.allclose(together[:90], together[90:], atol=1e-6)
    assert np.allclose(together.sum(axis=1), 1)
    assert answered(np.arange(180))[own].mean() > together[own].mean() + 0.02


def test_a_label_that_a_fold_has_not_learned_is_impossible_there() -> None:
    texts, labels = [*"甲乙丙丁戊己", "唯一"], [*["a", "b"] * 3, "c"]
    scores = out_of_fold_scores(lambda: build_baseline("tfidf"), texts, labels, folds=3)
    assert scores[6, 2] == -np.inf
    assert np.isfinite(scores[6, :2]).all()


def test_many_rows_are_not_fitted_three_times() -> None:
    fits = []

    class Counting:
        classes = ("a", "b")

        def fit(self, texts: list[str], labels: list[str]) -> Counting:
            fits.append(len(texts))
            return self

        def scores(self, texts: list[str]) -> np.ndarray:
            return np.tile([1.0, 0.0], (len(texts), 1))

    assert out_of_fold_f1(Counting, ["x"] * 9000, ["a", "b"] * 4500) == pytest.approx(1 / 3)  # type: ignore[arg-type]
    assert fits == [6000]


def test_the_better_one_out_of_fold_is_chosen_and_both_answer() -> None:
    texts, labels = noisy()
    found = fit_baselines("auto", texts[:300], labels[:300], texts[300:])
    assert set(found.answers) == set(found.out_of_fold) == {"tfidf", "tfidf-svm"}
    assert found.out_of_fold[found.name] == max(found.out_of_fold.values())
    named = fit_baselines("tfidf", texts[:300], labels[:300], texts[300:])
    assert (named.name, named.out_of_fold) == ("tfidf", {})
    assert named.answers["tfidf"] == found.answers["tfidf"]


def compared(right_of_model: int, right_of_baseline: int, rows: int = 200) -> dict[str, object]:
    """Both are right on the first rows only, and guess the other label on the rest."""
    labels = ("a", "b")
    truth = [row % 2 for row in range(rows)]

    def answers(right: int) -> list[int]:
        return [number if row < right else 1 - number for row, number in enumerate(truth)]

    fitted = FittedBaselines("tfidf", {}, {"tfidf": tuple(labels[number] for number in answers(right_of_baseline))}, 0.5)
    return compare_with_baseline(fitted, truth, answers(right_of_model), labels, chosen_on_them=True)


@pytest.mark.parametrize(
    ("model", "baseline", "ahead", "said"),
    [
        (190, 150, "model", "the model is ahead of the baseline tfidf: "),
        (150, 190, "baseline", "the baseline tfidf (fitted in 0.5 s) is ahead of the model: "),
        (160, 158, None, "the difference between the model and the baseline tfidf is within noise: "),
        (160, 160, None, "within noise: both give the same answers on all 200 rows"),
    ],
)
def test_who_is_ahead_is_said_where_it_is_known(model: int, baseline: int, ahead: str | None, said: str) -> None:
    found = compared(model, baseline)
    assert found["ahead"] == ahead
    assert said in str(found["summary"])
    assert str(found["summary"]).endswith("the weights of the model were chosen on these rows, which favours it")
    assert found["difference"]["accuracy"]["value"] == pytest.approx((model - baseline) / 200)  # type: ignore[index]
