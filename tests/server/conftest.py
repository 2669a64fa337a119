"""Bundles to serve, and to damage."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.server import create_app
from tests.server.client import Server, serving
from tests.server.inprocess import settings

BUNDLE = FINANCE / "bundle"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the finance bundle, served as ``finance``."""
    return Path(shutil.copytree(BUNDLE, tmp_path / "finance"))


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor(BUNDLE, num_threads=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for tests that leave it as it was, with short deadlines."""
    with serving(BUNDLE, "--read-timeout", "1.5", "--keep-alive", "1.5") as found:
        yield found


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """An application with small limits; tests start and stop it."""
    return create_app(settings(max_texts=20, max_characters=10_000, max_body_bytes=100_000))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Predictors wait as long as it is not set."""
    found = threading.Event()
    predict = Predictor.predict

    def waiting(self: Predictor, texts: Any, **options: Any) -> Any:
        assert found.wait(10)
        return predict(self, texts, **options)

    found.set()
    monkeypatch.setattr(Predictor, "predict", waiting)
    yield found
    found.set()
