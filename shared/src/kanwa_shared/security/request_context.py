"""ASGI: each request gets its id and its place in a trace, is counted, and leaves one line in the log.

Its answer gets the headers that guard it, here as well: one wrapped `send` costs less than two.
"""

import os
import re
from time import perf_counter
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kanwa_shared.errors import Issue
from kanwa_shared.logging import add_log_ids, log_request, remove_log_ids
from kanwa_shared.security.challenge import send_outcome
from kanwa_shared.security.response_headers import completed
from kanwa_shared.telemetry import HTTP_IN_PROGRESS, METHODS, count_request, route_template
from kanwa_shared.trace_context import continue_trace

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
#: What probes ask for every few seconds would drown the rest.
_QUIET_PATHS: Final = frozenset({"/health", "/ready", "/metrics"})
_STREAM: Final = b"text/event-stream"


#: No text of FHIR has it (https://hl7.org/fhir/R4/datatypes.html#string) and no text of PostgreSQL takes it.
_NUL: Final = Issue(
    "value", "the URL has a NUL character (%00), which is in no text that kanwa knows; leave it out"
)


class RequestContext:
    """Puts `request_id` and `traceparent` into `scope["state"]` and into the log lines of the request.

    The client's X-Request-Id is kept if it is 1 to 64 letters, digits, '.', '_' and '-', and goes back with
    the answer. The log line holds the route's template, not the path or query: those may name a patient.
    A URL with a NUL character is answered 400 here, before anybody asks a database with it; JSON with one is refused
    where it is read.
    """

    def __init__(self, app: ASGIApp, *, service: str):
        self._app = app
        self._service = service
        self._in_progress = HTTP_IN_PROGRESS.labels(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Recorded(self._app, self._service, scope, send).run(receive, self._in_progress)


class _Recorded:
    """One request from its head to the last byte of its answer."""

    def __init__(self, app: ASGIApp, service: str, scope: Scope, send: Send):
        self._app = app
        self._service = service
        self._scope = scope
        self._send = send
        self._status = 500  # nothing was answered: the server answers for us
        self._streams = False
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        self._request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex().encode()
        self._trace = continue_trace(headers.get(b"traceparent", b"").decode("latin-1"))
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state["request_id"] = self._request_id.decode()
        self._state["traceparent"] = self._trace.header

    async def run(self, receive: Receive, in_progress: Any) -> None:
        started = perf_counter()
        in_progress.inc()
        ids = add_log_ids(request_id=self._state["request_id"], trace_id=self._trace.trace_id)
        try:
            if "\0" in self._scope["path"] or b"%00" in self._scope["query_string"]:
                await send_outcome(self._sending, 400, [_NUL])
            else:
                await self._app(self._scope, receive, self._sending)
        finally:
            in_progress.dec()
            self._record(perf_counter() - started)
            remove_log_ids(ids)

    async def _sending(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
            self._streams = any(
                name == b"content-type" and value.startswith(_STREAM) for name, value in headers
            )
            headers.append((b"x-request-id", self._request_id))
            message = {**message, "headers": completed(headers)}
        await self._send(message)

    def _record(self, seconds: float) -> None:
        method, route = self._scope["method"], route_template(self._scope)
        count_request(self._service, method, route, self._status, None if self._streams else seconds)
        if self._scope["path"] in _QUIET_PATHS:
            return
        caller = self._state.get("caller")
        log_request(
            service=self._service,
            method=method if method in METHODS else "other",
            route=route,
            status=self._status,
            duration_ms=round(seconds * 1000, 1),
            caller=caller.client_id if caller is not None else None,
        )
