"""A load client that costs little: prepared requests over kept connections, answers only counted and timed."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psutil

ANSWER_SECONDS = 60.0


@dataclass(slots=True)
class Measured:
    """What one run of load gave: latencies in seconds, the wall time, and the CPU seconds of the measured process."""

    latencies: list[float]
    seconds: float
    failures: dict[int, int] = field(default_factory=dict)
    cpu_seconds: float | None = None

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    @property
    def cpu_per_thousand(self) -> float | None:
        """CPU seconds of the process per 1,000 requests."""
        return None if self.cpu_seconds is None else self.cpu_seconds / len(self.latencies) * 1000

    def percentile(self, percent: float) -> float:
        """The latency in seconds that `percent` of the answers did not exceed (nearest rank)."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(slots=True)
class Answer:
    """Status, body and the seconds it took."""

    status: int
    body: bytes
    seconds: float


class Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        end = head + 4 + _content_length(bytes(self._buffer[:head]).lower())
        if len(self._buffer) >= end and self._waiting is not None:
            status, body = int(self._buffer[9:12]), bytes(self._buffer[head + 4 : end])
            del self._buffer[:end]
            waiting, self._waiting = self._waiting, None
            waiting.set_result((status, body))

    async def send(self, request: bytes) -> Answer:
        """Send one prepared request and wait for its answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self._transport.write(request)
        status, body = await self._waiting
        return Answer(status, body, time.perf_counter() - started)

    def close(self) -> None:
        self._transport.close()


def _content_length(head: bytes) -> int:
    _, _, after = head.partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0] or 0)


def request_bytes(
    method: str, address: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """A request as it goes over the wire."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"host: {urlsplit(address).netloc}",
        "accept: application/fhir+json",
    ]
    if body:
        lines += ["content-type: application/fhir+json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def connect(address: str) -> Connection:
    """A connection to `http://host:port`."""
    parts = urlsplit(address)
    _, connection = await asyncio.get_running_loop().create_connection(Connection, parts.hostname, parts.port)
    return connection


async def run_load(
    address: str,
    requests: Iterator[bytes],
    *,
    concurrency: int,
    seconds: float,
    process: int | None = None,
) -> Measured:
    """Send requests, `concurrency` at a time, each as soon as a connection is free, for at most `seconds`.

    `process` is the id of the process whose CPU time counts. Answers with a status of 400 or more are failures.
    """
    measured = Measured([], 0.0)
    ends = time.perf_counter() + seconds

    async def one_connection() -> None:
        connection = await connect(address)
        try:
            for request in requests:
                answer = await connection.send(request)
                measured.latencies.append(answer.seconds)
                if answer.status >= 400:
                    measured.failures[answer.status] = measured.failures.get(answer.status, 0) + 1
                if time.perf_counter() > ends:
                    return
        finally:
            connection.close()

    before = _cpu_seconds(process)
    started = time.perf_counter()
    async with asyncio.timeout(seconds + ANSWER_SECONDS):  # one for all: a timer for each answer costs a task
        await asyncio.gather(*(one_connection() for _ in range(concurrency)))
    measured.seconds = time.perf_counter() - started
    after = _cpu_seconds(process)
    if before is not None and after is not None:
        measured.cpu_seconds = after - before
    return measured


def _cpu_seconds(process: int | None) -> float | None:
    if process is None:
        return None
    times = psutil.Process(process).cpu_times()
    return times.user + times.system
