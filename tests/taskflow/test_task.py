"""``Taskflow("domain_sentiment")``, through PaddleNLP's own front door."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from paddlenlp import Taskflow

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.inference import Predictor
from tests.bundles import TEXTS


@pytest.mark.parametrize("engine", ["onnxruntime", "paddle_inference", "paddle"])
def test_it_answers_as_the_predictor_does(bundle: Bundle, engine: str) -> None:
    task = Taskflow("domain_sentiment", task_path=str(bundle.path), engine=engine)
    expected = Predictor(bundle, engine=engine).predict(TEXTS)
    found = task(list(TEXTS))
    assert [answer["label"] for answer in found] == [answer["label"] for answer in expected]
    np.testing.assert_allclose([a["score"] for a in found], [a["score"] for a in expected], atol=1e-6)


def test_texts_may_come_as_a_list_or_one_by_one(bundle: Bundle) -> None:
    task = Taskflow("domain_sentiment", task_path=str(bundle.path))
    assert task("利好", "减持") == task(["利好", "减持"])
    assert len(task("利好")) == 1


def test_arguments_of_the_user_win(bundle: Bundle) -> None:
    task = Taskflow("domain_sentiment", task_path=str(bundle.path), scores=True, batch_size=3, num_threads=1)
    assert task.task_instance.predictor.batch_size == 3
    assert set(task("利好")[0]["scores"]) == set(bundle.manifest.labels)
    assert "scores" not in task("利好", scores=False)[0]


def test_explanations_come_on_request_as_plain_numbers(bundle: Bundle) -> None:
    task = Taskflow("domain_sentiment", task_path=str(bundle.path))
    assert "explanation" not in task("利好")[0]
    answers = task(["公司拟回购股份", " "], explain=True)
    expected = Predictor(bundle).explain(["公司拟回购股份", " "])
    assert [answer["explanation"] for answer in answers] == [explanation.to_dict() for explanation in expected]
    found = answers[0]["explanation"]
    assert (found["label"], found["score"]) == (answers[0]["label"], pytest.approx(answers[0]["score"]))
    assert found["tokens"] == list("公司拟回购股份")
    assert found["offsets"][2] == [2, 3]
    assert [type(value) for value in found["contributions"]] == [float] * 7
    assert (answers[1]["explanation"]["label"], answers[1]["explanation"]["contributions"]) == (None, [])


def test_explaining_predicts_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["公司拟回购股份", "减持", " ", "利好"]
    task = Taskflow("domain_sentiment", task_path=str(bundle.path))
    predictor, count = task.task_instance.predictor, [0]
    run = predictor.engine.run

    def counted(ids: np.ndarray) -> np.ndarray:
        count[0] += 1
        return run(ids)

    monkeypatch.setattr(predictor.engine, "run", counted)

    def runs_of(work: Callable[[], object]) -> int:
        before = count[0]
        work()
        return count[0] - before

    answers = predictor.predict(texts)
    predicting = runs_of(lambda: task(texts))
    explaining = runs_of(lambda: predictor.explain_answers(answers))
    assert predicting > 0
    assert runs_of(lambda: task(texts, explain=True)) == predicting + explaining


def test_explanations_may_be_asked_for_once_and_for_all(bundle: Bundle) -> None:
    task = Taskflow("domain_sentiment", task_path=str(bundle.path), explain=True, scores=True)
    assert {"explanation", "scores"} <= set(task("利好")[0])
    assert "explanation" not in task("利好", explain=False)[0]
    with pytest.raises(TypeError, match="no argument 'explian' when called; expected explain or scores"):
        task("利好", explian=True)


def test_an_unknown_argument_is_refused(bundle: Bundle) -> None:
    with pytest.raises(TypeError, match="no argument 'task_pth'; did you mean 'task_path'"):
        Taskflow("domain_sentiment", task_pth=str(bundle.path))


def test_without_a_path_the_finance_bundle_answers() -> None:
    labels = {answer["label"] for answer in Taskflow("domain_sentiment")(["公司被立案调查，股票将退市", "净利润翻了三倍"])}
    assert labels <= {"强烈利空", "轻微利空", "中性", "轻微利好", "强烈利好"}
    assert Taskflow("domain_sentiment", model="finance").task_path().endswith("finance/bundle")


def test_an_unknown_domain_is_refused_by_the_host() -> None:
    with pytest.raises(AssertionError, match="cooking"):
        Taskflow("domain_sentiment", model="cooking")


@pytest.mark.parametrize("first", ["paddlenlp_embtune", "paddlenlp"])
def test_the_order_of_imports_does_not_matter(first: str) -> None:
    second = {"paddlenlp": "paddlenlp_embtune", "paddlenlp_embtune": "paddlenlp"}[first]
    shim = "import sys, types; import aistudio_sdk.hub as h; h.download = getattr(h, 'download', None);"
    code = f"{shim} import {first}, {second}; from paddlenlp import Taskflow; print('domain_sentiment' in Taskflow.tasks())"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, check=True, cwd=Path(__file__).parents[2], text=True, capture_output=True)
    assert done.stdout.splitlines()[-1] == "True"
