"""Micro-batching: what is gathered, what is not, and whom a failure reaches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from paddlenlp_embtune.server._batching import MicroBatcher


class Recorder:
    """Answers texts with themselves in capitals; waits for the gate, and fails on ``bad``."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, key: str, texts: list[str]) -> Sequence[str]:
        self.batches.append((key, texts))
        assert self.gate.wait(10)
        if "bad" in texts:
            raise ValueError("bad")
        if "stop" in texts:
            raise StopIteration
        if "short" in texts:
            return []
        return [text.upper() for text in texts]


def run(
    test: Callable[[MicroBatcher[str, str], Recorder], Awaitable[Any]],
    *,
    max_texts: int = 4,
    max_wait_seconds: float = 60.0,
    max_queued: int = 100,
    threads: int = 1,
) -> Recorder:
    """Run a test's coroutine with a batcher; gives what was run."""
    recorder = Recorder()

    async def inside() -> None:
        batcher: MicroBatcher[str, str] = MicroBatcher(
            recorder, max_texts=max_texts, max_wait_seconds=max_wait_seconds, max_queued=max_queued, threads=threads
        )
        try:
            await asyncio.wait_for(test(batcher, recorder), 10)
        finally:
            recorder.gate.set()
            await batcher.close()
        assert batcher.queued == 0

    asyncio.run(inside())
    return recorder


async def outcomes(*futures: asyncio.Future[list[str]]) -> list[Any]:
    return await asyncio.gather(*futures, return_exceptions=True)


def test_an_idle_batcher_runs_a_request_at_once_and_gathers_while_it_runs() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        futures = [batcher.submit("m", [text]) for text in "abcdef"]
        assert batcher.queued == 5
        recorder.gate.set()
        assert await outcomes(*futures) == [["A"], ["B"], ["C"], ["D"], ["E"], ["F"]]

    assert run(test).batches == [("m", ["a"]), ("m", ["b", "c", "d", "e"]), ("m", ["f"])]


def test_requests_are_never_split_and_keep_their_order() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        futures = [batcher.submit("m", list(texts)) for texts in ("a", "bc", "defgh", "ij", "k")]
        recorder.gate.set()
        assert await outcomes(*futures) == [list(texts) for texts in ("A", "BC", "DEFGH", "IJ", "K")]

    assert [texts for _, texts in run(test).batches] == [["a"], ["b", "c", "i", "j"], list("defgh"), ["k"]]


def test_models_are_not_mixed_and_the_oldest_request_goes_first() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        futures = [batcher.submit(key, [text]) for key, text in ("na", "mb", "nc", "md", "me")]
        recorder.gate.set()
        assert await outcomes(*futures) == [["A"], ["B"], ["C"], ["D"], ["E"]]

    assert run(test).batches == [("n", ["a"]), ("m", ["b", "d", "e"]), ("n", ["c"])]


@pytest.mark.parametrize("culprit", ["bad", "stop", "short"])
def test_only_the_culprit_of_a_failed_batch_fails(culprit: str) -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        futures = [batcher.submit("m", [text]) for text in ("a", "b", culprit, "d", "e")]
        recorder.gate.set()
        first, second, failed, *others = await outcomes(*futures)
        assert [first, second, *others] == [["A"], ["B"], ["D"], ["E"]]
        assert isinstance(failed, RuntimeError)
        assert type(failed.__cause__) in (ValueError, StopIteration)
        assert await batcher.submit("m", ["f"]) == ["F"]

    tried = [texts for _, texts in run(test).batches]
    assert tried == [["a"], ["b", culprit, "d", "e"], ["b"], [culprit], ["d"], ["e"], ["f"]]


def test_texts_of_a_client_that_has_gone_are_not_run() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        first, gone, second, last = [batcher.submit("m", [text]) for text in "abcd"]
        gone.cancel()
        last.cancel()
        recorder.gate.set()
        assert await outcomes(first, second) == [["A"], ["C"]]

    assert [texts for _, texts in run(test).batches] == [["a"], ["c"]]


def test_one_that_goes_while_its_batch_runs_takes_nobody_along() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        futures = [batcher.submit("m", [text]) for text in "abc"]
        recorder.gate.set()
        await futures[0]
        recorder.gate.clear()
        while len(recorder.batches) < 2:
            await asyncio.sleep(0.001)
        futures[1].cancel()
        recorder.gate.set()
        assert await futures[2] == ["C"]

    assert len(run(test).batches) == 2


def test_a_full_queue_refuses_and_recovers() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        futures = [batcher.submit("m", [text]) for text in "abcd"]
        with pytest.raises(asyncio.QueueFull):
            batcher.submit("m", ["e"])
        recorder.gate.set()
        assert len(await outcomes(*futures)) == 4
        assert await batcher.submit("m", ["e"]) == ["E"]

    run(test, max_queued=3)


def test_no_texts_no_answers() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        assert await batcher.submit("m", []) == []

    assert run(test).batches == []


def test_a_free_thread_waits_for_a_fuller_batch_but_not_for_long() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        futures = [batcher.submit("m", [text]) for text in "abc"]
        assert [texts for _, texts in recorder.batches] == [["a"]]
        begun = time.monotonic()
        while len(recorder.batches) < 2:
            await asyncio.sleep(0.005)
        assert time.monotonic() - begun > 0.1
        recorder.gate.set()
        assert await outcomes(*futures) == [["A"], ["B"], ["C"]]

    assert [texts for _, texts in run(test, threads=2, max_wait_seconds=0.2).batches] == [["a"], ["b", "c"]]


def test_a_full_batch_does_not_wait_if_a_thread_is_free() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        futures = [batcher.submit("m", [text]) for text in "abcde"]
        while len(recorder.batches) < 2:
            await asyncio.sleep(0.001)
        recorder.gate.set()
        assert len(await outcomes(*futures)) == 5

    assert [texts for _, texts in run(test, threads=2).batches] == [["a"], ["b", "c", "d", "e"]]


def test_those_that_have_gone_leave_the_queue_at_once() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        first = batcher.submit("m", ["a"])
        gone = [batcher.submit("m", [text]) for text in "bcd"]
        for future in gone:
            future.cancel()
        await asyncio.sleep(0)
        assert batcher.queued == 0
        last = batcher.submit("m", ["e", "f", "g"])
        recorder.gate.set()
        assert await outcomes(first, last) == [["A"], ["E", "F", "G"]]

    assert [texts for _, texts in run(test, max_queued=3).batches] == [["a"], ["e", "f", "g"]]


def test_nothing_is_begun_once_it_is_closed() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        first = batcher.submit("m", ["a"])
        others = [batcher.submit("m", [text]) for text in ("b", "bad", "d")]
        recorder.gate.set()
        await first
        recorder.gate.clear()
        while len(recorder.batches) < 2:
            await asyncio.sleep(0.001)
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0.01)
        with pytest.raises(asyncio.QueueFull):
            batcher.submit("m", ["e"])
        recorder.gate.set()
        await closing
        assert [type(found) for found in await outcomes(*others)] == [RuntimeError] * 3

    assert [texts for _, texts in run(test).batches] == [["a"], ["b", "bad", "d"]]


def test_closing_stops_the_wait_for_a_fuller_batch() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        running, waiting = batcher.submit("m", ["a"]), batcher.submit("m", ["b"])
        timer = batcher._timer
        assert timer is not None
        recorder.gate.set()
        await batcher.close()
        assert timer.cancelled()
        assert (await running, waiting.cancelled()) == (["A"], True)

    assert len(run(test, threads=2).batches) == 1


def test_closing_drops_what_waits_and_waits_for_what_runs() -> None:
    async def test(batcher: MicroBatcher[str, str], recorder: Recorder) -> None:
        recorder.gate.clear()
        running, waiting = batcher.submit("m", ["a"]), batcher.submit("m", ["b"])
        asyncio.get_running_loop().call_later(0.05, recorder.gate.set)
        await batcher.close()
        assert await running == ["A"]
        assert waiting.cancelled()

    assert len(run(test).batches) == 1
