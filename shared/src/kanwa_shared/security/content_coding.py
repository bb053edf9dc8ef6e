"""ASGI: bodies in gzip, both ways. See RFC 9110, section 8.4.

What is unpacked counts against the same limit as a plain body, so a small one cannot become a large one in memory.
"""

import asyncio
import gzip
import zlib
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kanwa_shared.errors import Issue
from kanwa_shared.fhir.http import NDJSON
from kanwa_shared.security.challenge import send_outcome

#: Below this an answer fits in a packet or two, and packing it costs more than sending it.
PACKED_FROM_BYTES: Final = 2048
#: Packing a larger answer would hold up other requests for milliseconds; a thread does it.
IN_THREAD_FROM_BYTES: Final = 256 * 1024
_LEVEL: Final = 1  # JSON repeats itself so much that the fastest level finds most of it
_GZIP: Final = frozenset({b"gzip", b"x-gzip"})
_PACKABLE: Final = (
    b"application/fhir+json",
    b"application/json",
    NDJSON.encode(),
    b"text/html",
    b"text/css",
    b"text/javascript",
    b"image/svg+xml",
)


class _Refused(Exception):
    """A body that is not unpacked; never leaves this module."""

    def __init__(self, status: int, code: str, diagnostics: str):
        super().__init__(diagnostics)
        self.status = status
        self.issue = Issue(code, diagnostics)


class ContentCoding:
    """Unpacks what comes with `Content-Encoding: gzip`, and packs answers for clients that accept it."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int):
        self._app = app
        self._limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, its body and its answer as the two sides want them."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        coding = accepted = b""
        for name, value in scope["headers"]:
            if name == b"content-encoding":
                coding = value.strip().lower()
            elif name == b"accept-encoding":
                accepted = value
        if coding not in (b"", b"identity"):
            try:
                receive = await self._unpacked(coding, receive)
            except _Refused as refused:
                accepts = [(b"accept-encoding", b"gzip")] if refused.status == 415 else []
                await send_outcome(send, refused.status, [refused.issue], accepts)
                return
        if accepted and scope["method"] != "HEAD" and takes_gzip(accepted.decode("latin-1")):
            send = _Packing(send).send
        await self._app(scope, receive, send)

    async def _unpacked(self, coding: bytes, receive: Receive) -> Receive:
        if coding not in _GZIP:
            named = coding.decode("latin-1")
            raise _Refused(415, "not-supported", f"Content-Encoding '{named}' is not read; send gzip or none")
        body = await self._read(receive)
        given = False

        async def once() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return once

    async def _read(self, receive: Receive) -> bytes:
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        parts: list[bytes] = []
        left = self._limit
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise _Refused(400, "structure", "the body broke off")
            more = message.get("more_body", False)
            try:
                part = unpacker.decompress(message.get("body", b""), left + 1)
            except zlib.error as error:
                raise _Refused(
                    400, "structure", "the body is not gzip, and Content-Encoding says so"
                ) from error
            left -= len(part)
            if left < 0:
                text = f"the body unpacks to more than {self._limit} bytes, the most that is read; send smaller Bundles"
                raise _Refused(413, "too-long", text)
            parts.append(part)
        if not unpacker.eof or unpacker.unused_data:
            raise _Refused(400, "structure", "the gzip body is not complete, or something follows it")
        return b"".join(parts)


def takes_gzip(header: str) -> bool:
    """Whether an `Accept-Encoding` header allows gzip."""
    for part in header.split(","):
        coding, _, parameter = part.partition(";")
        if coding.strip().lower() in {"gzip", "x-gzip", "*"}:
            name, _, weight = parameter.partition("=")
            return name.strip() != "q" or weight.strip().strip("0.") != ""
    return False


class _Packing:
    """Packs an answer that is sent in one piece; one that streams goes as it is."""

    def __init__(self, send: Send):
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is None:
            await self._send(message)
            return
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            start, message = await _packed(start, message)
        await self._send(start)
        await self._send(message)


async def _packed(start: Message, message: Message) -> tuple[Message, Message]:
    body: bytes = bytes(message.get("body", b""))
    headers: list[tuple[bytes, bytes]] = list(start.get("headers", ()))
    known = dict(headers)
    if len(body) < PACKED_FROM_BYTES or b"content-encoding" in known:
        return start, message
    if not known.get(b"content-type", b"").startswith(_PACKABLE):
        return start, message
    if len(body) < IN_THREAD_FROM_BYTES:
        packed = gzip.compress(body, _LEVEL, mtime=0)
    else:
        packed = await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)
    kept: list[tuple[bytes, bytes]] = [one for one in headers if one[0] != b"content-length"]
    coded: list[Any] = [
        (b"content-length", str(len(packed)).encode()),
        (b"content-encoding", b"gzip"),
        (b"vary", b"accept-encoding"),
    ]
    return {**start, "headers": [*kept, *coded]}, {**message, "body": packed}
