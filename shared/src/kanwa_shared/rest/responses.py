"""Answers: a resource with its headers, a Bundle, an OperationOutcome."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import DomainError, Issue
from kanwa_shared.fhir.http import FHIR_JSON_UTF8, check_acceptable, etag, last_modified, preferences
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.outcome import outcome_bytes, status_of
from kanwa_shared.rest.engine import Engine, Origin
from kanwa_shared.store.stored import StoredResource


def engine_of(request: Request) -> Engine:
    """The engine that the application was created with."""
    return request.app.state.engine


def base_url_of(request: Request) -> str:
    """The public FHIR base without a trailing slash, for absolute links."""
    return engine_of(request).settings.base_url.rstrip("/")


def negotiate(request: Request) -> None:
    """Raise NotAcceptable unless the client takes FHIR JSON."""
    check_acceptable(request.headers.get("accept", "*/*"), request.query_params.get("_format"))


def origin_of(request: Request) -> Origin:
    """Caller, trace and request id, as the middleware found them."""
    state: dict[str, Any] = request.scope.get("state", {})
    caller = state.get("caller")
    return Origin(
        caller.client_id if caller is not None else None,
        state.get("traceparent"),
        state.get("request_id"),
        caller.scopes if caller is not None else None,
    )


def fhir_response(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    """A response with a FHIR JSON body."""
    return Response(body, status, headers, media_type=FHIR_JSON_UTF8)


def resource_headers(request: Request, resource: StoredResource, *, location: bool) -> dict[str, str]:
    """ETag, Last-Modified and, for a write, the absolute Location of the version."""
    headers = {"ETag": etag(resource.version), "Last-Modified": last_modified(resource.last_updated)}
    if location:
        headers["Location"] = f"{base_url_of(request)}/{resource.reference}/_history/{resource.version}"
    return headers


def written_response(
    request: Request, status: int, resource: StoredResource, *, shown: bool = True
) -> Response:
    """The answer to a write, as the client's `Prefer` asks: the body by default, never if it may not be `shown`."""
    headers = resource_headers(request, resource, location=True)
    returns = preferences(request.headers.get("prefer", "")).returns
    if returns == "minimal" or (returns == "representation" and not shown):
        return Response(status_code=status, headers=headers)
    if returns == "OperationOutcome":
        return fhir_response(status, outcome_bytes([done(resource)]), headers)
    return fhir_response(status, resource.body or b"", headers)


def done(resource: StoredResource) -> Issue:
    """What was written, for a client that asks for an OperationOutcome."""
    word = {"create": "created", "update": "updated", "delete": "deleted"}[resource.interaction]
    return Issue(
        "informational",
        f"{resource.reference} was {word}, version {resource.version}",
        severity="information",
    )


def tree_response(status: int, tree: dict[str, Any]) -> Response:
    """A response with a JSON tree."""
    return fhir_response(status, dumps(tree))


def error_response(error: DomainError) -> Response:
    """The OperationOutcome of a refusal, with its status."""
    return fhir_response(status_of(error), outcome_bytes(error.issues))
