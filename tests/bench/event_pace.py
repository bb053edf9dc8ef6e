"""The relay beside a bare publisher, the consumer beside a bare consumer: in turns, over the same broker."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import pika
import psycopg

from kanwa_shared.messaging.amqp import Connection
from tests.bench.event_load import EFFECT_TABLE, FILL_OUTBOX, QUEUE, TOPOLOGY, TRACEPARENT, body

TURN_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of one side."""

    count: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.count / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        """CPU seconds of its process for a thousand events."""
        return self.cpu_seconds / self.count * 1000


@dataclass(frozen=True, slots=True)
class Pace:
    """Turns of the bare program and of kanwa, in the order in which they were taken."""

    bare: list[Turn]
    kanwa: list[Turn]

    @property
    def ratio(self) -> float:
        """kanwa's rate as a share of the bare program's: the median of neighbouring turns."""
        return median(ours.rate / bare.rate for ours, bare in zip(self.kanwa, self.bare, strict=True))


def relay_pace(database: Callable[..., str], amqp_url: str, *, count: int, rounds: int) -> Pace:
    """Drain an outbox of `count` events, and publish as many prepared ones."""
    url = database()
    pace = Pace([], [])
    asyncio.run(_declare(amqp_url))
    for turn in range(rounds + 1):
        _purge(amqp_url)
        pace.bare.append(_run("bare_events", "publish", amqp_url, str(count)))
        _purge(amqp_url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                FILL_OUTBOX, {"batch": turn, "count": count, "body": body(), "traceparent": TRACEPARENT}
            )
            connection.execute("VACUUM ANALYZE outbox, resource_version")
        pace.kanwa.append(_run("kanwa_events", "relay", amqp_url, url, str(count)))
    _purge(amqp_url)
    return Pace(pace.bare[1:], pace.kanwa[1:])


def consumer_pace(database: Callable[..., str], amqp_url: str, *, count: int, rounds: int) -> Pace:
    """Work off a queue of `count` events with the same INSERT."""
    url = database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(EFFECT_TABLE)
    pace = Pace([], [])
    asyncio.run(_declare(amqp_url))
    _purge(amqp_url)
    for _ in range(rounds + 1):
        for side, turns in (("bare_events", pace.bare), ("kanwa_events", pace.kanwa)):
            _run("bare_events", "publish", amqp_url, str(count))
            turns.append(_run(side, "consume", amqp_url, url, str(count)))
    return Pace(pace.bare[1:], pace.kanwa[1:])


def _run(module: str, *arguments: str) -> Turn:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{module}", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        timeout=TURN_SECONDS,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Turn(told["count"], told["seconds"], told["cpu_seconds"])


async def _declare(amqp_url: str) -> None:
    connection = await Connection.open(amqp_url, name="bench")
    await TOPOLOGY.declare(await connection.channel())
    await connection.close()


def _purge(amqp_url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        connection.channel().queue_purge(QUEUE)
