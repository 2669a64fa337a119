"""Batches: whatever texts keep company, on however many threads, in whichever process, each gets its own answer."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.inference import Predictor, batching
from paddlenlp_embtune.inference.batching import TOKENS_PER_BATCH, BatchRunner, form_batches
from tests.helpers import python

CLOSE = 5e-6
"""Other batches add the same numbers up in another order."""
ROOT = Path(__file__).resolve().parents[2]


def mixed(count: int, *, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    return [
        "".join(
            generator.choices(
                "公司拟回购股份控东减持净利润同比增长五成，。！ a", k=generator.choice([0, 1, 5, 30, 64, 90, 300])
            )
        )
        for _ in range(count)
    ]


def run_all(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls at the same time, each on its thread; raise what they raise."""
    gate = threading.Barrier(len(calls))

    def call(function: Callable[[], Any]) -> Any:
        gate.wait(timeout=30)
        return function()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(call, function) for function in calls]]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("parts", [1, 2, 8])
def test_every_row_is_in_one_batch_with_its_like(batch_size: int, parts: int) -> None:
    generator = random.Random(batch_size * 10 + parts)
    for _ in range(60):
        lengths = [generator.choice([0, 1, 7, 60, 300, 5000]) for _ in range(generator.randint(0, 150))]
        made = form_batches(lengths, batch_size=batch_size, parts=parts)
        assert sorted(row for batch in made for row in batch) == list(range(len(lengths)))
        widths = [[lengths[row] for row in batch] for batch in made]
        for width in widths:
            assert 1 <= len(width) <= batch_size
            assert len(width) == 1 or len(width) * max(width) <= TOKENS_PER_BATCH
        assert [length for width in widths for length in width] == sorted(lengths, reverse=True)


def test_a_few_long_rows_are_shared_out() -> None:
    assert [len(batch) for batch in form_batches([300] * 8, batch_size=64, parts=4)] == [2, 2, 2, 2]
    assert form_batches([3] * 8, batch_size=64, parts=4) == [list(range(8))]
    assert form_batches([], batch_size=64, parts=4) == []


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_a_text_at_least(bundle: Bundle, batch_size: int) -> None:
    with pytest.raises(DataError, match=f"batch_size is {batch_size}; expected 1 or more"):
        Predictor(bundle, batch_size=batch_size)


@pytest.mark.parametrize("threads", [0, -3])
def test_threads_are_one_or_more(bundle: Bundle, threads: int) -> None:
    with pytest.raises(DataError, match=f"num_threads is {threads}; expected 1 or more"):
        Predictor(bundle, num_threads=threads)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("engine", ["onnxruntime", "paddle_inference", "paddle"])
def test_company_order_and_batches_change_no_answer(bundle: Bundle, engine: str, windows: bool) -> None:
    texts = mixed(60)
    with Predictor(bundle, batch_size=1, num_threads=1, windows=windows) as single:
        expected = np.concatenate([single.probabilities([text]) for text in texts])
    for size, threads, seed in ((1, 3, 0), (5, 1, 1), (64, 2, 2), (1000, 8, 3)):
        order = np.random.default_rng(seed).permutation(len(texts))
        with Predictor(bundle, engine=engine, batch_size=size, num_threads=threads, windows=windows) as predictor:
            found = predictor.probabilities([texts[index] for index in order])
        np.testing.assert_allclose(found, expected[order], atol=CLOSE, err_msg=f"{engine}, {size}, {threads}")


def test_sixteen_threads_on_one_predictor(bundle: Bundle) -> None:
    predictor = Predictor(bundle, windows=True, abstain_below=0.4, batch_size=4, num_threads=4)
    parts = [mixed(40, seed=seed) for seed in range(16)]
    expected = [[predictor.predict([text], scores=True)[0] for text in part] for part in parts]

    def ask(number: int) -> list[dict[str, Any]]:
        part = parts[number]
        if number % 4 == 1:
            return list(predictor.stream(iter(part), scores=True))
        if number % 4 == 2:
            predictor.explain(part[:2])
        return predictor.predict(part, scores=True)

    for found, wanted in zip(run_all(*(lambda n=n: ask(n) for n in range(16))), expected, strict=True):
        for answer, other in zip(found, wanted, strict=True):
            assert {key: answer[key] for key in ("text", "label", "abstained", "window")} == {
                key: other[key] for key in ("text", "label", "abstained", "window")
            }
            np.testing.assert_allclose(list(answer["scores"].values()), list(other["scores"].values()), atol=CLOSE)


def test_predictors_of_several_bundles_side_by_side(bundle: Bundle) -> None:
    finance = Predictor(FINANCE / "bundle", num_threads=2)
    others = [
        Predictor(bundle, num_threads=3),
        Predictor(bundle, engine="paddle"),
        Predictor(bundle, engine="paddle_inference"),
    ]
    texts = mixed(80)
    everyone = [finance, *others]
    expected = [predictor.probabilities(texts) for predictor in everyone]
    found = run_all(*(lambda p=predictor: [p.probabilities(texts) for _ in range(3)] for predictor in everyone * 3))
    for tables, wanted in zip(found, expected * 3, strict=True):
        for table in tables:
            np.testing.assert_allclose(table, wanted, atol=CLOSE)


def test_at_most_as_many_batches_at_once_as_threads_whoever_calls() -> None:
    class Counting:
        concurrent = True

        def __init__(self) -> None:
            self.now = self.most = 0
            self.lock = threading.Lock()

        def run(self, ids: np.ndarray) -> np.ndarray:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            threading.Event().wait(0.002)
            with self.lock:
                self.now -= 1
            return ids[:, :1].astype(np.float32)

    encoded = [[number + 1] * (number % 7 + 1) for number in range(20)]
    for concurrent, threads, most in ((True, 3, 3), (True, 1, 1), (False, 3, 1)):
        engine = Counting()
        engine.concurrent = concurrent
        runner = BatchRunner(engine, num_labels=1, batch_size=2, num_threads=threads)
        for table in run_all(*(lambda r=runner: r.submit(encoded)() for _ in range(8))):
            assert table[:, 0].tolist() == list(range(1, 21))
        assert engine.most == most
        runner.close()


def test_what_an_engine_raises_comes_out_and_the_runner_goes_on() -> None:
    class Failing:
        concurrent = True

        def run(self, ids: np.ndarray) -> np.ndarray:
            if (ids == 13).any():
                raise ValueError("unlucky")
            return ids[:, :1].astype(np.float32)

    runner = BatchRunner(Failing(), num_labels=1, batch_size=1, num_threads=2)
    for _ in range(6):  # more often than there are turns
        with pytest.raises(ValueError, match="unlucky"):
            runner.submit([[1], [13], [2]])()
        with pytest.raises(ValueError, match="unlucky"):
            runner.submit([[13]])()
    assert runner.submit([[1], [2], [3]])().tolist() == [[1], [2], [3]]


def threads_of_ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("embtune")]


def test_close_lets_the_threads_go_and_more_work_brings_them_back(bundle: Bundle) -> None:
    texts = mixed(50)
    before = set(threads_of_ours())
    with Predictor(bundle, batch_size=2, num_threads=3) as predictor:
        expected = predictor.predict(texts)
        assert 1 <= len(set(threads_of_ours()) - before) <= 3
    assert set(threads_of_ours()) <= before
    predictor.close()
    assert predictor.predict(texts) == expected
    assert list(predictor.stream(texts)) == expected
    predictor.close()
    assert set(threads_of_ours()) <= before


def test_a_predictor_that_is_forgotten_takes_its_threads_along(bundle: Bundle) -> None:
    before = set(threads_of_ours())
    predictor = Predictor(bundle, batch_size=1, num_threads=2)
    predictor.predict(mixed(20))
    mine = set(threads_of_ours()) - before
    assert mine
    del predictor
    for thread in mine:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in mine)


def test_close_in_the_middle_of_another_thread_s_call(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        concurrent = True

        def run(self, ids: np.ndarray) -> np.ndarray:
            return ids[:, :1].astype(np.float32)

    class Interrupted(ThreadPoolExecutor):
        """Somebody closes the runner right before work is handed in; whether that waits for its turn is up to the runner."""

        def submit(self, *arguments: Any, **options: Any) -> Any:
            if not closers:
                closers.append(threading.Thread(target=runner.close))
                closers[0].start()
                closers[0].join(timeout=0.3)
            return super().submit(*arguments, **options)

    closers: list[threading.Thread] = []
    monkeypatch.setattr(batching, "ThreadPoolExecutor", Interrupted)
    runner = BatchRunner(Plain(), num_labels=1, batch_size=1, num_threads=2)
    assert runner.submit([[1], [2], [3]])()[:, 0].tolist() == [1, 2, 3]


FORK = """
import os, sys
import numpy as np
from paddlenlp_embtune.inference import Predictor
predictor = Predictor(sys.argv[1], batch_size=2, num_threads=3, windows=True)
texts = ["公司拟回购股份" * (n % 20 + 1) for n in range(60)]
expected = predictor.probabilities(texts)
sys.stdout.flush()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        code = 3
        try:
            code = int(not all(np.allclose(predictor.probabilities(texts), expected, atol=5e-6) for _ in range(3)))
            code = code or int(len(list(predictor.stream(texts))) != 60)
            predictor.close()
        finally:
            os._exit(code)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert np.allclose(predictor.probabilities(texts), expected, atol=5e-6)
print(codes, "paddle" in sys.modules)
"""


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform != "linux", reason="needs os.fork")
def test_forked_processes_go_on_with_threads_of_their_own(bundle: Bundle) -> None:
    done = python("-W", "ignore", "-c", FORK, str(bundle.path), cwd=ROOT)
    assert done.stdout == "[0, 0, 0] False\n", done.stderr


FORK_BUSY = """
import os, signal, sys, threading
import numpy as np
from paddlenlp_embtune.inference.batching import BatchRunner

class Slow:
    concurrent = True
    inside, leave = threading.Semaphore(0), threading.Event()
    def run(self, ids):
        self.inside.release()
        self.leave.wait(20)
        return ids[:, :1].astype(np.float32)

engine = Slow()
runner = BatchRunner(engine, num_labels=1, batch_size=1, num_threads=2)
thread = threading.Thread(target=lambda: runner.submit([[1], [2]])())
thread.start()
engine.inside.acquire(); engine.inside.acquire()
child = os.fork()
if not child:
    signal.alarm(3)
    Slow.leave = threading.Event(); Slow.leave.set()
    os._exit(int(runner.submit([[1], [2], [3]])().tolist() != [[1], [2], [3]]))
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
engine.leave.set()
thread.join()
print(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs os.fork")
def test_a_process_forked_in_the_middle_of_a_run_does_not_wait_for_ever() -> None:
    done = python("-W", "ignore", "-c", FORK_BUSY, cwd=ROOT)
    assert done.stdout == "0\n", done.stderr


def test_a_tokenizer_is_built_once_for_all_threads(bundle: Bundle) -> None:
    opened = Bundle.open(bundle.path)
    found = run_all(*(lambda: opened.tokenizer.encode("公司股份") for _ in range(8)))
    assert all(ids == found[0] for ids in found)


def iterate(texts: list[str]) -> Iterator[str]:
    yield from texts


def test_streaming_and_predicting_agree(bundle: Bundle) -> None:
    texts = mixed(300)
    with Predictor(bundle, windows=True, batch_size=7, num_threads=2) as predictor:
        streamed, expected = list(predictor.stream(iterate(texts), scores=True)), predictor.predict(texts, scores=True)
    assert [{**a, "score": 0, "scores": 0, "level": 0, "level_spread": 0} for a in streamed] == [
        {**a, "score": 0, "scores": 0, "level": 0, "level_spread": 0} for a in expected
    ]
    np.testing.assert_allclose([a["score"] for a in streamed], [a["score"] for a in expected], atol=CLOSE)
