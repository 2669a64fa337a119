"""Sentence vectors over HTTP, in our form and in that of OpenAI's clients."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from paddlenlp_embtune.export import bundle_writer, write_bundle
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.server import create_app
from tests import bundles
from tests.server.inprocess import ask, error, settings

TEXTS = ["公司拟回购股份", "", "停牌"]
OURS, OPENAI = "/v1/models/small/embed", "/v1/embeddings"


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("small") / "bundle"
    return Predictor(write_bundle(folder, bundles.content(), engines=["onnxruntime"]), num_threads=1)


@pytest.fixture(scope="module")
def small(embedder: Predictor) -> FastAPI:
    return create_app(settings(models={"small": str(embedder.bundle.path)}))


def test_vectors_are_those_of_the_predictor(small: FastAPI, embedder: Predictor) -> None:
    expected = embedder.embed(TEXTS)
    answer = ask(small, OURS, json={"texts": TEXTS}).json()
    assert (answer["model"], answer["dimensions"]) == ("small", 6)
    np.testing.assert_allclose(answer["vectors"], expected, atol=1e-6)
    short = ask(small, OURS, json={"text": TEXTS[0], "dimensions": 2}).json()["vectors"]
    np.testing.assert_allclose(short, embedder.embed(TEXTS[:1], dimensions=2), atol=1e-6)
    assert ask(small, OURS, json={"texts": []}).json()["vectors"] == []
    assert ask(small, "/v1/models/small").json()["dimensions"] == 6


def test_openai_clients_are_answered(small: FastAPI, embedder: Predictor) -> None:
    expected = embedder.embed(TEXTS)
    answer = ask(small, OPENAI, json={"model": "small", "input": TEXTS, "user": "u", "encoding_format": "float"}).json()
    assert (answer["object"], answer["model"], answer["usage"]["total_tokens"]) == ("list", "small", 9)
    assert [(each["object"], each["index"]) for each in answer["data"]] == [("embedding", row) for row in range(3)]
    np.testing.assert_allclose([each["embedding"] for each in answer["data"]], expected, atol=1e-6)
    # As openai-python asks by default.
    packed = ask(small, OPENAI, json={"model": "small", "input": TEXTS[0], "encoding_format": "base64"}).json()["data"]
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(packed[0]["embedding"]), "<f4"), expected[0], atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": "other", "input": "a"}, 404, "no model 'other'"),
        ({"model": "small", "input": [1, 2]}, 422, "token ids"),
        ({"model": "small", "input": [[1], [2]]}, 422, "token ids"),
        ({"model": "small"}, 422, "input is null"),
        ({"model": "small", "input": ["a", None]}, 422, "input[1] is null"),
        ({"input": "a"}, 422, "model is null"),
        ({"model": "small", "input": "a", "dimensions": 7}, 422, "dimensions is 7; expected 1 to 6"),
        ({"model": "small", "input": "a", "dimensions": 0}, 422, "dimensions is 0"),
        ({"model": "small", "input": "a", "dimensions": True}, 422, "dimensions is a boolean"),
        ({"model": "small", "input": "a", "encoding_format": "int8"}, 422, "float or base64"),
        ({"model": "small", "input": "a", "texts": []}, 422, "no key 'texts'"),
    ],
)
def test_bad_requests_are_refused(small: FastAPI, body: dict[str, Any], status: int, message: str) -> None:
    answer = ask(small, OPENAI, json=body)
    assert error(answer)[0] == status
    assert message in error(answer)[2]


def test_a_bundle_without_vectors_is_refused_with_the_next_step(embedder: Predictor, tmp_path: Path) -> None:
    old = bundle_writer.reseal(embedder.bundle, tmp_path / "old", sentence_vectors=None)
    answer = ask(create_app(settings(models={"small": str(old.path)})), OURS, json={"text": "a"})
    assert error(answer)[:2] == (409, "no_vectors")
    assert "embtune export" in error(answer)[2]
