"""One service's HTTP application."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpx
import psycopg
import structlog
from fastapi import FastAPI, Request
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kanwa_shared.errors import DomainError, Issue, Unavailable
from kanwa_shared.fhir.outcome import outcome_bytes
from kanwa_shared.fhir.validation import RESOURCE_TYPES, warm
from kanwa_shared.ownership import SYSTEM_SERVICE, ServiceName, owner_of
from kanwa_shared.rest.capability import CAPABILITY_PATH, metadata, own_capability
from kanwa_shared.rest.create import create
from kanwa_shared.rest.delete import conditional_delete, delete
from kanwa_shared.rest.engine import Engine
from kanwa_shared.rest.event_log import event_log
from kanwa_shared.rest.health import health, ready
from kanwa_shared.rest.history import history, system_history, type_history
from kanwa_shared.rest.openapi import openapi
from kanwa_shared.rest.operation import operation, system_operation
from kanwa_shared.rest.operations.export import export_end, export_remarks, export_status
from kanwa_shared.rest.operations.export_files import COUNTS_PATH, export_counts, export_file
from kanwa_shared.rest.operations.export_job import JOB_PATH, answer_job
from kanwa_shared.rest.operations.record import RECORD_PATH, answer_record
from kanwa_shared.rest.operations.registry import STANDARD
from kanwa_shared.rest.patch import conditional_patch, patch
from kanwa_shared.rest.read import read, vread
from kanwa_shared.rest.responses import error_response, fhir_response
from kanwa_shared.rest.routing import Interactions
from kanwa_shared.rest.search import search, search_by_post
from kanwa_shared.rest.service import ServiceDefinition
from kanwa_shared.rest.transaction import transaction
from kanwa_shared.rest.update import conditional_update, update
from kanwa_shared.rest.well_known import smart_configuration
from kanwa_shared.security.access import EVENTS_PATH
from kanwa_shared.security.protection import protect
from kanwa_shared.settings import BaseServiceSettings
from kanwa_shared.store.commit import CommitUncertain
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore
from kanwa_shared.telemetry import metrics

log = structlog.get_logger()

Endpoint = Callable[[Request], Awaitable[Response]]
Peers = Mapping[ServiceName, httpx.AsyncClient]

UNCERTAIN: Final = (
    "the connection to the database was lost while it was committing: this may be written or not, "
    "so read or search before you send it again"
)
#: As nginx logs it.
CLIENT_GONE: Final = 499
TYPE: Final = "/fhir/{resource_type}"
INSTANCE: Final = TYPE + "/{id}"

#: Method, path and endpoint of every FHIR interaction; the first path that fits wins.
ROUTES: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("GET", "/fhir/metadata", metadata),
    ("GET", "/fhir/openapi.json", openapi),
    ("GET", "/fhir/.well-known/smart-configuration", smart_configuration),
    ("GET", "/.well-known/smart-configuration", smart_configuration),
    ("GET", "/fhir/_history", system_history),
    ("GET", "/fhir/$export/{job}", export_status),
    ("DELETE", "/fhir/$export/{job}", export_end),
    ("GET", "/fhir/$export/{job}/remarks", export_remarks),
    ("GET", TYPE + "/$export/{job}", export_file),
    ("GET", "/fhir/${operation}", system_operation),
    ("POST", "/fhir/${operation}", system_operation),
    ("POST", TYPE + "/_search", search_by_post),
    ("GET", TYPE + "/_history", type_history),
    ("GET", TYPE + "/${operation}", operation),
    ("POST", TYPE + "/${operation}", operation),
    ("GET", INSTANCE + "/_history/{version}", vread),
    ("GET", INSTANCE + "/_history", history),
    ("GET", INSTANCE + "/${operation}", operation),
    ("POST", INSTANCE + "/${operation}", operation),
    ("GET", INSTANCE, read),
    ("PUT", INSTANCE, update),
    ("PATCH", INSTANCE, patch),
    ("DELETE", INSTANCE, delete),
    ("GET", TYPE, search),
    ("POST", TYPE, create),
    ("PUT", TYPE, conditional_update),
    ("PATCH", TYPE, conditional_patch),
    ("DELETE", TYPE, conditional_delete),
)

#: What the services ask each other, and nobody else: no gateway leads there.
PEER_ROUTES: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("GET", CAPABILITY_PATH, own_capability),
    ("POST", RECORD_PATH, answer_record),
    ("POST", COUNTS_PATH, export_counts),
    ("GET", JOB_PATH + "{job}", answer_job),
)

#: Types of the referral loop: their models are built at start, those of the dossier when they are first met.
WARMED: Final = frozenset(
    {"ServiceRequest", "Task", "Patient", "Condition", "CarePlan", "Practitioner", "DocumentReference", "Appointment",
     "Procedure", "Slot", "Schedule", "Observation", "AdverseEvent"}
)  # fmt: skip


def _routes(definition: ServiceDefinition) -> list[tuple[str, str, Endpoint]]:
    """What one service answers: FHIR, its part of the event log, and who operates it."""
    system = [
        ("POST", path, transaction) for path in ("/fhir", "/fhir/") if definition.name == SYSTEM_SERVICE
    ]
    events = [("GET", path, event_log) for path in (EVENTS_PATH, f"{EVENTS_PATH}/{definition.name}")]
    operated = [("GET", "/health", health), ("GET", "/ready", ready), ("GET", "/metrics", metrics)]
    return [*ROUTES, *PEER_ROUTES, *system, *events, *operated]


def create_app(
    definition: ServiceDefinition, settings: BaseServiceSettings, *, peers: Peers | None = None
) -> FastAPI:
    """The application of one service; connections are opened by its lifespan, none here.

    `peers` are HTTP clients whose base URL is the FHIR base of each service; by default they are made from the
    settings. Raises ValueError where the settings are not safe to start with.
    """
    pool = open_pool(settings.database_url, max_size=settings.database_pool_max)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        owned = {name for name in RESOURCE_TYPES if owner_of(name) == definition.name}
        # The first resource of a type would otherwise wait for its model to be built.
        await asyncio.to_thread(warm, owned & WARMED | {"Bundle", "Parameters"})
        async with httpx_peers(settings, peers) as clients, pool:
            app.state.engine = Engine(
                definition, settings, ResourceStore(pool, base_url=settings.base_url), clients
            )
            yield

    app = FastAPI(
        title=f"kanwa {definition.name}",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.router.routes.append(Interactions(_routes(definition)))
    _answer_errors(app)
    offered = (*definition.operations, *STANDARD)
    reading = frozenset(operation.name for operation in offered if not operation.affects_state)
    protect(app, settings, service=definition.name, reading_operations=reading, has_event_log=True)
    return app


@asynccontextmanager
async def httpx_peers(settings: BaseServiceSettings, given: Peers | None) -> AsyncGenerator[Peers]:
    """Clients of the services' FHIR bases, closed again if they were made here."""
    if given is not None:
        yield given
        return
    urls: dict[ServiceName, str] = {
        "intake": settings.peer_intake_url,
        "scheduling": settings.peer_scheduling_url,
        "outcomes": settings.peer_outcomes_url,
    }
    made: dict[ServiceName, httpx.AsyncClient] = {
        name: httpx.AsyncClient(base_url=url, timeout=settings.peer_timeout_seconds)
        for name, url in urls.items()
    }
    try:
        yield made
    finally:
        for client in made.values():
            await client.aclose()


def _answer_errors(app: FastAPI) -> None:
    """Every refusal and every fault leaves as an OperationOutcome."""

    async def on_domain_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, DomainError)  # noqa: S101  # registered for this class only
        return error_response(error)

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class only
        code = "not-supported" if error.status_code in {404, 405} else "processing"
        issue = Issue(code, f"{request.method} {request.url.path}: {error.detail}")
        return fhir_response(error.status_code, outcome_bytes([issue]), dict(error.headers or {}))

    async def on_database_away(_: Request, error: Exception) -> Response:
        log.warning("database_unavailable", error_class=type(error).__name__)
        if isinstance(error, CommitUncertain):
            return error_response(Unavailable(UNCERTAIN))
        return error_response(Unavailable("the database does not answer; nothing was written, try again"))

    async def on_fault(request: Request, error: Exception) -> Response:
        log.error("request_failed", method=request.method, error_class=type(error).__name__, exc_info=error)
        issue = Issue(
            "exception", "kanwa failed on this request; it is logged under the request id", severity="fatal"
        )
        # Faults are answered outside of what adds headers to every other answer.
        request_id: str = request.scope.get("state", {}).get("request_id", "")
        return fhir_response(500, outcome_bytes([issue]), {"X-Request-Id": request_id})

    async def on_client_gone(_: Request, __: Exception) -> Response:
        # Nobody reads it; it is not kanwa's fault, so it is not logged and counted as one.
        return Response(status_code=CLIENT_GONE)

    app.add_exception_handler(ClientDisconnect, on_client_gone)
    app.add_exception_handler(DomainError, on_domain_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    for fault in (psycopg.OperationalError, PoolTimeout):
        app.add_exception_handler(fault, on_database_away)
    app.add_exception_handler(Exception, on_fault)
