"""TF-IDF of character n-grams, against scikit-learn's vectorizer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from paddlenlp_embtune.evaluation.baselines._character_ngrams import CharacterNgrams

TRAIN = ["净利润翻番", "公司  拟回购 A股", "a\t\nB 净利", "\U0001f600涨", "İ减持", "x"]
OTHER = ["净利回购", "龘", "", "a B\u3000\u3000c", "x" * 50]


def known_rows(texts: list[str], others: list[str], longest: int) -> tuple[np.ndarray, np.ndarray]:
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, longest))
    train = vectorizer.fit_transform(texts)
    return (train @ train.T).toarray(), (vectorizer.transform(others) @ train.T).toarray()


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_features_are_those_of_scikit_learn(longest: int) -> None:
    """Up to the order of the columns, on which products of rows do not depend."""
    features = CharacterNgrams(longest)
    train = features.fit_transform(TRAIN)
    other = features.transform(OTHER)
    expected_train, expected_other = known_rows(TRAIN, OTHER, longest)
    assert train.shape[1] == len(TfidfVectorizer(analyzer="char", ngram_range=(1, longest)).fit(TRAIN).vocabulary_)
    np.testing.assert_allclose((train @ train.T).toarray(), expected_train, atol=1e-12)
    np.testing.assert_allclose((other @ train.T).toarray(), expected_other, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_random_texts(seed: int) -> None:
    generator = np.random.default_rng(seed)
    characters = list("abc 一二\n\U0010ffff")
    texts = ["".join(generator.choice(characters, generator.integers(1, 9))) for _ in range(5)] + ["一"]
    features = CharacterNgrams(3)
    rows = features.fit_transform(texts)
    np.testing.assert_allclose((rows @ rows.T).toarray(), known_rows(texts, texts, 3)[0], atol=1e-12)


def test_half_characters_are_counted_too() -> None:
    rows = CharacterNgrams(2).fit_transform(["\ud800", "\ud800a"])
    assert rows.shape == (2, 3)
