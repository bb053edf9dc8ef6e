"""Clients of both kinds in a process of their own: `python -m tests.bench.fanout_clients`, told what to do on stdin.

The first line is JSON: `board` (address), `amqp` (URL), `exchange`, `readers`, `queues`. Says `listening` when all
are; when its input ends, it prints what each received and the latencies from commit to client, and ends.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import uvloop

from kanwa_shared.messaging.amqp import Channel, Connection
from kanwa_shared.messaging.broker import Delivery

QUIET_DEADLINE_SECONDS = 120.0
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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]  # TCP; uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if not self._listening.done():
            self._listening.set_result(None)
        whole, end, self._rest = (self._rest + data).rpartition(b"\n\n")
        self.latencies += [now - _committed(found) for found in _EVENT.findall(whole + end)]


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


async def _consume(amqp: str, exchange: str, count: int) -> tuple[Connection, list[list[float]]]:
    connection = await Connection.open(amqp, name="bench dashboards")
    channel = await connection.channel()
    received = [list[float]() for _ in range(count)]
    for number, latencies in enumerate(received):
        queue = f"bench.{number}"
        await channel.declare_queue(queue)
        await channel.bind(queue, exchange, "#")
        await channel.consume(queue, lambda one, to=latencies: _take(channel, one, to), prefetch=100)
    return connection, received


def _take(channel: Channel, delivery: Delivery, latencies: list[float]) -> None:
    now = time.time()
    found = _EVENT.match(delivery.body)
    assert found is not None
    latencies.append(now - _committed(found[1]))
    channel.ack(delivery.tag)


async def _quiet(count: Callable[[], int]) -> None:
    """Return when nothing has arrived for two seconds: whoever lags behind is measured to the end."""
    async with asyncio.timeout(QUIET_DEADLINE_SECONDS):
        seen = -1
        while (now := count()) != seen:
            seen = now
            await asyncio.sleep(2.0)


async def _main() -> None:
    asked: dict[str, Any] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    readers = await _read(asked["board"], asked["readers"])
    connection, queues = await _consume(asked["amqp"], asked["exchange"], asked["queues"])
    print("listening", flush=True)  # noqa: T201  # this program's output
    await asyncio.to_thread(sys.stdin.read)
    await _quiet(lambda: sum(len(reader.latencies) for reader in readers) + sum(map(len, queues)))
    received = {"sse": [reader.latencies for reader in readers], "amqp": queues}
    print(json.dumps(received), flush=True)  # noqa: T201  # this program's output
    await connection.close()


if __name__ == "__main__":
    uvloop.run(_main())
