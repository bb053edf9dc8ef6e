"""Every write that a client sends and what it was told, read off the wire: the HTTP side of the evidence."""

import json
from typing import Any

import httpx

from tests.chaos.evidence import Acknowledged, Tree

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
#: Types that nothing in kanwa rewrites: what was sent must be what is stored.
VERBATIM = frozenset({"Patient", "Practitioner", "Organization"})
SERVER_ERROR = 500
FOUND = 200


class Ledger(httpx.AsyncBaseTransport):
    """A transport that writes down acknowledgements, and where there was none."""

    def __init__(self) -> None:
        self._wire = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self.acknowledged: list[Acknowledged] = []
        self.uncertain: set[str] = set()
        self.unanswered = 0
        self.refused = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sent = await request.aread()
        writes = request.method in WRITES and not request.url.path.endswith(("/$find", "/_search"))
        try:
            answer = await self._wire.handle_async_request(request)
            received = await answer.aread()
        except httpx.HTTPError:
            if writes:
                self._not_answered(request)
            raise
        if writes:
            self._answered(request, sent, answer, received)
        return answer

    async def aclose(self) -> None:
        await self._wire.aclose()

    def _answered(self, request: httpx.Request, sent: bytes, answer: httpx.Response, received: bytes) -> None:
        if answer.status_code >= SERVER_ERROR:
            self._not_answered(request)
        elif not answer.is_success:
            self.refused += 1
        elif _path(request) == "":
            self._bundle(json.loads(received))
        else:
            self._single(request, sent, answer, received)

    def _bundle(self, bundle: Tree) -> None:
        for entry in bundle.get("entry", []):
            response = entry.get("response", {})
            if not response.get("status", "").startswith("2") or "location" not in response:
                continue
            resource, version = _of_location(response["location"])
            self.acknowledged.append(Acknowledged(resource, version))

    def _single(self, request: httpx.Request, sent: bytes, answer: httpx.Response, received: bytes) -> None:
        if request.method == "DELETE":
            if "etag" in answer.headers:
                version = _of_tag(answer.headers["etag"])
                self.acknowledged.append(
                    Acknowledged(_path(request), version, deleted=True, replaces=_replaced(request))
                )
            return
        if "location" in answer.headers:
            resource, version = _of_location(answer.headers["location"])
        else:
            stored: Tree = json.loads(received or b"{}")
            if "versionId" not in stored.get("meta", {}):
                return
            resource, version = f"{stored['resourceType']}/{stored['id']}", int(stored["meta"]["versionId"])
        # A conditional create that found one wrote nothing.
        if request.method == "POST" and "if-none-exist" in request.headers and answer.status_code == FOUND:
            return
        body = json.loads(sent, parse_float=str) if resource.partition("/")[0] in VERBATIM else None
        self.acknowledged.append(Acknowledged(resource, version, body=body, replaces=_replaced(request)))

    def _not_answered(self, request: httpx.Request) -> None:
        self.unanswered += 1
        if request.method != "POST":
            self.uncertain.add(_path(request))


def _path(request: httpx.Request) -> str:
    return request.url.path.partition("/fhir")[2].strip("/")


def _replaced(request: httpx.Request) -> int | None:
    match = request.headers.get("if-match")
    return None if match is None else _of_tag(match)


def _of_tag(tag: str) -> int:
    return int(tag.strip('W/"'))


def _of_location(location: str) -> tuple[str, int]:
    parts: list[Any] = location.split("/")
    return "/".join(parts[-4:-2]), int(parts[-1])
