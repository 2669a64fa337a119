"""``embtune serve``."""

from __future__ import annotations

import os
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._console import err
from paddlenlp_embtune.server import ServerSettings, named_bundles

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    bundles: Annotated[
        list[str], typer.Argument(metavar="[NAME=]BUNDLE...", help="Folders of bundles; without a name, the folder's is taken.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    engine: Annotated[str, typer.Option(help="onnxruntime, paddle_inference or paddle.")] = "onnxruntime",
    precision: Annotated[str, typer.Option(help="fp32, or what all the bundles were quantized to.")] = "fp32",
    device: Annotated[str, typer.Option(help="cpu, gpu, or auto for a GPU where there is one.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Processors per batch thread.")] = 1,
    windows: Annotated[
        Optional[bool],
        typer.Option("--windows/--cut", help="Read long texts in windows, or cut them; by default as the bundles say."),
    ] = None,
    abstain_below: Annotated[
        Optional[float],
        typer.Option(min=0, max=1, help="Mark answers with a lower score as abstained; by default the bundles' thresholds."),
    ] = None,
    allowed_host: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME",
            help="Name that requests may give as their host, beside the address and localhost, while there is no token; may be "
            "given several times.",
        ),
    ] = None,
    token_file: Annotated[
        Optional[str], typer.Option(help="File with the token that clients must send; or set EMBTUNE_TOKEN.")
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log a line for every request, without its texts.")] = False,
    batch_threads: Annotated[int, typer.Option(min=1, help="Batches at the same time in one process.")] = 1,
    max_batch: Annotated[int, typer.Option(min=1, help="Texts of one batch.")] = 64,
    max_wait_ms: Annotated[float, typer.Option(min=0, help="Wait of a batch for more texts, while another runs.")] = 2.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Texts that may wait; beyond, 503.")] = 10_000,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request's body; beyond, 413.")] = 1 << 20,
    max_texts: Annotated[int, typer.Option(min=1, help="Texts of one request; beyond, 422.")] = 1_000,
    max_characters: Annotated[int, typer.Option(min=1, help="Characters of one text; beyond, 422.")] = 100_000,
    max_requests: Annotated[int, typer.Option(min=1, help="Requests under way; beyond, 503.")] = 1_024,
    timeout: Annotated[float, typer.Option(help="Seconds until a request is answered; beyond, 504.")] = 30.0,
    read_timeout: Annotated[float, typer.Option(help="Seconds in which a request must come in whole.")] = 10.0,
    keep_alive: Annotated[
        float, typer.Option(help="Seconds that a connection may idle between requests, or leave answers unread.")
    ] = 10.0,
    shutdown_timeout: Annotated[int, typer.Option(min=0, help="Seconds to finish requests in, when told to stop.")] = 30,
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
        # prometheus_client reads it as it is imported, and would write this server's figures among those of somebody else.
        for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
            os.environ.pop(name, None)
    from paddlenlp_embtune import server

    server.serve(settings, notify=lambda line: err.print(line, markup=False, soft_wrap=True))
