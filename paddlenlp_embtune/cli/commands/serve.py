"""``embtune serve``: bundles over HTTP."""

from __future__ import annotations

import os
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._console import err
from paddlenlp_embtune.cli._options import DeviceOption, EngineOption
from paddlenlp_embtune.server import ServerSettings, named_bundles

__all__ = ["serve"]


def serve(
    bundles: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]BUNDLE...", help="Folders of bundles; by default each is named after its folder."),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    engine: EngineOption = "onnxruntime",
    precision: Annotated[str, typer.Option(help="Precision: fp32, or one that all bundles have.")] = "fp32",
    device: DeviceOption = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the engine, per batch thread.")] = 1,
    windows: Annotated[
        Optional[bool],
        typer.Option("--windows/--cut", help="Read long texts in windows, or truncate them; by default as each bundle states."),
    ] = None,
    abstain_below: Annotated[
        Optional[float],
        typer.Option(min=0, max=1, help="Abstain below this score; by default below the thresholds of each bundle."),
    ] = None,
    allowed_host: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME",
            help="Host name that requests may use besides the address and localhost while there is no token; repeat for more.",
        ),
    ] = None,
    token_file: Annotated[
        Optional[str], typer.Option(help="File with the token that clients must send; EMBTUNE_TOKEN also sets one.")
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log one line per request, without its texts.")] = False,
    batch_threads: Annotated[int, typer.Option(min=1, help="Batches that one process runs at the same time.")] = 1,
    max_batch: Annotated[int, typer.Option(min=1, help="Maximum texts per batch.")] = 64,
    max_wait_ms: Annotated[float, typer.Option(min=0, help="Longest wait of a batch for more texts, in ms.")] = 2.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Maximum texts in the queue; more get 503.")] = 10_000,
    max_body: Annotated[int, typer.Option(min=1, help="Maximum bytes per request; larger ones get 413.")] = 1 << 20,
    max_texts: Annotated[int, typer.Option(min=1, help="Maximum texts per request; more get 422.")] = 1_000,
    max_characters: Annotated[int, typer.Option(min=1, help="Maximum characters per text; longer ones get 422.")] = 100_000,
    max_requests: Annotated[int, typer.Option(min=1, help="Maximum concurrent requests; more get 503.")] = 1_024,
    timeout: Annotated[float, typer.Option(help="Seconds to answer a request in; later ones get 504.")] = 30.0,
    read_timeout: Annotated[float, typer.Option(help="Seconds to receive a whole request in.")] = 10.0,
    keep_alive: Annotated[
        float, typer.Option(help="Seconds that a connection may be idle between requests, or leave answers unread.")
    ] = 10.0,
    shutdown_timeout: Annotated[int, typer.Option(min=0, help="Seconds to finish accepted requests in at shutdown.")] = 30,
) -> None:
    """Serve bundles over HTTP, without Paddle, until SIGTERM or Ctrl-C."""
    settings = ServerSettings(
        models=named_bundles(bundles),
        predictor={
            "engine": engine,
            "precision": precision,
            "device": device,
            "num_threads": threads,
            "windows": windows,
            "abstain_below": abstain_below,
        },
        host=host,
        port=port,
        workers=workers,
        allowed_hosts=tuple(allowed_host or ()),
        token_file=token_file,
        access_log=access_log,
        batch_threads=batch_threads,
        max_batch_texts=max_batch,
        max_wait_ms=max_wait_ms,
        max_queued_texts=max_queue,
        max_body_bytes=max_body,
        max_texts=max_texts,
        max_characters=max_characters,
        max_concurrency=max_requests,
        request_timeout_seconds=timeout,
        read_timeout_seconds=read_timeout,
        keep_alive_seconds=keep_alive,
        shutdown_timeout_seconds=shutdown_timeout,
    )
    if workers == 1:
        # prometheus_client reads it on import, and would mix the metrics of this server with those of another program.
        for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
            os.environ.pop(name, None)
    from paddlenlp_embtune import server

    server.serve(settings, notify=lambda line: err.print(line, markup=False, soft_wrap=True))
