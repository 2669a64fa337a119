"""What people pass: tables, mappings, bytes, generators, and numbers of the wrong type."""

from __future__ import annotations

import datetime
import io
from collections import OrderedDict, UserDict, deque
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.errors import DataError, EmbtuneError
from paddlenlp_embtune.inference import EngineOptions, Predictor
from paddlenlp_embtune.taskflow.task import DomainSentimentTask

TEXTS = ["公司拟以十亿元回购股份并全部注销", "公司因财务造假被立案调查，股票可能退市", ""]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(FINANCE / "bundle", num_threads=1)


class Polars:
    """A table of a library that is not installed."""

    columns = property(lambda self: ["id", "text"])

    def __iter__(self) -> Any:
        return iter(TEXTS)


def pandas() -> Any:
    return pytest.importorskip("pandas")


GOOD: dict[str, Any] = {
    "a list": lambda: TEXTS,
    "a tuple": lambda: tuple(TEXTS),
    "a generator": lambda: (text for text in TEXTS),
    "a map": lambda: map(str, TEXTS),
    "a deque": lambda: deque(TEXTS),
    "keys": lambda: dict.fromkeys(TEXTS).keys(),
    "values": lambda: dict(enumerate(TEXTS)).values(),
    "an array": lambda: np.array(TEXTS),
    "an array of objects": lambda: np.array(TEXTS, dtype=object),
    "a series": lambda: pandas().Series(TEXTS),
    "a series with an index": lambda: pandas().Series(TEXTS, index=[7, 8, 9]),
    "an index": lambda: pandas().Index(TEXTS),
    "a column": lambda: pandas().DataFrame({"text": TEXTS})["text"],
    "categories": lambda: pandas().Series(TEXTS, dtype="category"),
    "nothing": list,
    "an empty array": lambda: np.array([], dtype=str),
    "an empty generator": lambda: iter(()),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_texts_in_every_shape(predictor: Predictor, make: Any) -> None:
    count = len(list(make()))
    expected = predictor.predict(TEXTS, scores=True)[:count]
    assert predictor.predict(make(), scores=True) == expected
    assert list(predictor.stream(make(), scores=True)) == expected
    assert predictor.probabilities(make()).shape == (count, 5)
    assert [found.text for found in predictor.explain(make())] == TEXTS[:count]


BAD: dict[str, tuple[Any, str]] = {
    "a text": (lambda: TEXTS[0], r"texts is a single str; pass a list: \[text\]"),
    "a table": (
        lambda: pandas().DataFrame({"id": [1], "text": "a"}),
        r"DataFrame with the columns \['id', 'text'\].*table\['text'\]",
    ),
    "a table without text": (lambda: pandas().DataFrame({"标题": ["a"]}), r"table\['标题'\]"),
    "an empty table": (lambda: pandas().DataFrame(), "DataFrame with the columns"),
    "another table": (Polars, r"Polars with the columns \['id', 'text'\]"),
    "a mapping": (lambda: {"text": "a"}, r"texts is a dict with the keys \['text'\].*list\(mapping.values\(\)\)"),
    "an ordered one": (lambda: OrderedDict(text="a"), "OrderedDict with the keys"),
    "a user's": (lambda: UserDict(text="a"), "UserDict with the keys"),
    "bytes": ("利好".encode, r"texts is bytes; decode it"),
    "a bytearray": (lambda: bytearray(b"a"), "texts is bytearray"),
    "a path": (lambda: Path("a.txt"), "texts is a path, 'a.txt'; read its lines"),
    "none": (lambda: None, "must be a list of texts, got None"),
    "a number": (lambda: 3, "must be a list of texts, got 3 of type int"),
    "a truth value": (lambda: True, "of type bool"),
    "a 0-d array": (lambda: np.array("a"), "must be a list of texts"),
    "a date": (lambda: datetime.date(2025, 1, 1), "of type date"),
    "a function": (lambda: len, "must be a list of texts"),
    "a list of bytes": (lambda: ["a", b"b"], "text number 1 must be a str, got b'b' of type bytes"),
    "a list of lists": (lambda: [["a"]], "text number 0 must be a str"),
    "a 2-d array": (lambda: np.array([["a"]]), "text number 0 must be a str"),
    "a series with a gap": (lambda: pandas().Series(["a", None]), "text number 1 must be a str, got (None|nan)"),
    "bytes in a file": (lambda: io.BytesIO(b"a"), "text number 0 must be a str, got b'a'"),
}


@pytest.mark.parametrize(("make", "says"), BAD.values(), ids=BAD)
def test_what_is_not_texts_is_named(predictor: Predictor, make: Any, says: str) -> None:
    for call in (predictor.predict, lambda texts: list(predictor.stream(texts)), predictor.probabilities, predictor.explain):
        with pytest.raises(TypeError, match=says) as refused:
            call(make())
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "value", ["2", 1.5, 2.0, 2.5, True, False, np.True_, b"2", [2], (2,), {}, Fraction(3, 2), object(), np.float64(2), "all"]
)
@pytest.mark.parametrize("name", ["num_threads", "batch_size"])
def test_what_is_no_whole_number_is_named(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be a whole number of 1 or more, got .* of type .*; pass .*{name}=2"):
        Predictor("no such bundle", **{name: value})
    if name == "num_threads":
        with pytest.raises(TypeError, match="num_threads must be a whole number"):
            EngineOptions(num_threads=value)
        with pytest.raises(TypeError, match="num_threads must be a whole number"):
            DomainSentimentTask(task="domain_sentiment", model="finance", num_threads=value)


@pytest.mark.parametrize("value", [0, -1, -(10**12), np.int64(0)])
@pytest.mark.parametrize("name", ["num_threads", "batch_size"])
def test_numbers_that_are_too_small(name: str, value: Any) -> None:
    with pytest.raises(DataError, match=rf"{name} is .*; expected 1 "):
        Predictor("no such bundle", **{name: value})


@pytest.mark.parametrize("value", [1025, 10**12, 10**30, 10**5000], ids=["1025", "1e12", "1e30", "1e5000"])
def test_more_threads_than_any_machine_has(value: int) -> None:
    with pytest.raises(DataError, match=r"num_threads is .*; expected 1 to 1024"):
        Predictor("no such bundle", num_threads=value)


@pytest.mark.parametrize("value", [1, np.int64(2), np.uint8(3), 10**12, 10**30])
def test_numbers_that_are_taken(predictor: Predictor, value: Any) -> None:
    with Predictor(FINANCE / "bundle", num_threads=min(value, 3), batch_size=value) as found:
        assert [one["label"] for one in found.predict(TEXTS)] == [one["label"] for one in predictor.predict(TEXTS)]
        assert type(found.batch_size) is int


@pytest.mark.parametrize(
    "given", [{"engine": 3}, {"engine": None}, {"precision": 8}, {"precision": None}, {"device": 3}, {"device": []}]
)
def test_names_that_are_none(given: dict[str, Any]) -> None:
    with pytest.raises((TypeError, EmbtuneError), match=next(iter(given))):
        Predictor(FINANCE / "bundle", **given)


@pytest.mark.parametrize("bundle", [None, 3, b"x", [], {}])
def test_a_bundle_that_is_no_path(bundle: Any) -> None:
    with pytest.raises(TypeError, match="bundle must be the folder of a bundle"):
        Predictor(bundle)


@pytest.mark.parametrize(
    "value", ["0.5", float("nan"), float("inf"), -1, 2, True, [0.5], {"中性": "0.5"}, {"x": 0.5}, {"中性": float("nan")}]
)
def test_thresholds_that_are_none(value: Any) -> None:
    with pytest.raises(DataError, match="abstain_below"):
        Predictor(FINANCE / "bundle", abstain_below=value)


def test_thresholds_of_numpy_are_taken() -> None:
    for value in (np.float32(0.5), np.float64(0.5), np.int64(1)):
        assert Predictor(FINANCE / "bundle", abstain_below=value).thresholds is not None


def test_the_task_takes_what_the_predictor_takes(predictor: Predictor) -> None:
    task = DomainSentimentTask(task="domain_sentiment", model="finance")
    expected = predictor.predict(TEXTS)
    for inputs in (
        [TEXTS],
        tuple(TEXTS),
        [np.array(TEXTS)],
        [iter(TEXTS)],
        [pandas().Series(TEXTS)],
        [TEXTS[:1], tuple(TEXTS[1:])],
    ):
        assert task(inputs) == expected
    for inputs, says in (
        ([pandas().DataFrame({"text": TEXTS})], "texts is a DataFrame"),
        ([{"text": "a"}], "texts is a dict"),
        ([None], "text number 0 must be a str, got None"),
        ([b"a"], "text number 0 must be a str, got b'a'"),
        ([3], "text number 0 must be a str, got 3"),
    ):
        with pytest.raises(TypeError, match=says):
            task(inputs)
