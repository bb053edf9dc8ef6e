"""A gateway as a process that can be killed: it passes each request on to its service, as nginx does in compose.

Reads CHAOS_GATEWAY_PORT and CHAOS_GATEWAY_TARGETS, a JSON object from service to address.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from kanwa.gateway import service_for

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"})
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
TIMEOUT_SECONDS = 60.0


def application(targets: dict[str, str]) -> Starlette:
    """The gateway over these addresses."""
    # A connection that a killed service left behind is not used again.
    limits = httpx.Limits(max_keepalive_connections=0)
    client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    async def health(_: Request) -> Response:
        return PlainTextResponse("alive")

    async def pass_on(request: Request) -> Response:
        target = targets[service_for(request.url.path)]
        query = f"?{request.url.query}" if request.url.query else ""
        headers = [(k, v) for k, v in request.headers.raw if k.decode() not in HOP_BY_HOP]
        asked = client.build_request(
            request.method,
            f"{target}{request.url.path}{query}",
            headers=headers,
            content=await request.body(),
        )
        try:
            answer = await client.send(asked, stream=True)
        except httpx.HTTPError as error:
            return PlainTextResponse(f"no answer: {type(error).__name__}", 502)
        passed = StreamingResponse(answer.aiter_raw(), answer.status_code)
        passed.raw_headers = [
            (k.lower(), v) for k, v in answer.headers.raw if k.lower().decode() not in HOP_BY_HOP
        ]
        passed.background = _closing(answer)
        return passed

    return Starlette(
        routes=[Route("/health", health), Route("/{path:path}", pass_on, methods=METHODS)],
        lifespan=lifespan,
    )


def _closing(answer: httpx.Response) -> BackgroundTask:
    return BackgroundTask(answer.aclose)


if __name__ == "__main__":
    uvicorn.run(
        application(json.loads(os.environ["CHAOS_GATEWAY_TARGETS"])),
        host="127.0.0.1",
        port=int(os.environ["CHAOS_GATEWAY_PORT"]),
        access_log=False,
        log_level="error",
        timeout_graceful_shutdown=1,
    )
