"""Predictors in other processes: pickled, copied, sent to spawned workers, and forked while they run."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.export.bundle_writer import reseal
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.text.windows import WindowSpec
from tests.helpers import python

ROOT = Path(__file__).parents[2]
TEXTS = ["公司拟以十亿元回购股份并全部注销", "公司因财务造假被立案调查，股票可能退市", ""]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FINANCE / "bundle", tmp_path / "bundle"))


def test_a_predictor_can_be_pickled_and_copied(bundle: Path) -> None:
    options = {"num_threads": 1, "batch_size": 2, "windows": WindowSpec(overlap_tokens=3), "abstain_below": {"中性": 0.9}}
    with Predictor(bundle, **options) as predictor:
        expected = predictor.predict(TEXTS, scores=True)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            content = pickle.dumps(predictor, protocol)
            assert len(content) < 1_000
            assert pickle.loads(content).predict(TEXTS, scores=True) == expected
        for other in (copy.copy(predictor), copy.deepcopy(predictor), copy.deepcopy([predictor])[0]):
            assert other is not predictor
            assert (other.batch_size, other.windows, other.engine_name) == (2, WindowSpec(overlap_tokens=3), "onnxruntime")
            assert other.predict(TEXTS, scores=True) == expected
    assert pickle.loads(pickle.dumps(predictor)).predict(TEXTS, scores=True) == expected  # closed ones too
    opened = pickle.loads(pickle.dumps(Bundle.open(bundle)))
    assert (opened.path, opened.fingerprint) == (bundle, predictor.bundle.fingerprint)


def test_other_engines_are_pickled_too(bundle: Path) -> None:
    for engine in ("paddle", "paddle_inference"):
        predictor = Predictor(bundle, engine=engine)
        assert pickle.loads(pickle.dumps(predictor)).predict(TEXTS) == predictor.predict(TEXTS)


def test_a_bundle_that_was_replaced_meanwhile_is_refused(bundle: Path) -> None:
    content = pickle.dumps(Predictor(bundle))
    opened = Bundle.open(bundle)
    reseal(opened, bundle, labels=opened.manifest.labels[::-1])
    with pytest.raises(BundleError, match="was replaced since this object was pickled"):
        pickle.loads(content)
    reseal(Bundle.open(bundle), bundle, labels=opened.manifest.labels)
    assert pickle.loads(content).predict(TEXTS)[0]["label"] == "强烈利好"
    shutil.rmtree(bundle)
    with pytest.raises(BundleError, match="is not a bundle"):
        pickle.loads(content)


def test_a_relative_path_is_found_from_elsewhere(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.parent)
    content = pickle.dumps(Predictor("bundle"))
    monkeypatch.chdir("/")
    assert pickle.loads(content).predict(TEXTS)[0]["label"] == "强烈利好"


def test_a_predictor_goes_to_spawned_workers(bundle: Path) -> None:
    predictor = Predictor(bundle, num_threads=1)
    expected = predictor.predict(TEXTS)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(predictor.predict, [TEXTS] * 3) == [expected] * 3


def test_a_task_can_be_pickled() -> None:
    from paddlenlp_embtune.taskflow.task import DomainSentimentTask

    task = DomainSentimentTask(task="domain_sentiment", model="finance", scores=True)
    assert pickle.loads(pickle.dumps(task))([TEXTS]) == task([TEXTS])


FORKS = """
import os, signal, sys, threading, time
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.builtin import FINANCE

texts = ["公司拟以十亿元回购股份并全部注销", "公司因财务造假被立案调查，股票可能退市" * 9, "今天开会"] * 3
predictor = Predictor(FINANCE / "bundle", num_threads=2)
expected, stop = [answer["label"] for answer in predictor.predict(texts)], False

def work():
    while not stop:
        predictor.predict(texts)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
codes = []
for _ in range(int(sys.argv[1])):
    time.sleep(0.003)
    child = os.fork()
    if not child:
        signal.alarm(20)
        right = all([answer["label"] for answer in predictor.predict(texts)] == expected for _ in range(2))
        os._exit(0 if right else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop = True
for thread in threads:
    thread.join()
print(len(codes), sum(code != 0 for code in codes), [answer["label"] for answer in predictor.predict(texts)] == expected)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs os.fork")
@pytest.mark.parametrize("count", [36, pytest.param(300, marks=pytest.mark.slow)])
def test_processes_forked_while_four_threads_predict_answer_too(count: int) -> None:
    done = python("-W", "ignore", "-c", FORKS, str(count), cwd=ROOT)
    assert done.stdout == f"{count} 0 True\n", done.stderr


REPLACED = """
import os, shutil, sys, threading, pathlib
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.inference import Predictor

predictor = Predictor(sys.argv[1], num_threads=1)
real, inside, leave = predictor.engine._session, threading.Event(), threading.Event()

class Session:
    def run(self, *given):
        inside.set()
        leave.wait(20)
        return real.run(*given)

predictor.engine._session = Session()
thread = threading.Thread(target=predictor.predict, args=(["a"],))
thread.start()
inside.wait()
child = os.fork()
if not child:
    (pathlib.Path(sys.argv[1]) / "onnx" / "model.onnx").write_bytes(b"other")
    try:
        predictor.predict(["a"])
    except BundleError as error:
        os._exit(0 if "was replaced or removed" in str(error) else 2)
    os._exit(3)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
leave.set()
thread.join()
print(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_does_not_go_on_with_another_program(bundle: Path) -> None:
    done = python("-W", "ignore", "-c", REPLACED, str(bundle), cwd=ROOT)
    assert done.stdout == "0\n", done.stderr


PADDLE = """
import os
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.builtin import FINANCE

for engine in ("paddle_inference", "paddle"):
    predictor = Predictor(FINANCE / "bundle", engine=engine)
    child = os.fork()
    if not child:
        try:
            predictor.predict(["a"])
            os._exit(10)
        except HostError as error:
            os._exit(11 if "Paddle cannot run in it; start worker processes with 'spawn'" in str(error) else 12)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), predictor.predict(["a"])[0]["label"] in predictor.labels)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_paddle_says_that_it_cannot_go_on_in_a_forked_process() -> None:
    done = python("-W", "ignore", "-c", PADDLE, cwd=ROOT)
    assert done.stdout.split() == ["11", "True", "11", "True"], done.stderr
