"""The floors of the event flow: pika and psycopg with nothing between them.

`python -m tests.bench.bare_events publish AMQP_URL COUNT` or `… consume AMQP_URL DATABASE_URL COUNT`; prints JSON.
"""

import asyncio
import sys
from collections import deque
from functools import partial
from itertools import takewhile
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from kanwa_shared.messaging.consumer import DeliverySettings
from kanwa_shared.messaging.flight import RelaySettings
from kanwa_shared.messaging.wire import event_message, notification_message
from kanwa_shared.store.resources import open_pool
from tests.bench.event_load import EFFECT, QUEUE, TOPOLOGY, Stopwatch, run, some_events


async def connected(url: str) -> Any:
    """A channel of a new connection."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Any] = loop.create_future()
    connection = AsyncioConnection(
        pika.URLParameters(url), on_open_callback=lambda c: c.channel(on_open_callback=opened.set_result)
    )
    channel = await opened
    channel.kept = connection
    return channel


async def publish(amqp_url: str, count: int) -> Stopwatch:
    """Publish what the relay would, the same two messages of each event, as many confirms outstanding."""
    prepared: deque[tuple[Any, ...]] = deque()
    for event in some_events(count):
        for message in (event_message(event, TOPOLOGY), notification_message(event, TOPOLOGY)):
            properties = pika.BasicProperties(
                content_type=message.content_type,
                delivery_mode=2,
                message_id=message.message_id,
                type=message.type,
                headers=dict(message.headers),
            )
            prepared.append(
                (message.exchange, message.routing_key, message.body, properties, message.mandatory)
            )
    channel = await connected(amqp_url)
    window = 2 * RelaySettings().window
    unconfirmed: dict[int, None] = {}
    sent, done = 0, asyncio.Event()

    def send() -> None:
        nonlocal sent
        while prepared and len(unconfirmed) < window:
            channel.basic_publish(*prepared.popleft())
            sent += 1
            unconfirmed[sent] = None

    def on_confirm(frame: Any) -> None:
        tag = frame.method.delivery_tag
        if frame.method.multiple:
            # Tags are in order.
            for waiting in list(takewhile(lambda older: older <= tag, unconfirmed)):
                del unconfirmed[waiting]
        else:
            del unconfirmed[tag]
        if not prepared and not unconfirmed:
            done.set()
        elif len(unconfirmed) <= window // 2:
            send()

    selected: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    channel.confirm_delivery(on_confirm, callback=selected.set_result)
    await selected
    watch = Stopwatch()
    send()
    await done.wait()
    return watch.stopped(count)


async def consume(amqp_url: str, database_url: str, count: int) -> Stopwatch:
    """Take from the queue, INSERT, acknowledge, with the consumer's prefetch and concurrency."""
    settings = DeliverySettings()
    slots, done = asyncio.Semaphore(settings.concurrency), asyncio.Event()
    left, watch = count, Stopwatch()
    tasks: set[asyncio.Task[None]] = set()

    async def work(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        nonlocal left
        async with slots, pool.connection() as connection:
            await connection.execute(EFFECT, (properties.message_id, body.decode()))
        channel.basic_ack(method.delivery_tag)
        left -= 1
        if left == 0:
            done.set()

    def receive(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        task = asyncio.create_task(work(channel, method, properties, body))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async with open_pool(database_url, max_size=settings.concurrency) as pool:
        channel = await connected(amqp_url)
        channel.basic_qos(prefetch_count=settings.prefetch, callback=partial(_start, channel, receive, watch))
        await done.wait()
        return watch.stopped(count)


def _start(channel: Any, receive: Any, watch: Stopwatch, _: Any) -> None:
    watch.start()
    channel.basic_consume(QUEUE, receive)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    run(
        publish(arguments[0], int(arguments[1]))
        if what == "publish"
        else consume(*arguments[:2], int(arguments[2]))
    )
