"""What holds for every tokenizer, whatever the text."""

from __future__ import annotations

import itertools
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from paddlenlp_embtune.text import (
    tokenizer_files,
    tokenizer_from_config,
)
from tests.text.every_tokenizer import BLANKS, KINDS, TEXTS, made


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_prefix_own_tokens_and_suffix(kind: str) -> None:
    tokenizer = made(kind)
    ids, unknown = tokenizer.vocabulary.ids, tokenizer.vocabulary.unknown_id
    for text in TEXTS:
        own = [ids.get(token, unknown) for token in tokenizer.tokens(text)]
        assert tokenizer.encode(text) == ([*tokenizer.prefix, *own, *tokenizer.suffix] if own else []), ascii(text)
        assert 0 not in own, ascii(text)


@pytest.mark.parametrize("kind", KINDS)
def test_places_are_as_many_as_tokens_in_order_and_apart_or_the_same(kind: str) -> None:
    tokenizer = made(kind)
    for text in TEXTS:
        places = tokenizer.offsets(text)
        assert len(places) == len(tokenizer.tokens(text)), ascii(text)
        assert all(0 <= start < end <= len(text) for start, end in places), ascii(text)
        assert all(a == b or a[1] <= b[0] for a, b in itertools.pairwise(places)), ascii(text)
        for limit in (0, 1, 2, 5, len(text) + 9):
            assert tokenizer.offsets(text, limit=limit) == places[:limit], ascii(text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shorter_encoding_is_the_beginning_of_the_whole(kind: str) -> None:
    tokenizer = made(kind)
    fixed = len(tokenizer.prefix) + len(tokenizer.suffix)
    for text in TEXTS:
        own = tokenizer.encode(text)[len(tokenizer.prefix) :][: -len(tokenizer.suffix) or None]
        for room in (1, 2, 5, 40):
            found = tokenizer.encode(text, max_length=room + fixed)
            assert found == ([*tokenizer.prefix, *own[:room], *tokenizer.suffix] if own else []), ascii(text)


@pytest.mark.parametrize("kind", KINDS)
def test_blanks_have_no_ids(kind: str) -> None:
    for blank in BLANKS:
        assert made(kind).encode(blank) == made(kind).tokens(blank) == made(kind).offsets(blank) == []


@pytest.mark.parametrize("kind", KINDS)
def test_config_vocabulary_and_files_rebuild_it(kind: str) -> None:
    tokenizer = made(kind)
    assert tuple(tokenizer.files()) == tokenizer_files(tokenizer.config())
    for files in (tokenizer.files(), lambda name: tokenizer.files()[name]):
        rebuilt = tokenizer_from_config(tokenizer.config(), tokenizer.vocabulary, files)
        assert type(rebuilt) is type(tokenizer)
        assert rebuilt.config() == tokenizer.config()
        assert rebuilt.lowercase == tokenizer.lowercase
        assert [rebuilt.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_threads_read_the_same(kind: str) -> None:
    tokenizer = made(kind)
    expected = [tokenizer.encode(text) for text in TEXTS]
    copied = pickle.loads(pickle.dumps(tokenizer))
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: [copied.encode(text) for text in TEXTS], range(8)):
            assert found == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["公", "a", "公司 Tesla，", "e\u0301", "质押式回购", "㈱"])
def test_long_texts_take_a_time_that_grows_with_them(kind: str, unit: str) -> None:
    tokenizer, text = made(kind), (unit * 10_000)[:10_000]
    started = time.perf_counter()
    assert len(tokenizer.offsets(text)) == len(tokenizer.tokens(text))
    assert time.perf_counter() - started < 5
