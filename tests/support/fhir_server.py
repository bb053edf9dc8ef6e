"""The three services that own resources as one FHIR server, in this process over real databases, without messages."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from kanwa.gateway import service_for
from kanwa.services import FHIR_SERVICES, migration_folders
from kanwa_shared.rest.app import create_app

BASE = "http://localhost/fhir"
_OF_CONNECTING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class FhirServer:
    """`fhir` is a client of the one base; `applications` are the services behind it, `away` those that are not there.

    A service in `silent` does what another one asks and its answer is lost, with that fault; with a fault of
    connecting it is not asked.
    """

    fhir: httpx.AsyncClient
    applications: dict[str, FastAPI]
    away: set[str]
    silent: dict[str, type[httpx.TransportError]]


@asynccontextmanager
async def fhir_server(database: Callable[..., str], **settings: Any) -> AsyncIterator[FhirServer]:
    """Everything behind the gateway's routing; `settings` go to every service."""
    applications: dict[str, FastAPI] = {}
    away: set[str] = set()
    silent: dict[str, type[httpx.TransportError]] = {}
    async with AsyncExitStack() as stack:
        peers: dict[Any, httpx.AsyncClient] = {
            name: await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=_To(lambda _, at=name: at, applications, away, silent), base_url=f"{BASE}/"
                )
            )
            for name in FHIR_SERVICES
        }
        for name, definition in FHIR_SERVICES.items():
            loaded = definition.settings_class.load(
                **{"database_url": database(*migration_folders(name)), "auth_mode": "open", "base_url": BASE,
                   "handover_wait_seconds": 0.1, **settings}
            )  # fmt: skip
            applications[name] = create_app(definition, loaded, peers=peers)
            await stack.enter_async_context(applications[name].router.lifespan_context(applications[name]))
        client = httpx.AsyncClient(
            transport=_To(service_for, applications, away, {}),
            base_url=f"{BASE}/",
            headers={"content-type": "application/fhir+json"},
        )
        yield FhirServer(await stack.enter_async_context(client), applications, away, silent)


class _To(httpx.AsyncBaseTransport):
    """Requests to the service that `choose` names for their path."""

    def __init__(
        self,
        choose: Callable[[str], str],
        applications: dict[str, FastAPI],
        away: set[str],
        silent: dict[str, type[httpx.TransportError]],
    ):
        self._choose = choose
        self._applications = applications
        self._away = away
        self._silent = silent

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = self._choose(request.url.path)
        if name in self._away:
            raise httpx.ConnectError(f"{name} is away")
        fault = self._silent.get(name)
        if fault in _OF_CONNECTING:
            raise fault(f"{name} cannot be reached")
        transport = httpx.ASGITransport(self._applications[name], raise_app_exceptions=False)
        answer = await transport.handle_async_request(request)
        if fault is not None:
            raise fault(f"the answer of {name} was lost")
        return answer
