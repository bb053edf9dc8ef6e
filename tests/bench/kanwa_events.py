"""kanwa's relay and consumer, each in a process of its own, over what the bench has filled.

`python -m tests.bench.kanwa_events relay AMQP_URL DATABASE_URL COUNT` or `… consume …`; prints JSON.
"""

import asyncio
import sys

import psycopg

from kanwa_shared.logging import configure_logging
from kanwa_shared.messaging.consumer import Consumer
from kanwa_shared.messaging.deliveries import DeliverySettings, Subscriber
from kanwa_shared.messaging.envelope import Ack, Event, Outcome
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay
from kanwa_shared.store.resources import open_pool
from tests.bench.event_load import CONSUMER, EFFECT, TOPOLOGY, Stopwatch, run

POLL_SECONDS = 0.02


async def relay(amqp_url: str, database_url: str, count: int) -> Stopwatch:
    """Publish an outbox of `count` events until every row is marked."""
    stop = asyncio.Event()
    async with (
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as observer,
        Publisher(amqp_url, name="bench", prepare=TOPOLOGY.check) as publisher,
    ):
        await publisher.wait_ready()
        working = Relay(database_url, publisher, TOPOLOGY, "intake")
        watch = Stopwatch()
        task = asyncio.create_task(working.run(stop))
        waiting = True
        while waiting:
            await asyncio.sleep(POLL_SECONDS)
            # Through the small index of what waits.
            cursor = await observer.execute(
                "SELECT EXISTS (SELECT FROM outbox WHERE kind = 'event' AND sequence IS NULL)"
                " OR EXISTS (SELECT FROM outbox WHERE kind = 'event' AND published_at IS NULL AND sequence > 0)"
            )
            row = await cursor.fetchone()
            waiting = bool(row and row[0])
        watch.stopped(count)
        stop.set()
        await task
        return watch


async def consume(amqp_url: str, database_url: str, count: int) -> Stopwatch:
    """Consume until `count` effects are committed and acknowledged."""
    settings = DeliverySettings()
    stop, left = asyncio.Event(), count
    watch: Stopwatch | None = None

    async with (
        open_pool(database_url, max_size=settings.concurrency) as pool,
        Publisher(amqp_url, name="bench", prepare=TOPOLOGY.check) as publisher,
    ):

        async def on_event(event: Event) -> Outcome:
            nonlocal left, watch
            if watch is None:
                watch = Stopwatch()
            async with pool.connection() as connection:
                await connection.execute(EFFECT, (event.id, (event.body or b"").decode()))
            left -= 1
            if left == 0:
                watch.stopped(count)
                stop.set()
            return Ack()

        await publisher.wait_ready()
        subscriber = Subscriber(CONSUMER, ("#",), pool, on_event)
        await Consumer(subscriber, amqp_url, publisher, TOPOLOGY, settings).run(stop)
    assert watch is not None
    return watch


if __name__ == "__main__":
    configure_logging("json", "warning")
    what, amqp, database, number = sys.argv[1:]
    run((relay if what == "relay" else consume)(amqp, database, int(number)))
