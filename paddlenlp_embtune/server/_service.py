"""The service behind the routes: models, the queue of texts in front of them, and the state of the server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.types import Receive

from paddlenlp_embtune.errors import BundleError, DataError, EmbtuneError, expected_names
from paddlenlp_embtune.inference import check_dimensions, unit_vectors
from paddlenlp_embtune.server._batching import MicroBatcher
from paddlenlp_embtune.server._metrics import Metrics
from paddlenlp_embtune.server._model_pool import LoadedBundle, ServedModel, load_models
from paddlenlp_embtune.server._responses import http_error
from paddlenlp_embtune.server.settings import ServerSettings

__all__ = ["Service", "log_failure"]

_log = logging.getLogger(__name__)
_RETRY = {"Retry-After": "1"}

Work = Callable[[ServedModel, list[str]], Sequence[Any]]
"""What is done with texts: one of the methods of a model that give one answer for each."""


class Service:
    """Models and the queue in front of them.

    Args:
        settings: what to serve, and the limits.
        folder: what the processes of one server share; None if there is one process.
    Raises:
        EmbtuneError: a bundle cannot be served.
    """

    def __init__(self, settings: ServerSettings, *, folder: Path | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics(folder=folder)
        self.models = load_models(settings, folder=folder, on_reload=self._count_reload)
        self.state = "starting"
        self._under_way = 0
        self._reloading: set[str] = set()
        self._batcher: MicroBatcher[tuple[ServedModel, Work], Any] = MicroBatcher(
            lambda key, texts: key[1](key[0], texts),
            max_texts=settings.max_batch_texts,
            max_wait_seconds=settings.max_wait_ms / 1000,
            max_queued=settings.max_queued_texts,
            threads=settings.batch_threads,
            on_batch=self._count_batch,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept texts inside the block; after it, finish what runs."""
        self._batcher.open()
        self.state = "ready"
        try:
            yield
        finally:
            self.state = "shutting down"
            await self._batcher.close()

    def model(self, name: str) -> ServedModel:
        """Return a model by its name.

        Raises:
            HTTPException: 404 there is none.
        """
        if name not in self.models:
            raise http_error(
                404, "unknown_model", f"there is no model {name[:100]!r}; {expected_names(name[:100], self.models)}"
            )
        return self.models[name]

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the slots for requests under way.

        Raises:
            HTTPException: 503 all slots are taken.
        """
        if self._under_way >= self.settings.max_concurrency:
            raise http_error(503, "too_busy", f"{self._under_way:,} requests are under way; try again later", headers=_RETRY)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def predict(self, model: ServedModel, texts: list[str], receive: Receive) -> list[dict[str, Any]]:
        """Label texts, unless the client goes away first.

        Raises:
            HTTPException: as :meth:`_answer`.
        """
        return await self._answer(model, ServedModel.predict, texts, receive)

    async def embed(
        self, model: ServedModel, texts: list[str], receive: Receive, *, dimensions: int | None
    ) -> npt.NDArray[np.float32]:
        """Return the (N, d) float32 sentence vectors of texts, scaled to length 1, unless the client goes away first.

        Raises:
            HTTPException: 409 the bundle gives no vectors, 422 they have fewer dimensions; otherwise as :meth:`_answer`.
        """
        try:
            width = await asyncio.to_thread(lambda: model.current().predictor.vector_width)
            kept = check_dimensions(dimensions, width)
        except BundleError as error:
            raise http_error(409, "no_vectors", " ".join(str(error).split())) from None
        except DataError as error:
            raise http_error(422, "invalid_request", str(error)) from None
        found = await self._answer(model, ServedModel.embed, texts, receive)
        return unit_vectors(np.asarray(found, dtype=np.float32).reshape(len(texts), width)[:, :kept])

    async def _answer(self, model: ServedModel, work: Work, texts: list[str], receive: Receive) -> list[Any]:
        """Queue texts and wait for their answers.

        Raises:
            HTTPException: 503 the queue is full, 504 it took too long, 499 the client went away, 500 the model failed.
        """
        try:
            answers = self._batcher.submit((model, work), texts)
        except asyncio.QueueFull:
            if self._batcher.closed:
                raise http_error(
                    503, "shutting_down", "the server is shutting down; send the request to another one", headers=_RETRY
                ) from None
            message = f"{self._batcher.queued:,} texts are waiting already; try again later"
            raise http_error(503, "queue_full", message, headers=_RETRY) from None
        self.metrics.queued.set(self._batcher.queued)
        answers.add_done_callback(lambda _: self.metrics.queued.set(self._batcher.queued))
        gone = asyncio.ensure_future(_until_gone(receive))
        timeout = self.settings.request_timeout_seconds
        try:
            await asyncio.wait((answers, gone), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if answers.done():
                return answers.result()
        except RuntimeError as error:
            log_failure(f"the model {model.name} failed", error.__cause__ or error)
            raise http_error(500, "model_failed", "the model failed on these texts; see the log of the server") from None
        finally:
            answers.cancel()
            gone.cancel()
        if gone.done():
            raise http_error(499, "client_gone", "the client closed the connection before it was answered")
        message = f"the texts were not answered within {timeout:g} seconds; send fewer at a time, or try again later"
        raise http_error(504, "timeout", message, headers=_RETRY)

    async def reload(self, model: ServedModel) -> LoadedBundle:
        """Open a model's bundle again; until that has succeeded, the old one stays in use.

        Raises:
            HTTPException: 409 the bundle cannot be served, or is being opened already.
        """
        if model.name in self._reloading:
            # Not joined: it may have read the folder before this client changed it.
            message = f"{model.name} is being reloaded already; try again when that has finished"
            raise http_error(409, "reload_under_way", message, headers=_RETRY)
        self._reloading.add(model.name)
        try:
            return await asyncio.to_thread(self._reload, model)
        except (EmbtuneError, OSError) as error:
            message = f"{model.name} was not reloaded, and the old bundle stays in use: {error}"
            raise http_error(409, "reload_failed", " ".join(message.split())) from None

    def _reload(self, model: ServedModel) -> LoadedBundle:
        try:
            return model.reload()
        finally:
            self._reloading.discard(model.name)  # here, because the thread continues if its request is cancelled

    def _count_batch(self, key: tuple[ServedModel, Work], texts: int) -> None:
        model = key[0]
        self.metrics.texts.labels(model.name).inc(texts)
        self.metrics.batches.labels(model.name).observe(texts)
        self.metrics.queued.set(self._batcher.queued)

    def _count_reload(self, name: str, worked: bool) -> None:
        self.metrics.reloads.labels(name, "done" if worked else "failed").inc()


def log_failure(what: str, error: BaseException) -> None:
    """Log where something failed, without the exception's message, which may quote a text of a client."""
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    _log.error("%s: %s\n%s", what, type(error).__name__, frames)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
