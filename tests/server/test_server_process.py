"""Real servers: how they start, refuse to, serve a bundle that is replaced, and stop."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.builtin import FINANCE
from tests.helpers import embtune, python
from tests.server.client import GOOD, PREDICT, SLOW, Server, ask, figure, label, raw, serving, turned, wait_for

BUNDLE = FINANCE / "bundle"


def test_a_bundle_is_replaced_under_load_without_an_error(bundle: Path, tmp_path: Path) -> None:
    new = turned(bundle, tmp_path / "new")
    with serving(bundle) as server:
        seen: list[list[Any]] = [[] for _ in range(8)]
        end = threading.Event()

        def client(found: list[Any]) -> None:
            while not end.is_set():
                found.append(label(server.port))

        threads = [threading.Thread(target=client, args=(found,)) for found in seen]
        for thread in threads:
            thread.start()
        wait_for(lambda: all(seen))
        bundle.rename(tmp_path / "old")
        new.rename(bundle)
        assert ask(server.port, "/v1/models/finance/reload", body=b"")[0] == 200
        after = [len(found) for found in seen]
        wait_for(lambda: all(len(found) > count + 2 for found, count in zip(seen, after, strict=True)))
        end.set()
        for thread in threads:
            thread.join()
    for found, count in zip(seen, after, strict=True):
        assert set(found) == {"强烈利好", "强烈利空"}
        assert found == sorted(found)  # switched once
        assert set(found[count + 1 :]) == {"强烈利空"}  # one may have been on its way


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_accepted_is_answered_before_an_orderly_end(number: int) -> None:
    with serving(BUNDLE, "--max-batch", "2", first=SLOW.format(seconds=0.4)) as server, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(label, server.port) for _ in range(4)]
        wait_for(lambda: figure(server, "embtune_requests_in_flight") == 5)
        assert server.stop(number) == 0
        assert [done.result() for done in asked] == ["强烈利好"] * 4
        with pytest.raises(ConnectionRefusedError):
            ask(server.port, "/health")
        assert [line for line in server.lines if "listening" not in line] == []


@pytest.mark.slow
def test_what_cannot_be_answered_in_time_is_told_so() -> None:
    with serving(BUNDLE, "--shutdown-timeout", "1", first=SLOW.format(seconds=2)) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, server.port, PREDICT, {"text": GOOD})
        wait_for(lambda: figure(server, "embtune_requests_in_flight") == 2)
        assert server.stop() == 0
        status, answer = asked.result()
        assert (status, answer["error"]["code"]) == (503, "shutting_down")


def test_texts_of_a_client_that_has_gone_are_not_run() -> None:
    body = json.dumps({"texts": [GOOD] * 5}).encode()
    with serving(BUNDLE, first=SLOW.format(seconds=0.5)) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(label, server.port)
        wait_for(lambda: figure(server, "embtune_requests_in_flight") == 2)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with raw(server.port, head.encode(), body):
            wait_for(lambda: figure(server, "embtune_queued_texts") == 5)
        assert asked.result() == "强烈利好"
        assert label(server.port) == "强烈利好"
        assert figure(server, 'embtune_texts_total{model="finance"}') == 2


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "no bundle"])
def test_a_damaged_bundle_is_refused_before_the_port_is_bound(bundle: Path, damage: str, workers: str) -> None:
    file = bundle / "onnx" / "model.onnx"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "missing":
        file.unlink()
    else:
        (bundle / "bundle.json").unlink()
    done = embtune("serve", str(bundle), "--port", "0", "--workers", workers, cwd=bundle.parent)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: ")
    assert str(bundle) in done.stderr


def test_a_port_in_use_is_told(server: Server, tmp_path: Path) -> None:
    done = embtune("serve", str(BUNDLE), "--port", str(server.port), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"error: cannot listen on 127.0.0.1:{server.port}: Address already in use; choose" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((BUNDLE, BUNDLE), "two bundles are named 'finance'"),
        (("a b=x",), "a model cannot be named 'a b'"),
        ((BUNDLE, "--timeout", "0"), "request_timeout_seconds is 0"),
        ((BUNDLE, "--token-file", "empty"), "the token in empty is empty"),
    ],
)
def test_misuse_is_told_in_one_line(arguments: tuple[Any, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = embtune("serve", *map(str, arguments), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


def test_the_token_is_read_from_the_environment_and_missed_where_others_can_reach_the_server() -> None:
    with serving(BUNDLE, "--host", "0.0.0.0", env={"EMBTUNE_TOKEN": "s3cret"}) as server:
        assert ask(server.port, "/v1/models")[0] == 401
        assert ask(server.port, "/v1/models", headers={"Authorization": "Bearer s3cret"})[0] == 200
        assert "warning" not in "".join(server.lines)
    with serving(BUNDLE, "--host", "0.0.0.0") as server:
        assert "warning: everybody who can reach 0.0.0.0 can use this server" in "".join(server.lines)


def test_the_access_log_is_json_on_stderr_and_comes_on_request_only(server: Server) -> None:
    assert [line for line in server.lines if line.startswith("{")] == []
    with serving(BUNDLE, "--access-log") as found:
        label(found.port)
        wait_for(lambda: len(found.lines) > 1)
        assert json.loads(found.lines[1])["status"] == 200
        raw(found.port, b"\x00 garbage\r\n\r\n").close()
        wait_for(lambda: len(found.lines) > 2)
        refused = json.loads(found.lines[2])
        assert (refused["client"], refused["status"], refused["method"]) == ("127.0.0.1", 400, None)
        assert set(refused) == set(json.loads(found.lines[1]))


def test_it_serves_without_paddle_and_with_nothing_of_it_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['paddle'] = sys.modules['paddlenlp'] = None\n"
        "from paddlenlp_embtune.cli import main\n"
        "print(sorted({'fastapi', 'uvicorn', 'pydantic', 'prometheus_client'} & set(sys.modules)))\n"
        "from paddlenlp_embtune.server import ServerSettings, create_app\n"
        "import paddlenlp_embtune.server.lifecycle\n"
        "app = create_app(ServerSettings(models={'x': sys.argv[1]}))\n"
        "print(app.state.service.models['x'].predict(['公司'])[0]['label'] is not None)\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('paddle', 'paddlenlp') and sys.modules[name]])\n"
    )
    done = python("-c", code, str(BUNDLE), cwd=tmp_path)
    assert done.stdout.split("\n") == ["[]", "True", "[]", ""], done.stderr


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "prometheus_client"])
def test_what_is_not_installed_is_named_with_the_extra(missing: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from paddlenlp_embtune.cli.main import main; main()"
    done = python("-c", code, "serve", str(BUNDLE), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"error: the server needs {missing}, which is not installed")
    assert 'pip install "paddlenlp-embtune[serve]"' in done.stderr


def test_the_figures_of_one_process_do_not_go_where_those_of_others_are_kept(tmp_path: Path) -> None:
    with serving(BUNDLE, env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}) as server:
        assert label(server.port) == "强烈利好"
        assert figure(server, 'embtune_texts_total{model="finance"}') == 1
    assert list(tmp_path.iterdir()) == []
