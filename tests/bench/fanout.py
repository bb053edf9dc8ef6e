"""Many dashboards at once: SSE clients and queues of their own, while referrals flow at half of the most that goes.

The most is what reaches every client: referrals posted as fast as they go, over the time from the first to the
arrival of the last event at the last client.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.bench.http_load import Connection, Measured, connect, request_bytes, run_load
from tests.bench.referral import referrals
from tests.support.deployment import Deployment

SETTLED_DEADLINE_SECONDS = 120.0
SHARE_OF_THE_MOST = 0.5
_CONNECTIONS = 16


@dataclass(slots=True)
class Fanout:
    """`alone`: posted as fast as they go with nobody listening, `most`: with everybody, `delivered`: referrals a second
    of which everybody had everything. `posted` at half of that; `sse` and `amqp` hold its latencies from commit to
    client, `received` the fewest and the most events that a client received, `events` how many there were."""

    alone: Measured
    most: Measured
    delivered: float
    posted: Measured
    sse: Measured
    amqp: Measured
    events: int
    received: dict[str, tuple[int, int]]


async def fan_out(
    deployment: Deployment, amqp_url: str, *, readers: int, queues: int, requests: int, seconds: float
) -> Fanout:
    """Find the greatest rate of POST ServiceRequest that reaches everybody, then follow half of it everywhere."""
    intake = deployment.addresses["intake"]
    process = deployment.processes["intake-api"].pid
    posts = (request_bytes("POST", intake, "/fhir/ServiceRequest", body) for body in referrals(requests))

    async def as_fast_as_they_go() -> Measured:
        return await run_load(intake, posts, concurrency=_CONNECTIONS, seconds=seconds, process=process)

    alone = await as_fast_as_they_go()
    await _settled(deployment)
    asked = {
        "board": deployment.addresses["mdt"],
        "amqp": amqp_url,
        "exchange": "kanwa.events",
        "readers": readers,
        "queues": queues,
    }
    with _clients(asked) as clients:
        began = time.time()
        most = await as_fast_as_they_go()
        await _settled(deployment)
        delivered = len(most.latencies) / ((await _received(clients))["last"] - began)
        before = await _logged(deployment)
        posted = await _paced(intake, posts, delivered * SHARE_OF_THE_MOST, seconds)
        await _settled(deployment)
        events = await _logged(deployment) - before
        received = await _received(clients)
    return Fanout(
        alone,
        most,
        delivered,
        posted,
        *(
            Measured([one for each in received[kind] for one in each], posted.seconds)
            for kind in ("sse", "amqp")
        ),
        events,
        {kind: (min(map(len, received[kind])), max(map(len, received[kind]))) for kind in ("sse", "amqp")},
    )


@contextmanager
def _clients(asked: dict[str, object]) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.bench.fanout_clients"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert _told(process, json.dumps(asked)) == "listening"
        yield process
    finally:
        process.kill()
        process.wait()


async def _received(clients: "subprocess.Popen[str]") -> dict[str, Any]:
    """What the clients received since the last call, see `fanout_clients`."""
    return json.loads(await asyncio.to_thread(_told, clients, ""))


def _told(process: "subprocess.Popen[str]", line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


async def _paced(address: str, posts: Iterator[bytes], rate: float, seconds: float) -> Measured:
    """Send so many a second, whether or not the ones before were answered, as far as connections are free."""
    measured = Measured([], 0.0)
    free: asyncio.Queue[Connection] = asyncio.Queue()
    connections = [await connect(address) for _ in range(_CONNECTIONS)]
    for connection in connections:
        free.put_nowait(connection)

    async def send(connection: Connection, request: bytes) -> None:
        answer = await connection.send(request)
        measured.latencies.append(answer.seconds)
        if answer.status >= 400:
            measured.failures[answer.status] = measured.failures.get(answer.status, 0) + 1
        free.put_nowait(connection)

    started = time.perf_counter()
    async with asyncio.timeout(seconds * 4 + 60), asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            tasks.create_task(send(await free.get(), next(posts)))
    measured.seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return measured


async def _settled(deployment: Deployment) -> None:
    """Wait until every outbox is empty and the board's log has not grown for a second."""
    async with asyncio.timeout(SETTLED_DEADLINE_SECONDS):
        seen = -1
        while (now := await _logged(deployment)) != seen or await _waiting(deployment):
            seen = now
            await asyncio.sleep(1.0)


async def _waiting(deployment: Deployment) -> int:
    return sum(
        [
            await _value(deployment, service, "SELECT count(*) FROM outbox WHERE published_at IS NULL")
            for service in ("intake", "scheduling", "outcomes")
        ]
    )


async def _logged(deployment: Deployment) -> int:
    return await _value(deployment, "mdt", "SELECT last FROM event_log_head")


async def _value(deployment: Deployment, service: str, query: str) -> int:
    url = deployment.commands[f"{service}-api"][1]["KANWA_DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute(query)).fetchone()  # type: ignore[arg-type]  # constants above
    assert row is not None
    return row[0]
