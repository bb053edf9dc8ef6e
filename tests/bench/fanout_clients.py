"""Clients of both kinds in a process of their own: `python -m tests.bench.fanout_clients`, told what to do on stdin.

The first line is JSON: `board` (address), `amqp` (URL), `exchange`, `readers`, `queues`. Says `listening` when all
are. At each further line it waits until nothing arrives any more and prints as JSON what each client received since
the one before: latencies from commit to client, and `last`, the time of the last arrival. It ends with its input.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import uvloop

from kanwa_shared.messaging.amqp import Channel, Connection
from kanwa_shared.messaging.broker import Delivery

QUIET_DEADLINE_SECONDS = 120.0
PREFETCH = 100
EXPIRES_MS = 600_000
_EVENT = re.compile(
    rb'\{"specversion":"1\.0","id":"[^"]*","source":"[^"]*","type":"[^"]*","subject":"[^"]*","time":"([^"]*)"'
)


class Reader(asyncio.Protocol):
    """One SSE stream; `latencies` in seconds, the time of commit being the event's own."""

    def __init__(self, request: bytes, listening: "asyncio.Future[None]"):
        self._request = request
        self._listening = listening
        self._rest = b""
        self.latencies: list[float] = []
        self.last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]  # TCP; uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if not self._listening.done():
            self._listening.set_result(None)
        whole, end, self._rest = (self._rest + data).rpartition(b"\n\n")
        found = _EVENT.findall(whole + end)
        if found:
            self.latencies += [now - _committed(time) for time in found]
            self.last = now


class Queue:
    """One queue of a dashboard, as the documentation tells to make it."""

    def __init__(self, channel: Channel, name: str):
        self._channel = channel
        self._name = name
        self.latencies: list[float] = []
        self.last = 0.0

    async def consume(self, exchange: str) -> None:
        """Declare it, bind it to everything and take what comes."""
        await self._channel.declare_queue(self._name, {"x-queue-type": "quorum", "x-expires": EXPIRES_MS})
        await self._channel.bind(self._name, exchange, "#")
        await self._channel.consume(self._name, self._take, prefetch=PREFETCH)

    def _take(self, delivery: Delivery) -> None:
        self.last = time.time()
        found = _EVENT.match(delivery.body)
        assert found is not None
        self.latencies.append(self.last - _committed(found[1]))
        self._channel.ack(delivery.tag)


def _committed(text: bytes) -> float:
    return datetime.fromisoformat(text.decode()).timestamp()


async def _read(board: str, count: int) -> list[Reader]:
    parts, loop = urlsplit(board), asyncio.get_running_loop()
    request = f"GET /events HTTP/1.1\r\nhost: {parts.netloc}\r\naccept: text/event-stream\r\n\r\n".encode()
    readers: list[Reader] = []
    for _ in range(count):
        listening = loop.create_future()
        _, reader = await loop.create_connection(
            lambda f=listening: Reader(request, f), parts.hostname, parts.port
        )
        await listening
        readers.append(reader)
    return readers


async def _consume(amqp: str, exchange: str, count: int) -> tuple[Connection, list[Queue]]:
    connection = await Connection.open(amqp, name="bench dashboards")
    channel = await connection.channel()
    queues = [Queue(channel, f"bench.{number}") for number in range(count)]
    for queue in queues:
        await queue.consume(exchange)
    return connection, queues


async def _quiet(clients: Sequence[Reader | Queue]) -> None:
    """Return when nothing has arrived for two seconds: whoever lags behind is measured to the end."""
    async with asyncio.timeout(QUIET_DEADLINE_SECONDS):
        seen = -1
        while (now := sum(len(client.latencies) for client in clients)) != seen:
            seen = now
            await asyncio.sleep(2.0)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # this program's output


async def _main() -> None:
    asked: dict[str, Any] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    readers = await _read(asked["board"], asked["readers"])
    connection, queues = await _consume(asked["amqp"], asked["exchange"], asked["queues"])
    _say("listening")
    while await asyncio.to_thread(sys.stdin.readline):
        clients = {"sse": readers, "amqp": queues}
        await _quiet([*readers, *queues])
        received = {kind: [client.latencies for client in each] for kind, each in clients.items()}
        last = max(client.last for kind in clients.values() for client in kind)
        _say(json.dumps({**received, "last": last}))
        for client in (*readers, *queues):
            client.latencies = []
    await connection.close()


if __name__ == "__main__":
    uvloop.run(_main())
