"""Clients of `/events`: one that goes on from its last event whenever it is cut off, and one that reads it all."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import httpx

from tests.chaos.evidence import Seen
from tests.chaos.probe import seen

RETRY_SECONDS = 0.2
SILENCE_SECONDS = 20.0
BEGINS_AT = ": from "


class Subscriber:
    """Follows `/events` from its beginning. `away` makes it leave; it comes back by itself and goes on."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._last = "0"
        self._reading: asyncio.Task[None] | None = None
        self.had: list[Seen] = []
        self.connections = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._reading = asyncio.create_task(self._read())
            # Cancelled alone by `leave`; when this task itself is cancelled, both end.
            try:
                await asyncio.wait([self._reading])
            finally:
                self._reading.cancel()
            await asyncio.sleep(RETRY_SECONDS)

    def leave(self) -> None:
        """Drop the connection in the middle of things."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        with suppress(httpx.HTTPError):
            self.connections += 1
            async for position, event in events(self._address, self._last):
                if event is not None:
                    self.had.append(event)
                    self._last = position


async def whole_stream(address: str) -> list[Seen]:
    """All that `/events` has now: from its beginning up to the position at which a new client would begin."""
    end = await _end(address)
    had: list[Seen] = []
    async with aclosing(events(address, "0")) as stream:
        async for position, event in stream:
            if event is not None:
                had.append(event)
                if int(position) >= end:
                    return had
            elif end == 0:
                return had
    raise httpx.RemoteProtocolError("the stream ended before it was read")


async def _end(address: str) -> int:
    """A client that names no position is told where it begins: at the end of the log."""
    async with (
        httpx.AsyncClient(timeout=SILENCE_SECONDS) as client,
        client.stream("GET", f"{address}/events") as stream,
    ):
        async for line in stream.aiter_lines():
            if line.startswith(BEGINS_AT):
                return int(line.removeprefix(BEGINS_AT))
    raise httpx.RemoteProtocolError("the stream did not say where it begins")


async def events(address: str, after: str) -> AsyncGenerator[tuple[str, Seen | None]]:
    """Events with their positions; None stands for a heartbeat."""
    timeout = httpx.Timeout(10.0, read=SILENCE_SECONDS)
    async with (
        httpx.AsyncClient(timeout=timeout) as client,
        client.stream("GET", f"{address}/events", headers={"last-event-id": after}) as stream,
    ):
        stream.raise_for_status()
        position = ""
        async for line in stream.aiter_lines():
            name, _, value = line.partition(":")
            if name == "id":
                position = value.strip()
            elif name == "data":
                yield position, seen(value.strip())
            elif not name and "heartbeat" in value:
                yield position, None
