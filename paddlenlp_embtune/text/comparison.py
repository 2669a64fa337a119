"""Comparison of tokenizers on the same texts: lengths, unknown tokens, unsplit terms, speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text.base import Tokenizer
from paddlenlp_embtune.text.normalization import clean

__all__ = ["compare_tokenizers"]


def compare_tokenizers(
    tokenizers: Mapping[str, Tokenizer],
    texts: Sequence[str],
    *,
    terms: Sequence[str] = (),
    max_length: int | None = None,
    rounds: int = 3,
    examples: int = 5,
) -> list[dict[str, Any]]:
    """Compare tokenizers on the user's texts.

    A term counts as whole if it is one token when tokenized alone, ignoring spaces and word-start markers.

    Args:
        tokenizers: by display name.
        texts: blank texts count as texts without tokens.
        terms: domain terms, to check whether they are split.
        max_length: maximum number of ids that the model reads; None omits the share of longer texts.
        rounds: number of speed measurements, taken in turns; the median is reported.
        examples: maximum number of split terms to show.
    Returns:
        For each tokenizer: ``name``, ``kind``, ``vocabulary``, ``texts``, ``tokens_mean``, ``tokens_p95``, ``tokens_max``,
        ``characters_per_token``, ``unknown_rate`` (0 to 1), ``terms``, ``terms_whole`` (share, None without terms),
        ``terms_cut`` (term and pieces), ``max_length``, ``longer_than_max_length`` (share of texts, markers included, or None)
        and ``texts_per_second``.
    Raises:
        DataError: there is nothing to compare, or an option is out of range.
    """
    if not tokenizers or not texts:
        raise DataError(f"a comparison needs at least one tokenizer and one text, got {len(tokenizers)} and {len(texts)}")
    if rounds < 1 or examples < 0:
        raise DataError(f"rounds must be 1 or more and examples 0 or more, got {rounds} and {examples}")
    speeds = _speeds(tokenizers, texts, rounds)
    return [
        {
            "name": name,
            "kind": tokenizer.config()["name"],
            "vocabulary": len(tokenizer.vocabulary),
            **_lengths(tokenizer, texts, max_length),
            **_terms(tokenizer, terms, examples),
            "texts_per_second": speeds[name],
        }
        for name, tokenizer in tokenizers.items()
    ]


def _lengths(tokenizer: Tokenizer, texts: Sequence[str], max_length: int | None) -> dict[str, Any]:
    known, unknown, characters = tokenizer.vocabulary.ids, 0, 0
    unknown_id = tokenizer.vocabulary.unknown_id
    counts = np.zeros(len(texts), dtype=np.int64)
    for number, text in enumerate(texts):
        tokens = tokenizer.tokens(text)
        counts[number] = len(tokens)
        unknown += sum(known.get(token, unknown_id) == unknown_id for token in tokens)
        characters += len(clean(text, lowercase=False))
    total = int(counts.sum())
    fixed = len(tokenizer.prefix) + len(tokenizer.suffix)
    return {
        "texts": len(texts),
        "tokens_mean": float(counts.mean()),
        "tokens_p95": float(np.percentile(counts, 95)),
        "tokens_max": int(counts.max()),
        "characters_per_token": characters / total if total else None,
        "unknown_rate": unknown / total if total else 0.0,
        "max_length": max_length,
        "longer_than_max_length": None if max_length is None else float((counts + fixed * (counts > 0) > max_length).mean()),
    }


def _terms(tokenizer: Tokenizer, terms: Sequence[str], examples: int) -> dict[str, Any]:
    cut: list[dict[str, Any]] = []
    for term in terms:
        pieces = tokenizer.tokens(term)
        visible = [piece for piece in pieces if piece.strip(" \u2581")]
        # An unknown word stays whole in ``tokens``, but to the model it looks like any other unknown word.
        if len(visible) != 1 or visible[0] not in tokenizer.vocabulary:
            cut.append({"term": term, "pieces": pieces})
    whole = 1 - len(cut) / len(terms) if terms else None
    return {"terms": len(terms), "terms_whole": whole, "terms_cut": cut[:examples]}


def _speeds(tokenizers: Mapping[str, Tokenizer], texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Return texts per second, the median over rounds in which the tokenizers take turns; the first round is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in tokenizers}
    for number in range(rounds + 1):
        for name, tokenizer in tokenizers.items():
            started = time.perf_counter()
            for text in texts:
                tokenizer.encode(text)
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: len(texts) / max(statistics.median(found), 1e-9) for name, found in seconds.items()}
