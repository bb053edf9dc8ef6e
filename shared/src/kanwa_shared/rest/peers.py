"""Asking the other services, as the caller would, for what no single one can answer."""

import asyncio
from collections.abc import Mapping
from typing import Final

import httpx
from starlette.requests import Request

from kanwa_shared.errors import Unavailable
from kanwa_shared.fhir.http import FHIR_JSON
from kanwa_shared.ownership import ServiceName
from kanwa_shared.rest.responses import engine_of
from kanwa_shared.security.access import PEERS_PREFIX
from kanwa_shared.security.authentication import PEER_HEADER

_FORWARDED: Final = ("authorization", "cookie", "prefer", "traceparent", "x-request-id")


def forwarded_headers(request: Request) -> dict[str, str]:
    """Who asks and what the request belongs to, for a request that is made in its name."""
    return {name: request.headers[name] for name in _FORWARDED if name in request.headers}


async def ask(
    request: Request,
    service: ServiceName,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> httpx.Response:
    """One service's answer to a GET of `path`, or to a POST of `content`.

    `path` is below the service's FHIR base, or begins with `/peers/` and is for services alone.
    Raises Unavailable, naming the service, when it gives none or refuses.
    """
    engine = engine_of(request)
    headers = {**forwarded_headers(request), "accept": FHIR_JSON}
    if content is not None:
        headers["content-type"] = FHIR_JSON
    if path.startswith(PEERS_PREFIX) and engine.settings.events_password is not None:
        headers[PEER_HEADER] = engine.settings.events_password
    method = "GET" if content is None else "POST"
    peer = engine.peers[service]
    try:
        answer = await peer.request(
            method, url_of(peer, path), params=params, headers=headers, content=content
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable(
            f"{service} does not answer, and without it the answer would lack what it owns; try again"
        ) from error
    return answer


def url_of(peer: httpx.AsyncClient, path: str) -> httpx.URL | str:
    """`path` as the peer's client takes it: one that begins with `/` is the host's, any other below the FHIR base."""
    return peer.base_url.copy_with(path=path) if path.startswith("/") else path


def others(request: Request) -> list[ServiceName]:
    """Every service but this one."""
    engine = engine_of(request)
    return [name for name in engine.peers if name != engine.definition.name]


async def ask_others(request: Request, path: str, *, content: bytes | None = None) -> list[httpx.Response]:
    """The answers of every service but this one. Raises Unavailable as soon as one gives none."""
    asked = (ask(request, name, path, content=content) for name in others(request))
    return list(await asyncio.gather(*asked))
