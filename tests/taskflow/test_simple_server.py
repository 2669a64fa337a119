"""The task behind PaddleNLP's own ``SimpleServer``."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from paddlenlp import Taskflow

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.inference import Predictor
from tests.bundles import TEXTS


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the host's own models use names that pydantic has deprecated
        from fastapi.testclient import TestClient
        from paddlenlp import SimpleServer

        server = SimpleServer()
        server.register_taskflow("taskflow/domain_sentiment", Taskflow("domain_sentiment", task_path=str(bundle.path)))
        return TestClient(server)


def test_it_answers_over_http_as_the_predictor_does(bundle: Bundle, client: Any) -> None:
    answer = client.post("/taskflow/domain_sentiment", json={"data": {"text": list(TEXTS)}})
    assert answer.status_code == 200
    expected = Predictor(bundle).predict(TEXTS)
    # The host leaves out what is None: the label of a blank text.
    assert [row.get("label") for row in answer.json()["result"]] == [row["label"] for row in expected]
    assert [row["score"] for row in answer.json()["result"]] == pytest.approx([row["score"] for row in expected], abs=1e-6)
