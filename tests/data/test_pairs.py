"""Files of pairs: which kind they are, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_embtune import DataError
from paddlenlp_embtune.data import Pairs, read_pairs


def read(folder: Path, content: str, name: str = "pairs.tsv") -> Pairs:
    (folder / name).write_text(content, encoding="utf-8")
    return read_pairs(folder / name)


def test_the_columns_tell_the_kind(tmp_path: Path) -> None:
    pairs = read(tmp_path, "anchor\tpositive\n回购\t回购股份\n减持\t股东减持\n")
    assert (pairs.first, pairs.second) == (("回购", "减持"), ("回购股份", "股东减持"))
    assert (pairs.negatives, pairs.scores, len(pairs)) == (None, None, 2)
    assert read(tmp_path, "anchor\tpositive\tnegative\n回购\t回购股份\t减持\n").negatives == ("减持",)
    scored = read(tmp_path, '{"sentence1": "a", "sentence2": "b", "score": 0.5}\n', "pairs.jsonl")
    assert (scored.scores, scored.negatives) == ((0.5,), None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\tlabel\na\tb\n", "no column 'anchor'"),
        ("anchor\tpositive\n", "no pairs|no rows|is empty"),
        ("anchor\tpositive\na\t \n", "line 2 .* empty 'positive'"),
        ("sentence1\tsentence2\tscore\na\tb\tx\n", "score 'x'; expected a finite number"),
        ("sentence1\tsentence2\tscore\na\tb\tnan\n", "finite"),
        ("sentence1\tsentence2\tscore\na\tb\t1\nb\ta\t0\n", "the scores 1 and 0; expected one"),
        ("anchor\tpositive\tnegative\na\tb\tc\na\tc\td\n", "'c' both as what belongs"),
        ("anchor\tpositive\tnegative\na\tb\ta\n", "'a' both as"),
    ],
)
def test_bad_files_are_refused(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)
