"""Several worker processes: one is killed, all of them reload, figures are summed, and nobody is left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.server.client import GOOD, PREDICT, SLOW, Server, ask, ask_on, figure, label, metrics, serving, turned, wait_for


def labels(port: int, count: int) -> list[Any]:
    """Ask on a new connection each time, so that all workers are asked."""
    return [ask(port, value={"text": GOOD})[1]["results"][0]["label"] for _ in range(count)]


def shared_folder(server: Server) -> Path:
    """What the workers share: figures and reloads."""
    environment = Path(f"/proc/{min(server.children())}/environ").read_bytes().split(b"\0")
    return Path(next(line.partition(b"=")[2].decode() for line in environment if line.startswith(b"PROMETHEUS_MULTIPROC_DIR=")))


def up(server: Server) -> bool:
    """Whether both workers have counted something, which they do when they are asked."""
    ask(server.port, "/health")
    pids = {file.stem.rpartition("_")[2] for file in shared_folder(server).glob("counter_*.db")}
    return {str(pid) for pid in server.children()} <= pids and len(server.children()) == 2


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_clients_learn_of_it(bundle: Path) -> None:
    with serving(bundle, "--workers", "2") as server:
        wait_for(lambda: up(server))
        before = server.children()
        found: list[Any] = []
        end = threading.Event()

        def client() -> None:
            connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
            with contextlib.closing(connection):
                while not end.is_set():
                    try:
                        status, answer = ask_on(connection, value={"text": GOOD})
                        found.append((status, answer["results"][0]["label"]))
                    except (OSError, HTTPException) as error:
                        found.append(error)
                        connection.close()

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: len(server.children()) == 2 and min(before) not in server.children())
        wait_for(lambda: up(server))
        mark = len(found)
        time.sleep(0.3)
        end.set()
        for thread in threads:
            thread.join()
        assert not any(thread.is_alive() for thread in threads)
        assert {answer for answer in found if isinstance(answer, tuple)} == {(200, "强烈利好")}
        assert len(found) > mark
        assert all(isinstance(answer, tuple) for answer in found[mark:])
        folder = shared_folder(server)
        left = folder / f"gauge_livesum_{min(before)}.db"
        assert left.exists()
        metrics(server)
        assert not left.exists()
        assert any("died" in line for line in server.lines)
        assert server.stop() == 0
        assert not folder.exists()


def test_a_reload_reaches_all_workers_and_figures_are_of_all(bundle: Path, tmp_path: Path) -> None:
    new = turned(bundle, tmp_path / "new")
    with serving(bundle, "--workers", "2") as server:
        wait_for(lambda: up(server))
        assert set(labels(server.port, 20)) == {"强烈利好"}
        bundle.rename(tmp_path / "old")
        new.rename(bundle)
        assert set(labels(server.port, 20)) == {"强烈利好"}
        assert ask(server.port, "/v1/models/finance/reload", body=b"")[0] == 200
        assert set(labels(server.port, 40)) == {"强烈利空"}
        assert len({ask(server.port, "/v1/models/finance")[1]["fingerprint"] for _ in range(10)}) == 1
        assert 'embtune_texts_total{model="finance"} 80.0' in metrics(server)
        assert server.stop(signal.SIGINT) == 0


@pytest.mark.slow
def test_a_worker_that_cannot_start_again_does_not_take_the_others_along(bundle: Path) -> None:
    with serving(bundle, "--workers", "2") as server:
        wait_for(lambda: up(server))
        before = server.children()
        (bundle / "vocab.txt").unlink()
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: any("a worker cannot start, and is started again: the bundle" in line for line in server.lines))
        assert labels(server.port, 3) == ["强烈利好"] * 3
        assert server.stop() == 0


@pytest.mark.slow
def test_workers_end_with_a_supervisor_that_was_killed(bundle: Path) -> None:
    with serving(bundle, "--workers", "2") as server:
        wait_for(lambda: up(server))
        workers, folder = server.children(), shared_folder(server)
        server.stop(signal.SIGKILL)
        wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
        with pytest.raises(ConnectionRefusedError):
            ask(server.port, PREDICT)
        shutil.rmtree(folder)


def test_the_token_reaches_workers_but_not_with_the_settings(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    with serving(bundle, "--workers", "2", "--token-file", tmp_path / "token") as server:
        assert ask(server.port, "/v1/models")[0] == 401
        assert ask(server.port, "/v1/models", headers={"Authorization": "Bearer s3cret"})[0] == 200
        for process in (server.process.pid, *server.children()):
            for name in ("environ", "cmdline"):
                assert b"s3cret" not in Path(f"/proc/{process}/{name}").read_bytes()


def test_what_workers_have_accepted_is_answered_before_an_orderly_end(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW.format(seconds=0.4))  # the one way into workers, which start anew
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    arguments = ("--workers", "2", "--max-batch", "2")
    with serving(bundle, *arguments, env={"PYTHONPATH": path}) as server, ThreadPoolExecutor(6) as pool:
        wait_for(lambda: up(server))
        asked = [pool.submit(label, server.port) for _ in range(6)]
        wait_for(lambda: figure(server, "embtune_requests_in_flight") == 7)
        assert server.stop() == 0
        assert [done.result() for done in asked] == ["强烈利好"] * 6
        with pytest.raises(ConnectionRefusedError):
            ask(server.port, "/health")
