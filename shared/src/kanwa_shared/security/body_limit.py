"""ASGI: a body that is larger than the setting is answered with 413, announced or not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kanwa_shared.errors import Issue
from kanwa_shared.security.challenge import send_outcome

#: A client that is still sending sees a broken connection instead of the answer, so some of it is read away.
DISCARDED_BYTES: Final = 8 * 1024 * 1024
DISCARDING_SECONDS: Final = 5.0


#: A body of theirs is read by nobody; with a length or in chunks it is checked like any other.
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class _TooLargeError(Exception):
    """Ends the application's reading; never leaves this module."""


class BodyLimit:
    """Counts the bytes of each body; `max_body_bytes` is the most that is read into memory."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int):
        self._app = app
        self._limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through while its body stays within the limit."""
        announced = _announced(scope) if scope["type"] == "http" else 0
        if announced is None:
            await _Counted(self._app, self._limit, receive, send, self._refuse).run(scope)
        elif announced > self._limit:
            await self._refuse(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _refuse(self, receive: Receive, send: Send) -> None:
        await _discard(receive)
        issue = Issue(
            "too-long",
            f"the body is larger than {self._limit} bytes, the most that is read at once; send smaller Bundles",
        )
        # There may be more of the body on its way, so the connection cannot be used again.
        await send_outcome(send, 413, [issue], [(b"connection", b"close")])


def _announced(scope: Scope) -> int | None:
    """The length that the head gives, which the HTTP server holds the body to; None where it must be counted."""
    length: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = value
    if length is None:
        return 0 if scope["method"] in _WITHOUT_BODY else None
    return int(length) if length.isdigit() else None


async def _discard(receive: Receive) -> None:
    left = DISCARDED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARDING_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


class _Counted:
    """One request whose body has no trustworthy length."""

    def __init__(
        self,
        app: ASGIApp,
        limit: int,
        receive: Receive,
        send: Send,
        refuse: Callable[[Receive, Send], Awaitable[None]],
    ):
        self._app = app
        self._left = limit
        self._receive = receive
        self._send = send
        self._refuse = refuse
        self._over = False
        self._started = False

    async def run(self, scope: Scope) -> None:
        with suppress(_TooLargeError):
            await self._app(scope, self._counting, self._sending)
        if self._over and not self._started:
            await self._refuse(self._receive, self._send)

    async def _counting(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._over = True
                raise _TooLargeError
        return message

    async def _sending(self, message: Message) -> None:
        """What the application makes of the broken body is not sent: the client hears of the limit."""
        if not self._over:
            self._started = True
            await self._send(message)
