"""The application: routes over :class:`~paddlenlp_embtune.server._service.Service`, and their OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.routing import Route

import paddlenlp_embtune
from paddlenlp_embtune.inference import without_scores
from paddlenlp_embtune.server import _schemas
from paddlenlp_embtune.server._middleware import MetricsMiddleware, TokenMiddleware
from paddlenlp_embtune.server._requests import parse_embed, parse_embeddings, parse_request, read_body
from paddlenlp_embtune.server._responses import embeddings_of, error_response, http_error, json_response, plain_vectors
from paddlenlp_embtune.server._same_origin import SameOriginMiddleware
from paddlenlp_embtune.server._service import Service
from paddlenlp_embtune.server.settings import ServerSettings

__all__ = ["create_app"]

_NO_MODEL = "There is no such model."
_PREDICT_BODY = {"content": {"application/json": {"schema": _schemas.PredictRequest.model_json_schema()}}, "required": True}
_EMBED_BODY = {"content": {"application/json": {"schema": _schemas.EmbedRequest.model_json_schema()}}, "required": True}
_EMBEDDINGS_BODY = {
    "content": {"application/json": {"schema": _schemas.EmbeddingsRequest.model_json_schema()}},
    "required": True,
}
_METRICS_RESPONSE = {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}

router = APIRouter()


def create_app(settings: ServerSettings, *, token: str | None = None, folder: Path | None = None) -> FastAPI:
    """Open the bundles and build the application; any ASGI server can run it.

    The deadlines for slow connections come with ``embtune serve`` only: an application cannot set them.

    Args:
        settings: what to serve, and the limits.
        token: what clients must send, except to /health and /ready; None accepts every request, except from pages of other
            sites.
        folder: shared by the processes of one server; None if there is one process.
    Raises:
        EmbtuneError: a bundle cannot be served.
    """
    service = Service(settings, folder=folder)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="embtune",
        description="Labels texts with the labels of a domain, and turns them into sentence vectors. "
        "If the server has a token, send: Authorization: Bearer TOKEN.",
        version=paddlenlp_embtune.__version__,
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(router)
    app.add_exception_handler(HTTPException, _handle_http_error)
    if token is None:
        app.add_middleware(SameOriginMiddleware, settings=settings, service=service)
    app.add_middleware(TokenMiddleware, token=token, service=service)
    app.add_middleware(MetricsMiddleware, service=service)
    return app


@router.post(
    "/v1/models/{name}/predict",
    summary="Label texts",
    openapi_extra={"requestBody": _PREDICT_BODY},
    responses={
        200: {"model": _schemas.PredictResponse},
        **_schemas.error_responses(
            _400="The body is not JSON.",
            _404=_NO_MODEL,
            _413="The body is too large.",
            _415="The body is compressed.",
            _422="Something in the body is not valid; the message names it.",
            _503="Too many requests or texts are waiting; see Retry-After.",
            _504="The answer took too long.",
        ),
    },
)
async def predict(name: str, request: Request) -> Response:
    """Label texts: one result for each, in order, blanks included."""
    service = _service(request)
    model = service.model(name)
    with service.slot():
        body = await read_body(request.headers, request.receive, limit=service.settings.max_body_bytes)
        parsed = parse_request(body, service.settings)
        answers = await service.predict(model, parsed.texts, request.receive)
    results = [answer if parsed.scores else without_scores(answer) for answer in answers]
    for result in results:
        del result["text"]  # the client has it
    return json_response({"model": name, "results": results})


_EMBED_ERRORS = _schemas.error_responses(
    _400="The body is not JSON.",
    _404=_NO_MODEL,
    _409="The programs of the bundle give no vectors; the message says how to write them.",
    _413="The body is too large.",
    _415="The body is compressed.",
    _422="Something in the body is not valid; the message names it.",
    _503="Too many requests or texts are waiting; see Retry-After.",
    _504="The answer took too long.",
)


@router.post(
    "/v1/models/{name}/embed",
    summary="Sentence vectors of texts",
    openapi_extra={"requestBody": _EMBED_BODY},
    responses={200: {"model": _schemas.EmbedResponse}, **_EMBED_ERRORS},
)
async def embed(name: str, request: Request) -> Response:
    """Return one vector of length 1 for each text, in order; zeros for a blank one."""
    service = _service(request)
    model = service.model(name)
    with service.slot():
        body = await read_body(request.headers, request.receive, limit=service.settings.max_body_bytes)
        parsed = parse_embed(body, service.settings)
        vectors = await service.embed(model, parsed.texts, request.receive, dimensions=parsed.dimensions)
    return json_response({"model": name, "dimensions": vectors.shape[1], "vectors": plain_vectors(vectors)})


@router.post(
    "/v1/embeddings",
    summary="Sentence vectors of texts, for OpenAI's clients",
    openapi_extra={"requestBody": _EMBEDDINGS_BODY},
    responses={200: {"model": _schemas.EmbeddingsResponse}, **_EMBED_ERRORS},
)
async def embeddings(request: Request) -> Response:
    """Return the same vectors as ``/v1/models/{name}/embed`` in the form that OpenAI's clients read."""
    service = _service(request)
    with service.slot():
        body = await read_body(request.headers, request.receive, limit=service.settings.max_body_bytes)
        parsed = parse_embeddings(body, service.settings)
        model = service.model(parsed.model)
        vectors = await service.embed(model, parsed.texts, request.receive, dimensions=parsed.dimensions)
        tokens = await asyncio.to_thread(model.count_tokens, parsed.texts)
    return json_response(embeddings_of(vectors, model=parsed.model, encoding=parsed.encoding, tokens=tokens))


@router.post(
    "/v1/models/{name}/reload",
    summary="Open a bundle again",
    responses={
        200: {"model": _schemas.ModelInfo},
        **_schemas.error_responses(
            _404=_NO_MODEL, _409="The bundle cannot be served, and the old one stays in use; or a reload is under way."
        ),
    },
)
async def reload(name: str, request: Request) -> Response:
    """Load the bundle that is in the folder now; running batches finish with the old one."""
    service = _service(request)
    model = service.model(name)
    await service.reload(model)
    return json_response(await asyncio.to_thread(model.describe))


@router.get(
    "/v1/models", summary="List the models", responses={200: {"model": _schemas.ModelList}, **_schemas.error_responses()}
)
async def models(request: Request) -> Response:
    """List every model with its labels, engine and fingerprint."""
    served = _service(request).models.values()
    return json_response({"models": [await asyncio.to_thread(model.describe) for model in served]})


@router.get(
    "/v1/models/{name}",
    summary="Describe a model",
    responses={200: {"model": _schemas.ModelInfo}, **_schemas.error_responses(_404=_NO_MODEL)},
)
async def model(name: str, request: Request) -> Response:
    """Return a model's labels, engine and fingerprint."""
    return json_response(await asyncio.to_thread(_service(request).model(name).describe))


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Liveness", responses={200: {"model": _schemas.Status}, **_schemas.error_responses()})
async def health() -> Response:
    """Return that the process responds."""
    return json_response({"status": "ok"})


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    summary="Readiness",
    responses={200: {"model": _schemas.Status}, **_schemas.error_responses(_503="The server is starting or shutting down.")},
)
async def ready(request: Request) -> Response:
    """Return whether requests should be sent here."""
    state = _service(request).state
    if state != "ready":
        raise http_error(503, "not_ready", f"the server is {state}; use another one, or try again later")
    return json_response({"status": state})


@router.get("/metrics", summary="Prometheus metrics", responses={200: _METRICS_RESPONSE, **_schemas.error_responses()})
async def metrics(request: Request) -> Response:
    """Return the counters of all worker processes."""
    return Response(await asyncio.to_thread(_service(request).metrics.render), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _handle_http_error(request: Request, error: Exception) -> Response:
    """Answer our errors, and those of the router, in one shape."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        error.headers = {**(error.headers or {}), "Allow": _methods_at(request)}
    detail: Any = error.detail
    if not isinstance(detail, dict):
        detail = _router_error(request, error)
    _service(request).metrics.refused.labels(detail["code"]).inc()
    return error_response(error.status_code, detail["code"], detail["message"], headers=error.headers)


def _router_error(request: Request, error: HTTPException) -> dict[str, str]:
    where = f"{request.method} {request.url.path[:100]}"
    if error.status_code == 404:
        return {"code": "not_found", "message": f"there is no route {where}; /openapi.json lists the routes"}
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return {"code": "method_not_allowed", "message": f"{where} is not allowed; expected {allowed}"}
    return {"code": "refused", "message": f"{where} was refused: {error.detail}"}


def _methods_at(request: Request) -> str:
    """List the methods of all routes at a path; the error 405 names those of the first one only."""
    routes = [*router.routes, *request.app.routes]
    found = [route for route in routes if isinstance(route, Route) and route.path_regex.match(request.url.path)]
    return ", ".join(sorted({method for route in found for method in route.methods or ()}))


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
