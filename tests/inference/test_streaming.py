"""Streaming: the same answers in the same order, texts read as they are needed, and nothing lost when something fails."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.text.encoding import chunk_texts

AHEAD = 2 * 2048
"""The most texts that are read and not yet answered."""


class Source:
    """Counts how many texts were taken; fails when it is told to."""

    def __init__(self, *, fail_at: int | None = None, wrong_at: int | None = None, end: int | None = None) -> None:
        self.taken, self.closed = 0, False
        self._fail_at, self._wrong_at, self._end = fail_at, wrong_at, end

    def __iter__(self) -> Iterator[Any]:
        try:
            for number in itertools.count() if self._end is None else range(self._end):
                if number == self._fail_at:
                    raise ConnectionError("the line is dead")
                self.taken += 1
                yield None if number == self._wrong_at else name(number)
        finally:
            self.closed = True


def name(number: int) -> str:
    return f"公司{number}拟回购股份"


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Iterator[Predictor]:
    with Predictor(bundle, num_threads=2) as made:
        yield made


@pytest.mark.parametrize("count", [0, 1, 2047, 2048, 2049, 4096, 4097, 9000])
def test_as_many_answers_as_texts_in_order(predictor: Predictor, count: int) -> None:
    assert [answer["text"] for answer in predictor.stream(Source(end=count))] == [name(number) for number in range(count)]


def test_the_answers_are_those_of_predict(predictor: Predictor) -> None:
    generator = random.Random(0)
    texts = ["".join(generator.choices("公司拟回购股份，。 ", k=generator.choice([0, 1, 7, 90]))) for _ in range(5000)]
    streamed, expected = list(predictor.stream(texts, scores=True)), predictor.predict(texts, scores=True)
    assert [(a["text"], a["label"]) for a in streamed] == [(a["text"], a["label"]) for a in expected]
    np.testing.assert_allclose([a["score"] for a in streamed], [a["score"] for a in expected], atol=5e-6)


def test_nothing_is_read_before_the_first_answer_is_asked_for(predictor: Predictor) -> None:
    source = Source()
    stream = predictor.stream(source)
    assert source.taken == 0
    assert next(stream)["text"] == name(0)
    assert source.taken <= AHEAD


def test_an_endless_source_is_read_as_far_as_needed(predictor: Predictor) -> None:
    source = Source()
    stream = predictor.stream(source)
    for number, answer in enumerate(itertools.islice(stream, 10_000)):
        assert answer["text"] == name(number)
        assert source.taken <= number + 1 + AHEAD
    stream.close()
    taken = source.taken
    assert list(stream) == []
    assert source.taken == taken


def test_a_stream_that_is_closed_early_harms_nobody(predictor: Predictor) -> None:
    for _ in range(5):
        source = Source()
        stream = predictor.stream(source)
        next(stream)
        stream.close()
        del stream
        assert source.taken <= AHEAD
    assert next(predictor.stream([name(0)]))["text"] == name(0)
    assert len(predictor.predict([name(0)] * 500)) == 500


def drain(stream: Iterator[dict[str, Any]]) -> tuple[list[str], BaseException | None]:
    """Take answers until the end or an error."""
    found = []
    try:
        for answer in stream:
            found.append(answer["text"])
    except Exception as error:
        return found, error
    return found, None


@pytest.mark.parametrize("at", [0, 1, 5, 2047, 2048, 2049, 4096, 5000])
def test_what_is_not_a_text_is_named_after_the_good_answers(predictor: Predictor, at: int) -> None:
    found, error = drain(predictor.stream(Source(wrong_at=at, end=7000)))
    assert found == [name(number) for number in range(at)]
    assert isinstance(error, TypeError)
    assert str(error).startswith(f"text number {at} must be a str, got None of type NoneType")


@pytest.mark.parametrize("wrong", [3, b"x", ["nested"], 1.5])
def test_other_things_that_are_no_texts(predictor: Predictor, wrong: Any) -> None:
    found, error = drain(predictor.stream(["公司", wrong, "股份"]))
    assert (found, type(error)) == (["公司"], TypeError)
    assert "text number 1" in str(error)


@pytest.mark.parametrize("at", [1, 5, 2048, 5000])
def test_an_error_of_the_source_comes_after_the_good_answers(predictor: Predictor, at: int) -> None:
    found, error = drain(predictor.stream(Source(fail_at=at)))
    assert found == [name(number) for number in range(at)]
    assert isinstance(error, ConnectionError)


def test_a_source_that_fails_at_once(predictor: Predictor) -> None:
    found, error = drain(predictor.stream(Source(fail_at=0)))
    assert (found, type(error)) == ([], ConnectionError)
    assert len(predictor.predict(["公司"])) == 1


def test_an_error_of_the_engine_comes_out(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with Predictor(bundle, num_threads=2) as own:
        monkeypatch.setattr(own.engine, "run", lambda ids: 1 / 0)
        found, error = drain(own.stream(Source(end=3000)))
        assert (found, type(error)) == ([], ZeroDivisionError)
        monkeypatch.undo()
        assert len(list(own.stream(Source(end=3000)))) == 3000


@pytest.mark.parametrize("text", ["利好", ""])
def test_one_text_is_no_stream(predictor: Predictor, text: str) -> None:
    with pytest.raises(TypeError, match="pass a list"):
        next(predictor.stream(text))


@pytest.mark.parametrize("nothing", [[], (), iter([]), "".join, {}])
def test_a_stream_of_nothing(predictor: Predictor, nothing: Any) -> None:
    if callable(nothing):
        with pytest.raises(TypeError):
            list(predictor.stream(nothing))
    else:
        assert list(predictor.stream(nothing)) == []


def test_huge_texts_are_not_gathered(predictor: Predictor) -> None:
    taken = []

    def source() -> Iterator[str]:
        for number in range(12):
            taken.append(number)
            yield "股" * 1_100_000 + str(number)

    stream = predictor.stream(source())
    first = next(stream)
    assert first["text"].endswith("股0")
    assert len(taken) <= 2
    assert [answer["text"][-2:] for answer in itertools.islice(stream, 3)] == ["股1", "股2", "股3"]
    stream.close()


def test_one_huge_text_in_windows(bundle: Bundle) -> None:
    text = "公司拟回购股份，" * 25_000
    with Predictor(bundle, windows=True, num_threads=2) as own:
        (answer,) = own.stream([text])
        assert answer["window"]["windows"] > 3000
        assert answer["label"] == own.predict([text])[0]["label"]


def test_chunks_are_bounded_in_texts_and_in_characters() -> None:
    found = list(chunk_texts("ab" * (1 << 17) for _ in range(10)))
    assert [(start, len(chunk)) for start, chunk in found] == [(0, 5), (5, 5)]
    found = list(chunk_texts(str(number) for number in range(5000)))
    assert [(start, len(chunk)) for start, chunk in found] == [(0, 2048), (2048, 2048), (4096, 904)]
    assert list(chunk_texts([])) == []


def test_several_streams_of_one_predictor_may_be_taken_in_turns(predictor: Predictor) -> None:
    streams = [predictor.stream(Source(end=3000)) for _ in range(3)]
    for number, answers in enumerate(zip(*streams, strict=True)):
        assert {answer["text"] for answer in answers} == {name(number)}


def test_memory_does_not_grow_with_the_stream(predictor: Predictor) -> None:
    def most(count: int) -> int:
        tracemalloc.start()
        try:
            for _ in predictor.stream(Source(end=count)):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most(5000)
    assert most(30_000) < 1.5 * most(10_000)


def test_nothing_follows_the_gap_of_an_engine_that_failed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(FINANCE / "bundle", num_threads=2)
    real, calls = predictor.engine.run, itertools.count()

    def run(ids: np.ndarray) -> np.ndarray:
        if next(calls) == 0:
            raise RuntimeError("once")
        return real(ids)

    monkeypatch.setattr(predictor.engine, "run", run)
    found = []
    with pytest.raises(RuntimeError, match="once"):
        found.extend(predictor.stream(["利好"] * 5_000))
    assert found == []
