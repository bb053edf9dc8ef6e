"""Entries that are done on their own: each goes over HTTP to the service that owns its type."""

import re
from dataclasses import replace
from typing import Any, Final, cast

import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import DomainError, Invalid, Issue
from kanwa_shared.fhir.bundle import Entry, bundle
from kanwa_shared.fhir.http import FHIR_JSON, preferences
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.outcome import outcome_tree, status_of
from kanwa_shared.fhir.patching import binary_content
from kanwa_shared.fhir.validation import is_resource_type, validate
from kanwa_shared.ownership import owner_of
from kanwa_shared.rest.bundle_entries import WRITES, BundleEntry, read_entry
from kanwa_shared.rest.engine import refuse_errors
from kanwa_shared.rest.peers import forwarded_headers
from kanwa_shared.rest.responses import base_url_of, engine_of, fhir_response

_REASONS: Final = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 400: "Bad Request"}
#: Of a Bundle with a single entry, every fault is that entry's.
_FIRST: Final = re.compile(r"^Bundle(\.entry(\[0\])?)?")


async def respond_to_batch(request: Request, tree: Tree) -> Response:
    """A batch-response: one answer for each entry, whatever becomes of the others.

    Only a Bundle that is no batch at all is refused as a whole; what is wrong with an entry is answered in its place.
    """
    refuse_errors(validate({name: value for name, value in tree.items() if name != "entry"}))
    entries: Any = tree.get("entry", [])
    if not isinstance(entries, list):
        raise Invalid("Bundle.entry is a list", expression="Bundle.entry", code="structure")
    answers = [
        await _answer(request, position, written)
        for position, written in enumerate(cast("list[Any]", entries))
    ]
    return fhir_response(200, bundle("batch-response", answers))


async def _answer(request: Request, position: int, written: Any) -> Entry:
    faults = _faults(position, written)
    if faults:
        return _refusal(Invalid(faults))
    entry = read_entry(position, written, base_url_of(request))
    return _refusal(Invalid([entry])) if isinstance(entry, Issue) else await perform_over_http(request, entry)


def _faults(position: int, written: Any) -> list[Issue]:
    """What is wrong with an entry but for its resource, which is judged where it is sent."""
    alone = {"resourceType": "Bundle", "type": "batch", "entry": [_without_resource(written)]}
    place = f"Bundle.entry[{position}]"
    return [
        replace(issue, expression=tuple(_FIRST.sub(place, path, count=1) for path in issue.expression))
        for issue in validate(alone)
        if issue.severity == "error"
    ]


def _without_resource(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {name: value for name, value in cast("Tree", entry).items() if name != "resource"}


def _refusal(error: DomainError) -> Entry:
    status = status_of(error)
    return {
        "response": {
            "status": f"{status} {_REASONS.get(status, '')}".strip(),
            "outcome": outcome_tree(error.issues),
        }
    }


async def perform_over_http(request: Request, entry: BundleEntry) -> Entry:
    """Send one entry to its owner as the caller would and turn the answer into a Bundle entry."""
    engine = engine_of(request)
    owner = owner_of(entry.resource_type) if is_resource_type(entry.resource_type) else engine.definition.name
    headers = {**forwarded_headers(request), **entry.conditions, "accept": FHIR_JSON}
    content: bytes | None = None
    if entry.resource is not None:
        try:
            content, headers["content-type"] = _body(entry, entry.resource)
        except DomainError as error:
            return _refusal(error)
    try:
        answer = await engine.peers[owner].request(entry.method, entry.url, headers=headers, content=content)
    except (httpx.HTTPError, KeyError) as error:
        return _unanswered(entry, owner, sent=isinstance(error, httpx.HTTPError) and _may_have_arrived(error))
    except (httpx.InvalidURL, ValueError):
        return _refusal(
            Invalid("the URL cannot be read", expression=f"{entry.path}.request.url", code="value")
        )
    return _as_entry(answer, outcome_only=_asks_for_outcome(request, entry))


def _may_have_arrived(error: httpx.HTTPError) -> bool:
    """Whether the owner may have what it did not answer: not if no connection to it was had."""
    return not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _unanswered(entry: BundleEntry, owner: str, *, sent: bool) -> Entry:
    """What is known of an entry whose owner gave no answer; `sent`: it may have the request."""
    silent = f"{owner}, which owns {entry.resource_type}, does not answer"
    if not sent or entry.method not in WRITES:
        status, text = "503 Service Unavailable", f"{silent}; nothing was written, try again later"
    elif entry.if_none_exist is not None:
        status = "504 Gateway Timeout"
        text = f"{silent}: this may be written or not; send it again, ifNoneExist keeps it from being written twice"
    else:
        status = "504 Gateway Timeout"
        text = f"{silent}: this may be written or not, so read or search before you send it again"
    code = "transient" if status.startswith("503") else "timeout"
    return {"response": {"status": status, "outcome": outcome_tree([Issue(code, text, (entry.path,))])}}


def _body(entry: BundleEntry, resource: Tree) -> tuple[bytes, str]:
    """The body and its media type; a patch that is no resource comes in a Binary."""
    if entry.method == "PATCH" and resource.get("resourceType") == "Binary":
        return binary_content(resource, at=f"{entry.path}.resource")
    return dumps(resource), FHIR_JSON


def _asks_for_outcome(request: Request, entry: BundleEntry) -> bool:
    writes = entry.method in WRITES and "$" not in entry.url
    return writes and preferences(request.headers.get("prefer", "")).returns == "OperationOutcome"


def _as_entry(answer: httpx.Response, *, outcome_only: bool) -> Entry:
    reason = _REASONS.get(answer.status_code, answer.reason_phrase)
    response: dict[str, Any] = {"status": f"{answer.status_code} {reason}".strip()}
    for header, element in (("location", "location"), ("etag", "etag")):
        if header in answer.headers:
            response[element] = answer.headers[header]
    written: Entry = {"response": response}
    if answer.content:
        body = msgspec.Raw(answer.content)
        if answer.is_success and not outcome_only:
            written["resource"] = body
        else:
            response["outcome"] = body
    return written
