"""The application in this process: its answers, what it tells of itself, and what it counts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.server import create_app
from tests.server.client import BAD, GOOD, PREDICT, turned
from tests.server.inprocess import ask, error, run, settings

TEXTS = [GOOD, "", BAD, " \n", "日常公告", "\ud800", "股" * 5_000, "<b>利好</b>\x00", "😀"]


@pytest.mark.parametrize("scores", [False, True])
def test_answers_are_those_of_the_predictor(app: FastAPI, predictor: Predictor, scores: bool) -> None:
    answer = ask(app, json={"texts": TEXTS, "scores": scores})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    expected = [
        {key: value for key, value in result.items() if key != "text"} for result in predictor.predict(TEXTS, scores=scores)
    ]
    assert answer.json() == {"model": "finance", "results": expected}
    assert [result["label"] is None for result in expected] == [not text.strip() for text in TEXTS]


def test_one_text_may_come_by_itself_and_none_gets_none(app: FastAPI) -> None:
    assert [result["label"] for result in ask(app, json={"text": BAD}).json()["results"]] == ["强烈利空"]
    assert ask(app, json={"texts": []}).json()["results"] == []


@pytest.mark.parametrize("body", [{"texts": [BAD], "text": None}, {"texts": None, "text": BAD}])
def test_null_is_as_good_as_nothing(app: FastAPI, body: dict[str, object]) -> None:
    assert [result["label"] for result in ask(app, json=body).json()["results"]] == ["强烈利空"]


def test_what_may_be_in_an_answer_is_in_its_schema() -> None:
    app = create_app(settings(predictor={"num_threads": 1, "windows": True, "abstain_below": 0.3}))
    (answer,) = ask(app, json={"text": "公司业绩大增。" * 100, "scores": True}).json()["results"]
    assert answer["window"]["windows"] > 1
    schema = ask(app, "/openapi.json").json()["components"]["schemas"]
    assert {*answer, "cut", "labels"} == set(schema["Answer"]["properties"])  # cut and several labels are of others
    assert set(answer["window"]) == set(schema["Window"]["properties"])
    model = ask(app, "/v1/models/finance").json()
    assert set(model) == set(schema["ModelInfo"]["properties"])
    assert model["windows"] == {"overlap_tokens": 32, "aggregate": "mean"}
    assert model["thresholds"] == dict.fromkeys(model["labels"], 0.3)


def test_keys_that_a_predictor_adds_come_through_and_details_on_request(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"text": "x", "label": None, "score": 0.4, "abstained": True, "more": [0, 1], "scores": {}, "level": 2.5}
    monkeypatch.setattr(Predictor, "predict", lambda self, texts, scores: [result for _ in texts])
    (plain,) = ask(app, json={"text": "x"}).json()["results"]
    assert plain == {"label": None, "score": 0.4, "abstained": True, "more": [0, 1]}
    (full,) = ask(app, json={"text": "x", "scores": True}).json()["results"]
    assert full == {key: value for key, value in result.items() if key != "text"}


def test_models_tell_what_they_are(app: FastAPI, predictor: Predictor) -> None:
    answer = ask(app, "/v1/models/finance").json()
    assert answer.pop("loaded_at").endswith("+00:00")
    assert answer == {
        "name": "finance",
        "domain": "finance",
        "labels": list(predictor.labels),
        "kind": "ordered",
        "ordered": True,
        "max_length": predictor.bundle.manifest.max_length,
        "windows": None,
        "thresholds": None,
        "engine": "onnxruntime",
        "precision": "fp32",
        "dimensions": 160,
        "fingerprint": hashlib.sha256((FINANCE / "bundle" / "bundle.json").read_bytes()).hexdigest(),
    }
    assert [model["name"] for model in ask(app, "/v1/models").json()["models"]] == ["finance"]


def test_several_models_answer_for_themselves(bundle: Path, tmp_path: Path) -> None:
    app = create_app(settings(models={"金融": str(bundle), "b": str(turned(bundle, tmp_path / "b"))}))

    async def test(http: httpx.AsyncClient) -> None:
        for path, label in (("金融", "强烈利好"), ("b", "强烈利空")) * 3:
            answer = await http.post(f"/v1/models/{path}/predict", json={"text": GOOD})
            assert (answer.json()["model"], answer.json()["results"][0]["label"]) == (path, label)

    run(app, test)


def test_a_reload_switches_and_one_that_fails_does_not(bundle: Path, tmp_path: Path) -> None:
    app = create_app(settings(models={"finance": str(bundle)}))

    async def label(http: httpx.AsyncClient) -> str:
        return str((await http.post(PREDICT, json={"text": GOOD})).json()["results"][0]["label"])

    async def test(http: httpx.AsyncClient) -> None:
        before = (await http.get("/v1/models/finance")).json()
        bundle.rename(tmp_path / "old")
        turned(tmp_path / "old", tmp_path / "new").rename(bundle)
        assert await label(http) == "强烈利好"
        answers = await asyncio.gather(*(http.post("/v1/models/finance/reload") for _ in range(3)))
        assert [answer.status_code for answer in answers] == [200, 409, 409]
        assert error(answers[1])[1] == "reload_under_way"
        assert answers[0].json()["fingerprint"] != before["fingerprint"]
        assert await label(http) == "强烈利空"
        (bundle / "vocab.txt").write_text("nonsense")
        failed = error(await http.post("/v1/models/finance/reload"))
        assert failed[:2] == (409, "reload_failed")
        assert "finance was not reloaded, and the old bundle stays in use: the file vocab.txt of the bundle" in failed[2]
        assert await label(http) == "强烈利空"
        counted = (await http.get("/metrics")).text
        assert 'embtune_reloads_total{model="finance",outcome="done"} 1.0' in counted
        assert 'embtune_reloads_total{model="finance",outcome="failed"} 1.0' in counted

    run(app, test)


def test_readiness_follows_start_and_end() -> None:
    app = create_app(settings())
    assert error(asyncio.run(_outside(app, "/ready")))[:2] == (503, "not_ready")
    assert ask(app, "/ready").json() == {"status": "ready"}
    assert "the server is shutting down" in error(asyncio.run(_outside(app, "/ready")))[2]
    assert asyncio.run(_outside(app, "/health")).json() == {"status": "ok"}


async def _outside(app: FastAPI, path: str) -> httpx.Response:
    """Ask an application that is not running."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        return await http.get(path)


def test_everything_is_counted_and_nothing_twice() -> None:
    app = create_app(settings())

    async def test(http: httpx.AsyncClient) -> str:
        await http.post(PREDICT, json={"texts": [GOOD, BAD, ""]})
        await http.post(PREDICT, json={"texts": [None]})
        await http.get("/nothing")
        return (await http.get("/metrics")).text

    counted = run(app, test)
    for line in (
        'embtune_requests_total{route="/v1/models/{name}/predict",status="200"} 1.0',
        'embtune_requests_total{route="/v1/models/{name}/predict",status="422"} 1.0',
        'embtune_requests_total{route="unmatched",status="404"} 1.0',
        'embtune_request_seconds_count{route="/v1/models/{name}/predict"} 2.0',
        'embtune_texts_total{model="finance"} 3.0',
        'embtune_batch_texts_bucket{le="4.0",model="finance"} 1.0',
        'embtune_batch_texts_count{model="finance"} 1.0',
        "embtune_queued_texts 0.0",
        "embtune_requests_in_flight 1.0",
        'embtune_refused_total{reason="invalid_request"} 1.0',
        'embtune_refused_total{reason="not_found"} 1.0',
    ):
        assert line in counted.splitlines()


def test_the_access_log_has_a_line_for_every_request_and_no_texts(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(settings(access_log=True))
    with caplog.at_level(logging.INFO, "paddlenlp_embtune.server.access"):
        ask(app, f"{PREDICT}?text={GOOD}", json={"text": GOOD})
        ask(app, f"/v1/models/{GOOD}")
    known, unknown = (json.loads(record.message) for record in caplog.records if record.name.endswith("access"))
    assert {"method": "POST", "route": "/v1/models/{name}/predict", "model": "finance", "status": 200}.items() <= known.items()
    assert (unknown["status"], unknown["model"]) == (404, None)
    assert GOOD not in json.dumps([known, unknown], ensure_ascii=False)


def test_the_openapi_document_describes_every_route_and_its_failures(app: FastAPI) -> None:
    document = ask(app, "/openapi.json").json()
    assert set(document["paths"]) == {
        "/health",
        "/metrics",
        "/ready",
        "/v1/embeddings",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/models/{name}/embed",
        "/v1/models/{name}/predict",
        "/v1/models/{name}/reload",
    }
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}
    for methods in document["paths"].values():
        for route in methods.values():
            assert route["summary"]
            assert route["description"]
            assert route["responses"].pop("200")["content"]
            assert all(answer["content"] == failure for answer in route["responses"].values())
    predict = document["paths"]["/v1/models/{name}/predict"]["post"]
    assert set(predict["responses"]) == {"400", "404", "413", "415", "422", "503", "504", "default"}
    schema = predict["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"text", "texts", "scores"}
    assert schema["examples"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
