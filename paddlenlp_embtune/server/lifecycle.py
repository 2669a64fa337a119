"""Starting and stopping: the port, the signals, the worker processes."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.server._middleware import record_refusal
from paddlenlp_embtune.server._model_pool import load_models
from paddlenlp_embtune.server._protocol import DeadlineConfig
from paddlenlp_embtune.server.app import create_app
from paddlenlp_embtune.server.settings import TOKEN_VARIABLE, ServerSettings, read_token

__all__ = ["serve", "worker_app"]

_log = logging.getLogger(__name__)
_SETTINGS = "EMBTUNE_SERVER_SETTINGS"
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the name is prometheus_client's; reloads are signalled there too
_STOPPING = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 2048


def serve(settings: ServerSettings, *, notify: Callable[[str], None] = _log.info) -> None:
    """Serve until SIGTERM or SIGINT, answer what has been accepted, and return. Call it from the main thread.

    Args:
        settings: what to serve, where, and the limits.
        notify: called with lines for people: the address, and warnings.
    Raises:
        EmbtuneError: a bundle cannot be served, or the port is not free.
        RecipeError: the token cannot be used.
    """
    token = read_token(settings)
    _raise_file_limit()
    _set_up_logs()
    before = {number: signal.signal(number, _leave) for number in _STOPPING}
    # The command line ends with its reader; a server must not end with one of its clients.
    if hasattr(signal, "SIGPIPE"):
        before[signal.SIGPIPE] = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        if settings.workers == 1:
            _serve_here(settings, token, notify)
        else:
            _serve_with_workers(settings, token, notify)
    except SystemExit as left:
        if left.code:
            raise EmbtuneError("the server could not start; see its log on stderr") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def worker_app() -> FastAPI:
    """Build the application of a worker process from the settings that its parent put into the environment."""
    settings = ServerSettings.from_json(os.environ[_SETTINGS])
    _set_up_logs()
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        app = create_app(settings, token=read_token(settings), folder=Path(os.environ[_FOLDER]))
    except (EmbtuneError, OSError) as error:
        _log.error("a worker cannot start, and is started again: %s", error)
        time.sleep(1)
        sys.exit(1)  # not uvicorn's 3, which would stop the workers that still answer
    return _watching_signals(app)


def _serve_here(settings: ServerSettings, token: str | None, notify: Callable[[str], None]) -> None:
    app = create_app(settings, token=token)
    listener = _listen(settings, token, notify)
    # A factory, because it runs when uvicorn has put its signal handlers in place.
    uvicorn.Server(_config(settings, lambda: _watching_signals(app))).run(sockets=[listener])


def _serve_with_workers(settings: ServerSettings, token: str | None, notify: Callable[[str], None]) -> None:
    load_models(settings)  # refused before the port is bound
    with tempfile.TemporaryDirectory(prefix="embtune-serve-") as folder:
        handed_over = {_SETTINGS: settings.to_json(), _FOLDER: folder}
        before = {name: os.environ.get(name) for name in handed_over}
        os.environ.update(handed_over)
        try:
            listener = _listen(settings, token, notify)
            config = _config(settings, f"{__name__}:{worker_app.__name__}")
            logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # for the messages of the supervisor
            supervisor = _Supervisor(config, [listener])
            supervisor.run()
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value
    if any(process.exitcode == uvicorn.config.STARTUP_FAILURE for process in supervisor.processes):
        raise EmbtuneError("the workers could not start; see the log on stderr")


class _Supervisor(Multiprocess):
    def terminate_all(self) -> None:
        """Close the port here too: as long as one process holds it, connections are accepted that nobody answers."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def _config(settings: ServerSettings, app: Any) -> DeadlineConfig:
    return DeadlineConfig(
        app,
        factory=True,
        read_seconds=settings.read_timeout_seconds,
        idle_seconds=settings.keep_alive_seconds,
        on_refusal=_record_refusal,
        workers=settings.workers,
        timeout_graceful_shutdown=settings.shutdown_timeout_seconds,
        backlog=_BACKLOG,
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


def _record_refusal(app: FastAPI, **refused: Any) -> None:
    record_refusal(app.state.service, **refused)


def _listen(settings: ServerSettings, token: str | None, notify: Callable[[str], None]) -> socket.socket:
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise EmbtuneError(
            f"cannot listen on {where}: {error.strerror}; choose another --host or --port, 0 for a free one"
        ) from None
    # Connections inherit it. Without it every answer, which is written in two parts, may wait 40 ms for the client's delayed
    # acknowledgement; asyncio sees to it for sockets of its own only.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host, port = listener.getsockname()[:2]
    if token is None and not ipaddress.ip_address(host).is_loopback:
        notify(f"warning: everybody who can reach {host} can use this server; set {TOKEN_VARIABLE}, or pass --token-file FILE")
    shown = f"[{host}]" if ":" in host else host
    notify(f"listening on http://{shown}:{port} ({', '.join(settings.models)})")
    return listener


def _leave(*_: object) -> NoReturn:
    """End with 0: before uvicorn takes the signals over, and when it raises them again after an orderly shutdown."""
    raise SystemExit(0)


def _watching_signals(app: FastAPI) -> FastAPI:
    """Set the state of the application at the first signal; uvicorn reports a shutdown only at its end."""

    def shut_down(number: int, frame: Any) -> None:
        app.state.service.state = "shutting down"
        before[number](number, frame)

    before: dict[int, Any] = {number: signal.getsignal(number) for number in _STOPPING}
    for number in _STOPPING:
        signal.signal(number, shut_down)
    return app


def _stop_with_parent() -> None:
    """Stop if the parent was killed: nobody would start this worker again, or stop it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _raise_file_limit() -> None:
    """Raise the limit of open files, and so of connections, to the hard limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _set_up_logs() -> None:
    """Log plain messages to stderr, unless logging has been set up already."""
    for name in ("paddlenlp_embtune.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        if not logger.hasHandlers():
            logger.addHandler(logging.StreamHandler())
    logging.getLogger("paddlenlp_embtune.server").setLevel(logging.INFO)
