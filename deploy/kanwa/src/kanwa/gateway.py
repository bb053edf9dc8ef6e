"""One address for all services in one process; in compose nginx does the same by the same table."""

from collections.abc import Mapping
from typing import Final, get_args

from starlette.types import ASGIApp, Receive, Scope, Send

from kanwa_shared.fhir.validation import is_resource_type
from kanwa_shared.ownership import ServiceName, owner_of

# What is not FHIR and not the board.
_EVENT_LOGS: Final = "/events/"
_PREFIXES: Final = {"/cds-services": "intake", "/.well-known": "intake"}


def service_for(path: str) -> str:
    """The service that answers `path`: FHIR by the type's owner, a source's log by its name, the rest mdt."""
    if path == "/fhir" or path.startswith("/fhir/"):
        resource_type = path.removeprefix("/fhir").lstrip("/").partition("/")[0]
        return owner_of(resource_type) if is_resource_type(resource_type) else "intake"
    if path.startswith(_EVENT_LOGS) and (source := path.removeprefix(_EVENT_LOGS)) in get_args(ServiceName):
        return source
    return next((service for prefix, service in _PREFIXES.items() if path.startswith(prefix)), "mdt")


class Gateway:
    """Routes each request to its service's application; `operations` answers /health, /ready and /metrics."""

    def __init__(self, applications: Mapping[str, ASGIApp], operations: ASGIApp):
        self._applications = applications
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on; its lifespan is managed by whoever built the applications."""
        path = scope.get("path", "")
        if path in {"/health", "/ready", "/metrics"}:
            await self._operations(scope, receive, send)
        else:
            await self._applications[service_for(path)](scope, receive, send)
