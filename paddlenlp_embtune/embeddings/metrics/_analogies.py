"""Analogies: whether the fourth word is found from three, in word2vec's format of questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics.sampling import Ids, Table, unit_rows
from paddlenlp_embtune.errors import DataError, VectorError
from paddlenlp_embtune.utils.text_files.line_reader import read_lines

__all__ = ["Analogy", "read_analogies", "sections_of", "solve_analogies"]

_STEP = 256


@dataclasses.dataclass(frozen=True)
class Analogy:
    """A question: ``words[0]`` is to ``words[1]`` as ``words[2]`` is to ``words[3]``.

    Args:
        section: that it stands in; empty where the file has none.
        words: all four.
    """

    section: str
    words: tuple[str, str, str, str]


def read_analogies(path: Path) -> list[Analogy]:
    """Read questions: four words a line, parted by white space, under lines such as ``: capitals``.

    Raises:
        DataError: the file cannot be read, a line has another number of words, or there is no question.
    """
    try:
        lines = read_lines(path, error=DataError)
    except OSError as error:
        raise DataError(f"cannot read the analogies {path}: {error.strerror}; pass a file with four words a line") from None
    found, section = list[Analogy](), ""
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if line.startswith(":"):
            section = line[1:].strip()
        elif len(words) == 4:
            found.append(Analogy(section, (words[0], words[1], words[2], words[3])))
        elif words:
            raise DataError(
                f"line {number} of {path} has {len(words)} words; expected four, or a section such as ': capitals'; fix it"
            )
    if not found:
        raise DataError(f"{path} has no analogies; expected four words a line")
    return found


def solve_analogies(table: Table, questions: npt.ArrayLike) -> Ids:
    """Find the fourth row of each question: the one with the highest cosine to second - first + third, all of length one.

    Rows of the question itself are no answers. Zero rows are never answers, unless there is no other.

    Args:
        table: (V, D) float32, four rows or more.
        questions: (Q, 3) row numbers.
    Shapes:
        returns: (Q,) int64 row numbers
    Raises:
        VectorError: the questions are of another shape.
    Source:
        Mikolov, Yih and Zweig 2013, "Linguistic Regularities in Continuous Space Word Representations", section 4, which Levy
        and Goldberg 2014, "Linguistic Regularities in Sparse and Explicit Word Representations", call 3CosAdd
    """
    asked = np.asarray(questions, dtype=np.int64)
    if asked.shape[1:] != (3,) or len(table) < 4:
        raise VectorError(
            f"questions have the shape {asked.shape} and the table {len(table)} rows; expected (questions, 3), 4 rows or more"
        )
    unit = unit_rows(table).astype(np.float32)
    zero = ~unit.any(axis=1)
    answers = np.empty(len(asked), dtype=np.int64)
    for at in range(0, len(asked), _STEP):
        part = asked[at : at + _STEP]
        scores = (unit[part[:, 1]] - unit[part[:, 0]] + unit[part[:, 2]]) @ unit.T
        scores[:, zero] = -np.inf
        scores[np.arange(len(part))[:, None], part] = -np.inf
        answers[at : at + _STEP] = scores.argmax(axis=1)
    return answers


def sections_of(questions: Sequence[Analogy]) -> list[str]:
    """Return the names of the sections in their order."""
    return list(dict.fromkeys(question.section for question in questions))
