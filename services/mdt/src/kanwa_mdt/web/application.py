"""The board's HTTP application."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import msgspec
import psycopg
import structlog
from fastapi import FastAPI
from psycopg_pool import PoolTimeout
from redis.asyncio import Redis as RedisClient
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from kanwa_mdt.application.decide import FhirServer
from kanwa_mdt.application.follow import Tail
from kanwa_mdt.settings import MdtSettings
from kanwa_mdt.store import log
from kanwa_mdt.web.access import page
from kanwa_mdt.web.board import BoardCache, show_board, show_card, show_columns, show_stage
from kanwa_mdt.web.case_page import decide, show_case
from kanwa_mdt.web.contract import asyncapi, show_contract
from kanwa_mdt.web.events import Blocks, stream_events
from kanwa_mdt.web.rendering import Rendering
from kanwa_mdt.web.session import login, logout, show_login
from kanwa_mdt.web.state import BoardState
from kanwa_shared.errors import DomainError, Issue, NotFound, NotSupported, Unavailable
from kanwa_shared.fhir.outcome import outcome_bytes
from kanwa_shared.rest.responses import error_response, fhir_response
from kanwa_shared.security.protection import authenticator_of, protect
from kanwa_shared.store.pool import open_pool
from kanwa_shared.telemetry import metrics

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = structlog.get_logger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

STATIC: Final = Path(__file__).parent / "static"
REDIS_SECONDS: Final = 1.0

ROUTES: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("GET", "/", show_board),
    ("GET", "/board/columns", show_columns),
    ("GET", "/board/cards/{id}", show_card),
    ("GET", "/stages/{stage}", show_stage),
    ("GET", "/cases/{id}", show_case),
    ("POST", "/cases/{id}/decision", decide),
    ("GET", "/events", stream_events),
    ("GET", "/asyncapi.json", asyncapi),
    ("GET", "/asyncapi", show_contract),
    ("GET", "/login", show_login),
    ("POST", "/login", login),
    ("POST", "/logout", logout),
)


def create_app(settings: MdtSettings, *, redis: "Redis | None" = None) -> FastAPI:
    """The application; its lifespan opens what it needs. `redis` replaces the client of `settings.redis_url`."""
    authenticator = authenticator_of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(
                open_pool(settings.database_url, max_size=settings.database_pool_max)
            )
            client = await stack.enter_async_context(
                httpx.AsyncClient(timeout=settings.peer_timeout_seconds, trust_env=False)
            )
            live = redis or _redis_of(settings)
            if live is not None and redis is None:
                stack.push_async_callback(live.aclose)
            app.state.settings, app.state.authenticator = settings, authenticator
            app.state.tail = await stack.enter_async_context(Tail(pool, live).running())
            app.state.blocks = Blocks(app.state.tail)
            app.state.board = BoardState(
                settings,
                pool,
                Rendering(settings.zone),
                FhirServer(client, settings.decisions_url),
                BoardCache(),
                signs_in=authenticator is not None,
            )
            yield

    app = FastAPI(title="kanwa mdt", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    for method, path, endpoint in ROUTES:
        app.add_api_route(path, endpoint, methods=[method], response_class=Response)
    app.add_api_route("/health", health, methods=["GET"], response_class=Response)
    app.add_api_route("/ready", ready, methods=["GET"], response_class=Response)
    app.add_api_route("/metrics", metrics, methods=["GET"], response_class=Response)
    app.mount("/static", StaticFiles(directory=STATIC))
    _answer_errors(app)
    protect(app, settings, service="mdt")
    return app


async def health(_: Request) -> Response:
    """200: the process answers."""
    return Response(b'{"status":"alive"}', media_type="application/json")


async def ready(request: Request) -> Response:
    """200 if the log can be read, else 503; without Redis `degraded`: readers are up to a second behind."""
    board: BoardState = request.app.state.board
    try:
        async with board.pool.connection(timeout=board.settings.ready_timeout_seconds) as connection:
            position = await log.last_position(connection)
    except (psycopg.Error, PoolTimeout) as error:
        content: dict[str, object] = {"status": "unavailable", "database": type(error).__name__}
        return Response(msgspec.json.encode(content), 503, media_type="application/json")
    tail: Tail = request.app.state.tail
    state = "ready" if tail.has_redis else "degraded"
    content = {
        "status": state,
        "database": "ok",
        "redis": "ok" if tail.has_redis else "away",
        "position": position,
    }
    return Response(msgspec.json.encode(content), media_type="application/json")


def _redis_of(settings: MdtSettings) -> "Redis | None":
    if settings.redis_url is None:
        return None
    return RedisClient.from_url(settings.redis_url, socket_connect_timeout=REDIS_SECONDS)  # pyright: ignore[reportUnknownMemberType]  # redis leaves its options untyped


def _answer_errors(app: FastAPI) -> None:
    async def on_refusal(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            known = (
                NotFound(str(error.detail)) if error.status_code == 404 else NotSupported(str(error.detail))
            )
            return _page_or(request, known, error.status_code)
        assert isinstance(error, DomainError)  # noqa: S101  # registered for these two only
        return error_response(error)

    async def on_database_away(request: Request, error: Exception) -> Response:
        _log.warning("database_unavailable", error_class=type(error).__name__)
        away = Unavailable("The board's database does not answer. The page comes back by itself.")
        return _page_or(request, away, 503)

    async def on_fault(request: Request, error: Exception) -> Response:
        _log.error("request_failed", method=request.method, error_class=type(error).__name__, exc_info=error)
        issue = Issue("exception", "The board failed on this request; it is logged.", severity="fatal")
        return fhir_response(500, outcome_bytes([issue]))

    for refusal in (DomainError, HTTPException):
        app.add_exception_handler(refusal, on_refusal)
    for fault in (psycopg.OperationalError, PoolTimeout):
        app.add_exception_handler(fault, on_database_away)
    app.add_exception_handler(Exception, on_fault)


def _page_or(request: Request, error: DomainError, status: int) -> Response:
    """A page for people, an OperationOutcome for programs."""
    board: BoardState | None = getattr(request.app.state, "board", None)
    if board is None or "text/html" not in request.headers.get("accept", ""):
        return fhir_response(status, outcome_bytes(error.issues))
    html = board.rendering.page("error.html", title="Not here", problem=str(error), signed_in=board.signs_in)
    return page(html, status)
