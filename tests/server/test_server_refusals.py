"""What the application refuses, and how it says so: bodies, paths, tokens, too much at once, models that fail."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.server import create_app
from tests.server.client import BAD, GOOD, PREDICT
from tests.server.inprocess import ask, error, run, settings

NESTED = b'{"texts": ' + b"[" * 40_000
REFUSED = {
    "malformed": (b'{"texts": ["a"', 400, "malformed_json", "the body is not JSON: "),
    "empty": (b"", 400, "malformed_json", "the body is not JSON: "),
    "NaN": (b'{"texts": [NaN]}', 400, "malformed_json", "NaN is not a JSON value"),
    "GBK": ('{"text": "利好"}'.encode("gbk"), 400, "malformed_json", "the body is not UTF-8: byte 10 is 0xc0"),
    "UTF-16": ('{"text": "利好"}'.encode("utf-16"), 400, "malformed_json", "not UTF-8"),
    "nested": (NESTED, 400, "malformed_json", "nested too deeply"),
    "long number": (b'{"texts": ' + b"9" * 5_000 + b"}", 400, "malformed_json", "the body is not JSON: "),
    "a list": (b'["a"]', 422, "invalid_request", "the body is a list; expected an object"),
    "null": (b"null", 422, "invalid_request", "the body is null"),
    "no texts": (b"{}", 422, "invalid_request", "must hold either texts"),
    "nulls": (b'{"text": null, "texts": null}', 422, "invalid_request", "must hold either texts"),
    "both": (b'{"text": "a", "texts": ["b"]}', 422, "invalid_request", "must hold either texts"),
    "unknown key": (b'{"texts": [], "score": true}', 422, "invalid_request", "no key 'score'; did you mean 'scores'"),
    "surrogate key": (b'{"texts": [], "\\ud800": true}', 422, "invalid_request", "no key '\\ud800'"),
    "texts is a string": (b'{"texts": "a"}', 422, "invalid_request", "texts is a string; expected a list of strings"),
    "a number": (b'{"texts": ["a", 3]}', 422, "invalid_request", "texts[1] is a number; expected a string"),
    "a null": (b'{"texts": ["a", "b", null]}', 422, "invalid_request", "texts[2] is null"),
    "a nested list": (b'{"texts": [["a"]]}', 422, "invalid_request", "texts[0] is a list"),
    "a boolean text": (b'{"text": true}', 422, "invalid_request", "text is a boolean"),
    "scores": (b'{"text": "a", "scores": "yes"}', 422, "invalid_request", "scores is a string; expected true or false"),
    "too many": (
        json.dumps({"texts": ["a"] * 21}).encode(),
        422,
        "invalid_request",
        "texts holds 21 texts; expected at most 20",
    ),
    "too long": (
        json.dumps({"texts": ["a", "b" * 10_001]}).encode(),
        422,
        "invalid_request",
        "texts[1] has 10,001 characters; expected at most 10,000",
    ),
    "too large": (b" " * 100_001, 413, "body_too_large", "the body has 100,001 bytes; expected at most 100,000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_answered_is_refused_with_the_reason(app: FastAPI, name: str) -> None:
    body, status, code, says = REFUSED[name]
    found = error(ask(app, content=body))
    assert found[:2] == (status, code)
    assert says in found[2]


def test_a_body_without_a_stated_length_is_read_up_to_the_limit_only(app: FastAPI) -> None:
    sent = []

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            sent.append(1)
            yield b" " * 1_000

    found = error(run(app, lambda http: http.post(PREDICT, content=parts())))
    assert found[:2] == (413, "body_too_large")
    assert len(sent) <= 102


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body_is_refused(app: FastAPI, encoding: str) -> None:
    answer = ask(app, content=b"{}", headers={"Content-Encoding": encoding})
    assert error(answer)[:2] == (415, "compressed_body")


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "says"),
    [
        ("GET", "/", 404, "not_found", "there is no route GET /; /openapi.json lists"),
        ("GET", "/v1/models/", 404, "not_found", "there is no route"),
        ("GET", "/docs", 404, "not_found", "there is no route"),
        ("GET", "/v1/models/finanz", 404, "unknown_model", "no model 'finanz'; did you mean 'finance'? Expected finance"),
        ("POST", "/v1/models/finanz/predict", 404, "unknown_model", "no model"),
        ("POST", "/v1/models/finanz/reload", 404, "unknown_model", "no model"),
        ("GET", PREDICT, 405, "method_not_allowed", f"GET {PREDICT} is not allowed; expected POST"),
        ("DELETE", "/v1/models/finance", 405, "method_not_allowed", "expected GET"),
    ],
)
def test_where_there_is_nothing_the_answer_says_what_there_is(
    app: FastAPI, method: str, path: str, status: int, code: str, says: str
) -> None:
    found = error(ask(app, path, method))
    assert found[:2] == (status, code)
    assert says in found[2]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        ("Basic s3cret", 401),
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
    ],
)
def test_the_token_guards_everything_but_health_and_readiness(header: str | None, status: int) -> None:
    app = create_app(settings(), token="s3cret")

    async def test(http: httpx.AsyncClient) -> None:
        headers = {} if header is None else {"Authorization": header}
        answer = await http.post(PREDICT, json={"text": GOOD}, headers=headers)
        assert answer.status_code == status
        assert status == 200 or (error(answer)[1], answer.headers["www-authenticate"]) == ("unauthorized", "Bearer")
        for path in ("/v1/models", "/metrics", "/openapi.json"):
            assert (await http.get(path, headers=headers)).status_code == status
        assert (await http.get("/nothing", headers=headers)).status_code == (404 if status == 200 else 401)
        assert [(await http.get(path)).status_code for path in ("/health", "/ready")] == [200, 200]

    run(app, test)


def test_a_text_that_breaks_the_model_breaks_nobody_elses_answer(
    app: FastAPI, gate: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    predict = Predictor.predict

    def breaking(self: Predictor, texts: Any, **options: Any) -> Any:
        results = predict(self, texts, **options)
        if "秘密" in texts:
            raise ValueError(f"cannot label {texts}")
        return results

    monkeypatch.setattr(Predictor, "predict", breaking)

    async def test(http: httpx.AsyncClient) -> list[httpx.Response]:
        gate.clear()
        asked = [asyncio.ensure_future(http.post(PREDICT, json={"text": text})) for text in (GOOD, BAD, "秘密", GOOD)]
        await asyncio.sleep(0.1)
        gate.set()
        return list(await asyncio.gather(*asked))

    answers = run(app, test)
    assert [answer.status_code for answer in answers] == [200, 200, 500, 200]
    assert [answers[n].json()["results"][0]["label"] for n in (0, 1, 3)] == ["强烈利好", "强烈利空", "强烈利好"]
    assert error(answers[2])[1] == "model_failed"
    assert "ValueError" in caplog.text
    assert "秘密" not in caplog.text + answers[2].text


def test_an_unforeseen_error_is_answered_in_the_same_shape(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app.state.service, "model", lambda name: 1 / 0)
    assert error(ask(app, "/v1/models/finance"))[:2] == (500, "internal")
    assert "ZeroDivisionError" in caplog.text


def test_more_than_can_wait_is_refused_at_once(gate: threading.Event) -> None:
    app = create_app(settings(max_texts=2, max_queued_texts=2, max_concurrency=4))

    async def test(http: httpx.AsyncClient) -> None:
        gate.clear()
        asked = [asyncio.ensure_future(http.post(PREDICT, json={"texts": [GOOD] * count})) for count in (1, 1, 1)]
        await asyncio.sleep(0.1)
        refused = await http.post(PREDICT, json={"text": GOOD})
        assert error(refused)[:2] == (503, "queue_full")
        assert refused.headers["retry-after"] == "1"
        assert "embtune_queued_texts 2.0" in (await http.get("/metrics")).text
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 3
        assert (await http.post(PREDICT, json={"text": GOOD})).status_code == 200
        assert 'embtune_refused_total{reason="queue_full"} 1.0' in (await http.get("/metrics")).text

    run(app, test)


def test_more_requests_than_places_are_refused_and_places_are_given_back(gate: threading.Event) -> None:
    app = create_app(settings(max_concurrency=2))

    async def test(http: httpx.AsyncClient) -> None:
        for _ in range(2):
            gate.clear()
            asked = [asyncio.ensure_future(http.post(PREDICT, json={"text": GOOD})) for _ in range(2)]
            await asyncio.sleep(0.1)
            assert error(await http.post(PREDICT, json={"text": GOOD}))[:2] == (503, "too_busy")
            assert (await http.get("/health")).status_code == 200
            gate.set()
            assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 2
            assert (await http.post(PREDICT, content=b"nonsense")).status_code == 400

    run(app, test)


def test_what_takes_too_long_is_given_up(gate: threading.Event) -> None:
    app = create_app(settings(request_timeout_seconds=0.1))

    async def test(http: httpx.AsyncClient) -> None:
        gate.clear()
        answer = await http.post(PREDICT, json={"text": GOOD})
        assert error(answer)[:2] == (504, "timeout")
        assert "within 0.1 seconds" in error(answer)[2]
        gate.set()
        await asyncio.sleep(0.1)
        assert (await http.post(PREDICT, json={"text": GOOD})).status_code == 200

    run(app, test)


def test_a_client_that_goes_away_is_not_waited_for_and_its_texts_are_not_run(gate: threading.Event) -> None:
    app = create_app(settings())

    async def test(http: httpx.AsyncClient) -> None:
        gate.clear()
        first = asyncio.ensure_future(http.post(PREDICT, json={"text": GOOD}))
        await asyncio.sleep(0.05)
        sent: list[Any] = []
        incoming = [{"type": "http.request", "body": b'{"text": "x"}'}, {"type": "http.disconnect"}]
        scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": [], "query_string": b""}
        await app(scope, _from(incoming), _into(sent))
        assert sent[0]["status"] == 499
        gate.set()
        assert (await first).status_code == 200
        await asyncio.sleep(0.05)
        counted = (await http.get("/metrics")).text
        assert 'embtune_texts_total{model="finance"} 1.0' in counted
        assert 'embtune_requests_total{route="/v1/models/{name}/predict",status="499"} 1.0' in counted

    run(app, test)


def _from(messages: list[dict[str, Any]]) -> Callable[[], Awaitable[Any]]:
    async def receive() -> Any:
        return messages.pop(0)

    return receive


def _into(messages: list[Any]) -> Callable[[Any], Awaitable[None]]:
    async def send(message: Any) -> None:
        messages.append(message)

    return send
