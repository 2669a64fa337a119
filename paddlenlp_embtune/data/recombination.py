"""New texts out of the clauses and the runs of words of texts, for a teacher to answer."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from paddlenlp_embtune.data.validation import text_key
from paddlenlp_embtune.text import is_blank, word_cutter

__all__ = ["recombine_texts"]

_CLAUSE = re.compile(r"[^，。！？；!?;…~\s]*[，。！？；!?;…~\s]*")
_CLAUSES = (2, 2, 3, 4)
_MAX_WORDS = 6
_DRAWS = 4
"""How often it is tried for each text asked for; few rows have few combinations."""


def recombine_texts(texts: Sequence[str], count: int, *, without: Sequence[str] = ()) -> tuple[str, ...]:
    """Make new texts: half of them clauses of several texts, a quarter clauses side by side in one, a quarter runs of words.

    They have no labels of their own: a mixture of praise and blame is what a teacher makes of it. The same texts always give
    the same new ones, so that answers to them can be kept.

    Args:
        texts: of the training rows.
        count: how many to make; fewer where there are not so many.
        without: texts that none may equal, beside ``texts``.
    Source:
        runs of words: Tang et al. 2019, "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", section
        3.3, n-gram sampling; clauses of several texts: ours
    """
    by_text = [clauses for text in texts if (clauses := _clauses(text))]
    if not by_text or count < 1:
        return ()
    pool = [clause for clauses in by_text for clause in clauses]
    cutter, draw = word_cutter(hmm=False), random.Random(0)
    words: dict[int, list[str]] = {}
    seen, made = {text_key(text) for text in (*texts, *without)}, list[str]()
    for _ in range(count * _DRAWS):
        if len(made) == count:
            break
        kind, row = draw.random(), draw.randrange(len(by_text))
        if kind < 0.5:
            text = "".join(draw.choice(pool) for _ in range(draw.choice(_CLAUSES)))
        elif kind < 0.75:
            text = _run(by_text[row], draw, most=3)
        else:
            if row not in words:
                words[row] = list(cutter.cut("".join(by_text[row])))
            text = _run(words[row], draw, most=_MAX_WORDS)
        key = text_key(text)
        if not is_blank(text) and key not in seen:
            seen.add(key)
            made.append(text)
    return tuple(made)


def _clauses(text: str) -> list[str]:
    """Cut a text behind its marks; the parts concatenate to the text, but for blank ones."""
    return [clause for clause in _CLAUSE.findall(text) if not is_blank(clause)]


def _run(parts: Sequence[str], draw: random.Random, *, most: int) -> str:
    begin = draw.randrange(len(parts))
    return "".join(parts[begin : begin + draw.randint(1, most)]).strip()
