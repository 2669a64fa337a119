"""Cleaning steps in front of a tokenizer; what holds for all tokenizers is in test_every_tokenizer."""

from __future__ import annotations

import numpy as np
import pytest

from paddlenlp_embtune.embeddings import add_tokens
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import (
    CleaningTokenizer,
    TermTokenizer,
    prune_tokenizer,
    tokenizer_from_config,
    tokenizer_kind,
    with_cleaning,
    without_cleaning,
)
from tests.text.every_tokenizer import made

MARKED = "<p>公司被<b>立案</b>调查</p>"


def test_training_and_serving_read_a_text_with_and_without_markup_alike() -> None:
    tokenizer = with_cleaning(made("char"), ["markup"])
    rebuilt = tokenizer_from_config(tokenizer.config(), tokenizer.vocabulary)
    assert rebuilt.encode(MARKED) == tokenizer.encode(MARKED) == made("char").encode("公司被立案调查")
    assert [MARKED[begin:end] for begin, end in rebuilt.offsets(MARKED)] == list("公司被立案调查")
    assert tokenizer.encode("<br>") == []
    assert tokenizer_kind(with_cleaning(made("wordpiece + terms"), ["urls"]).config()) == "wordpiece"


def test_steps_that_are_there_stay() -> None:
    tokenizer = with_cleaning(made("char"), ["markup", "urls"])
    assert with_cleaning(tokenizer, []) == with_cleaning(tokenizer, ["markup", "urls"]) == tokenizer
    assert without_cleaning(tokenizer) == (made("char"), ("markup", "urls"))
    assert without_cleaning(made("char")) == (made("char"), ())
    assert with_cleaning(made("char"), []) is made("char")
    with pytest.raises(DataError, match=r"text.cleaning is \['urls'\], but the tokenizer has the steps"):
        with_cleaning(tokenizer, ["urls"])


def test_wrong_steps_are_refused() -> None:
    for steps, told in ((["markdown"], "did you mean 'markup'"), (["urls", "urls"], "each once"), ([], "one or more")):
        with pytest.raises(DataError, match=told):
            CleaningTokenizer(made("char"), tuple(steps))
    with pytest.raises(DataError, match="must not have cleaning steps itself"):
        CleaningTokenizer(CleaningTokenizer(made("char"), ("urls",)), ("markup",))
    for config in (
        {"name": "cleaned", "cleaning_steps": ["x"], "base": {"name": "char"}},
        {"name": "cleaned", "cleaning_steps": "urls", "base": {"name": "char"}},
        {"name": "cleaned", "cleaning_steps": ["urls"]},
    ):
        with pytest.raises(DataError):
            tokenizer_from_config(config, made("char").vocabulary)


def test_added_terms_and_pruning_keep_the_steps() -> None:
    tokenizer = with_cleaning(made("char"), ["markup"])
    table = np.ones((len(tokenizer.vocabulary), 4), dtype=np.float32)
    longer, change, grown, _ = add_tokens(tokenizer, table, ["立案"])
    assert isinstance(longer, CleaningTokenizer)
    assert isinstance(longer.base, TermTokenizer)
    assert longer.tokens(MARKED) == ["公", "司", "被", "立案", "调", "查"]
    assert (change.added, len(grown)) == (("立案",), len(table) + 1)
    pruned = prune_tokenizer(longer, [MARKED]).tokenizer
    assert isinstance(pruned, CleaningTokenizer)
    assert pruned.tokens(MARKED) == longer.tokens(MARKED)
    assert len(pruned.vocabulary) < len(longer.vocabulary)
