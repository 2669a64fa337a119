"""An evaluation of vectors without a task: groups of terms, outliers, analogies, and how they fill their space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.embeddings.metrics._analogies import Analogy, sections_of, solve_analogies
from paddlenlp_embtune.embeddings.metrics._group_measures import measure_groups
from paddlenlp_embtune.embeddings.metrics._isotropy import effective_rank, mean_cosine, uniformity
from paddlenlp_embtune.embeddings.metrics._term_map import special_rows
from paddlenlp_embtune.embeddings.metrics._words import FoundWords, find_words
from paddlenlp_embtune.errors import VectorError

__all__ = ["evaluate_vectors"]

_MISSING = 20
_OF_ALL = ("agreement_by_chance", "outlier_tests")
"""What does not depend on the vectors."""


def evaluate_vectors(
    sources: Sequence[VectorTable],
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    analogies: Sequence[Analogy] = (),
    candidates: int = 200_000,
) -> dict[str, Any]:
    """Measure vectors, several side by side on the words that all of them have.

    A word without a row of its own stands for what the source composes, or for the mean of its characters.

    Args:
        sources: one or more.
        groups: terms that belong together, by name.
        analogies: questions.
        candidates: answers are sought among so many tokens, the first of the first source, and the words of the questions.
    Returns:
        ``sources`` (``source``, ``rows``, ``width``, ``uniformity`` with its ``uniformity_error``, ``mean_cosine``,
        ``effective_rank``), ``groups`` and ``analogies``, None where nothing was asked. Both have a ``coverage`` (``words``,
        ``used``, and for each source ``whole``, ``composed``, ``missing`` and ``missing_examples``); a measure is a list with a
        value for each source. ``groups``: ``alignment``, ``agreement``, ``agreement_by_chance``, ``outlier_accuracy``,
        ``outlier_position``, ``outlier_tests``, and ``by_group`` with ``name``, ``terms``, ``cohesion``, ``silhouette`` and the
        same. ``analogies``: ``questions``, ``asked``, ``candidates``, ``correct``, ``accuracy``, and ``by_section``.
    Raises:
        VectorError: no word is known to all sources, or none of the groups has two such terms.
    """
    return {
        "sources": [_of_source(source) for source in sources],
        "groups": _of_groups(sources, groups) if groups else None,
        "analogies": _of_analogies(sources, analogies, candidates) if analogies else None,
    }


def _of_source(source: VectorTable) -> dict[str, Any]:
    tokens = list(source.rows)
    kept = np.delete(np.fromiter(source.rows.values(), np.int64, len(tokens)), special_rows(tokens))
    table = source.table[np.unique(kept)]
    spread = uniformity(table)
    return {
        "source": source.source,
        "rows": len(table),
        "width": source.dimension,
        "uniformity": spread.value,
        "uniformity_error": spread.standard_error,
        "mean_cosine": mean_cosine(table),
        "effective_rank": effective_rank(table).value,
    }


def _common(
    sources: Sequence[VectorTable], words: Iterable[str], what: str
) -> tuple[list[FoundWords], list[str], dict[str, Any]]:
    """Find words in all sources; return them, those that all have, and the coverage."""
    wanted = list(dict.fromkeys(words))
    found = [find_words(source, wanted) for source in sources]
    used = [word for word in wanted if all(word in each.vectors for each in found)]
    if not used:
        names = " and ".join(source.source for source in sources)
        raise VectorError(
            f"none of the {len(wanted)} {what} has a vector in {names}, the first of them {wanted[0]!r}; expected words of the "
            "same language and script as the tokens of the vectors"
        )
    coverage = {
        "words": len(wanted),
        "used": len(used),
        "whole": [len(each.whole) for each in found],
        "composed": [len(each.vectors) - len(each.whole) for each in found],
        "missing": [len(each.missing) for each in found],
        "missing_examples": [list(each.missing[:_MISSING]) for each in found],
    }
    return found, used, coverage


def _of_groups(sources: Sequence[VectorTable], groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found, used, coverage = _common(sources, (term for terms in groups.values() for term in terms), "terms of the groups")
    place = {term: at for at, term in enumerate(used)}
    rows = {name: [place[term] for term in dict.fromkeys(terms) if term in place] for name, terms in groups.items()}
    large = {name: members for name, members in rows.items() if len(members) > 1}
    if not large:
        raise VectorError(
            f"none of the {len(groups)} groups has two terms with vectors; expected groups of terms whose characters, or "
            "themselves, are tokens of the vectors"
        )
    measured = [measure_groups(each.stacked(used), large) for each in found]
    sizes = {name: len(members) for name, members in large.items()}
    overall = [each.overall(sizes) for each in measured]
    by_group = [[each.group(name) for each in measured] for name in large]
    return {
        "coverage": coverage,
        **{key: overall[0][key] if key in _OF_ALL else [each[key] for each in overall] for key in overall[0]},
        "by_group": [
            {"name": name, "terms": sizes[name], **{key: [each[key] for each in values] for key in values[0]}}
            for name, values in zip(large, by_group, strict=True)
        ],
    }


def _of_analogies(sources: Sequence[VectorTable], questions: Sequence[Analogy], candidates: int) -> dict[str, Any]:
    found, used, coverage = _common(sources, (word for each in questions for word in each.words), "words of the analogies")
    known = set(used)
    asked = [question for question in questions if known.issuperset(question.words)]
    if not asked:
        raise VectorError(
            f"none of the {len(questions)} analogies has four words with vectors ({len(used)} of {coverage['words']} words "
            "have one); choose analogies on words that the vectors have"
        )
    tokens = [token for token in _shared_tokens(sources)[:candidates] if token not in known]
    place = {word: at for at, word in enumerate([*used, *tokens])}
    numbers = np.array([[place[word] for word in question.words] for question in asked])
    correct = []
    for source, each in zip(sources, found, strict=True):
        rows = source.table[[source.rows[token] for token in tokens]]
        table = np.concatenate([each.stacked(used), rows]).astype(np.float32)
        correct.append(solve_analogies(table, numbers[:, :3]) == numbers[:, 3])
    sections = np.array([question.section for question in asked])
    return {
        "coverage": coverage,
        "questions": len(questions),
        "asked": len(asked),
        "candidates": len(place),
        "correct": [int(each.sum()) for each in correct],
        "accuracy": [float(each.mean()) for each in correct],
        "by_section": [
            {
                "name": name,
                "questions": sum(question.section == name for question in questions),
                "asked": int(inside.sum()),
                "accuracy": [float(each[inside].mean()) if inside.any() else None for each in correct],
            }
            for name in sections_of(questions)
            for inside in [sections == name]
        ],
    }


def _shared_tokens(sources: Sequence[VectorTable]) -> list[str]:
    """Return the tokens that all sources have, in the order of the first, without special ones."""
    tokens = [token for token in sources[0].rows if all(token in source.rows for source in sources[1:])]
    special = set(special_rows(tokens).tolist())
    return [token for at, token in enumerate(tokens) if at not in special]
