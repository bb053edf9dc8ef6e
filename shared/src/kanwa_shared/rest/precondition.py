"""`If-Match` and `If-None-Match: *` on a write. See https://hl7.org/fhir/R4/http.html#concurrency."""

from starlette.requests import Request

from kanwa_shared.errors import PreconditionFailed
from kanwa_shared.fhir.http import UNCONDITIONAL, Precondition, etag, precondition
from kanwa_shared.store.stored import StoredResource


def precondition_of(request: Request) -> Precondition:
    """What the request's `If-Match` and `If-None-Match` ask. Raises Invalid for what is no ETag."""
    return precondition(request.headers.get("if-match"), request.headers.get("if-none-match"))


def check_precondition(
    current: StoredResource | None, resource_type: str, id: str, asked: Precondition
) -> None:
    """Raise PreconditionFailed unless the current version, None if there is none, is as `asked`."""
    if asked is UNCONDITIONAL:
        return
    there = current is not None and not current.deleted
    if asked.absent and there:
        raise PreconditionFailed(f"If-None-Match: * asks for a new resource, and {resource_type}/{id} exists")
    if asked.exists and not there:
        raise PreconditionFailed(
            f"If-Match: * asks for an existing resource, and there is no {resource_type}/{id}"
        )
    if asked.versions is None or (current is not None and current.version in asked.versions):
        return
    now = f"its current version is {etag(current.version)}" if current else "it does not exist"
    named = ", ".join(map(etag, sorted(asked.versions))) or "no version of kanwa's"
    raise PreconditionFailed(
        f"If-Match names {named} of {resource_type}/{id}, but {now}; read it, repeat the change, try again"
    )
