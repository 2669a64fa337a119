"""Analogies against gensim's answers, and word2vec's files of questions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors

from paddlenlp_embtune.embeddings.metrics import Analogy, read_analogies
from paddlenlp_embtune.embeddings.metrics._analogies import solve_analogies
from paddlenlp_embtune.errors import DataError, VectorError


def test_answers_are_gensims() -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(60, 8)).astype(np.float32)
    questions = np.array([generator.choice(60, 3, replace=False) for _ in range(300)])
    reference = KeyedVectors(8)
    reference.add_vectors([str(row) for row in range(60)], table)
    expected = [
        int(reference.most_similar(positive=[str(second), str(third)], negative=[str(first)], topn=1)[0][0])
        for first, second, third in questions
    ]
    np.testing.assert_array_equal(solve_analogies(table, questions), expected)


def test_words_of_the_question_and_zero_rows_are_no_answers() -> None:
    table = np.array([[1, 0], [1, 0], [1, 0], [-1, 0], [0, 0]], np.float32)
    assert solve_analogies(table, [[0, 1, 2]]).tolist() == [3]


def test_a_table_or_questions_of_another_shape_are_refused() -> None:
    with pytest.raises(VectorError, match=r"questions have the shape \(1, 4\) and the table 4 rows; expected \(questions, 3\)"):
        solve_analogies(np.ones((4, 2), np.float32), [[0, 1, 2, 3]])


def test_questions_are_read_with_their_sections(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("北京 中国 巴黎 法国\n\n: 货币\n中国\t人民币 日本 日元\n", encoding="utf-8")
    first, second = read_analogies(file)
    assert first == Analogy("", ("北京", "中国", "巴黎", "法国"))
    assert second == Analogy("货币", ("中国", "人民币", "日本", "日元"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read the analogies .*: No such file or directory; pass a file with four words a line"),
        (": a\n", "has no analogies; expected four words a line"),
        ("a b c d\na b c\n", "line 2 of .* has 3 words; expected four"),
    ],
)
def test_files_that_hold_no_questions_are_refused(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_analogies(file)
