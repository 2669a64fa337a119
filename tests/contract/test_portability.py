"""Serving without ``fcntl``, ``resource`` and other things that only POSIX has: what Windows, and partly macOS, lack."""

from __future__ import annotations

import json
from pathlib import Path

from paddlenlp_embtune.builtin import FINANCE
from tests.helpers import python

SCRIPT = """
import os, signal, sys, types
# These have versions for other systems; what is tested is ours.
import asyncio, concurrent.futures, fastapi.testclient, multiprocessing
import numpy, onnxruntime, rich, subprocess, typer, uvicorn.supervisors

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("sched_getaffinity", "register_at_fork", "fork", "getuid", "geteuid", "killpg", "O_CLOEXEC", "O_NOFOLLOW"):
    delattr(os, name)
for name in ("SIGPIPE", "SIGHUP"):
    delattr(signal, name)
locked = []
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *given: locked.append(given))
sys.modules["paddle"] = None

import importlib, json, pkgutil
import paddlenlp_embtune
from paddlenlp_embtune import MissingDependencyError, Predictor

for room in ("bundle", "cli", "data", "inference", "plugin", "report", "scoring", "server", "text", "utils"):
    package = importlib.import_module(f"paddlenlp_embtune.{room}")
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(found.name)
        except MissingDependencyError as error:  # training needs Paddle
            assert "paddlenlp-embtune[cpu]" in str(error)

from fastapi.testclient import TestClient
from paddlenlp_embtune.data import write_answers
from paddlenlp_embtune.server.app import create_app
from paddlenlp_embtune.server.lifecycle import _raise_file_limit
from paddlenlp_embtune.server.settings import ServerSettings
from paddlenlp_embtune.utils.files.atomic_io import replace_folder
from pathlib import Path

_raise_file_limit()
texts = ["公司拟回购股份", ""]
answers = Predictor(sys.argv[1]).predict(texts)
write_answers(Path("answers.jsonl"), [({"text": text}, answer) for text, answer in zip(texts, answers)])
with replace_folder(Path("folder")) as folder:
    (folder / "file").write_text("x")
with TestClient(create_app(ServerSettings(models={"finance": sys.argv[1]})), base_url="http://localhost") as client:
    served = client.post("/v1/models/finance/predict", json={"texts": texts}).json()
print(json.dumps({"labels": [answer["label"] for answer in answers], "served": served, "locked": len(locked)}))
"""


def test_serving_needs_nothing_that_only_posix_has(tmp_path: Path) -> None:
    done = python("-W", "ignore", "-c", SCRIPT, str(FINANCE / "bundle"), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["labels"][1] is None
    assert found["served"].get("results"), found["served"]
    assert [each["label"] for each in found["served"]["results"]] == found["labels"]
    assert found["locked"] >= 2
    assert (tmp_path / "folder" / "file").read_text(encoding="utf-8") == "x"
    assert len((tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()) == 2
