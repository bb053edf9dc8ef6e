"""What the machine can do without kanwa: durable commits, and confirmed publishes."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import pika
import psycopg
from pika.adapters.blocking_connection import BlockingChannel

from tests.bench.http_load import Measured

BODY_BYTES = 2000


async def commits(database_url: str, *, count: int, seconds: float, connections: int) -> Measured:
    """One-row INSERTs, each a commit of its own, from `connections` at a time: what `pgbench` would do.

    It ends with the `count` or the time, whichever is used up first.
    """
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS bench_commit (id bigserial PRIMARY KEY, text text)"
        )
    measured, turns = Measured([], 0.0), iter(range(count))
    ends = time.perf_counter() + seconds

    async def client() -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            for _ in turns:
                started = time.perf_counter()
                await connection.execute("INSERT INTO bench_commit (text) VALUES (%s)", ("x" * 100,))
                measured.latencies.append(time.perf_counter() - started)
                if time.perf_counter() > ends:
                    return

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    measured.seconds = time.perf_counter() - started
    return measured


def publishes(amqp_url: str, *, count: int, seconds: float, connections: int) -> Measured:
    """Persistent messages to a quorum queue, each confirmed before the next, from `connections` threads.

    It ends with the `count` or the time, whichever is used up first.
    """
    measured = Measured([], 0.0)
    with _channel(amqp_url) as setup:
        setup.queue_declare("bench", durable=True, arguments={"x-queue-type": "quorum"})
    threads = [
        Thread(target=_publish, args=(amqp_url, count // connections, seconds, measured.latencies.append))
        for _ in range(connections)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    measured.seconds = time.perf_counter() - started
    with _channel(amqp_url) as setup, suppress(pika.exceptions.AMQPError):
        setup.queue_delete("bench")
    return measured


def _publish(amqp_url: str, count: int, seconds: float, record: Callable[[float], None]) -> None:
    properties = pika.BasicProperties(delivery_mode=2)
    with _channel(amqp_url) as channel:
        channel.confirm_delivery()
        ends = time.perf_counter() + seconds
        for _ in range(count):
            started = time.perf_counter()
            channel.basic_publish("", "bench", b"x" * BODY_BYTES, properties, mandatory=True)
            record(time.perf_counter() - started)
            if time.perf_counter() > ends:
                return


class _channel:  # noqa: N801  # used like a function
    """A channel of a connection of its own."""

    def __init__(self, amqp_url: str):
        self._connection = pika.BlockingConnection(pika.URLParameters(amqp_url))

    def __enter__(self) -> BlockingChannel:
        return self._connection.channel()

    def __exit__(self, *_: object) -> None:
        self._connection.close()
