"""A service that writes its outbox, consumers that keep a ledger of effects, and both ways between them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from kanwa_shared.messaging.amqp import Connection
from kanwa_shared.messaging.attempts import request_replay
from kanwa_shared.messaging.broker import Delivery
from kanwa_shared.messaging.consumer import Consumer
from kanwa_shared.messaging.deliveries import DeliverySettings, Subscriber
from kanwa_shared.messaging.direct import DirectDispatch, Source
from kanwa_shared.messaging.envelope import Ack, Event, HandOver, Outcome, Reject, Retry
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay
from kanwa_shared.messaging.replay import replay
from kanwa_shared.messaging.topology import Topology

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DELAYS_SECONDS = (0.05, 0.1)
SETTINGS = DeliverySettings(max_attempts=3, delays_seconds=DELAYS_SECONDS, stop_grace_seconds=5.0)


class WritingService:
    """Commits resource versions and hand-overs with their outbox rows, as the store does."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self._connection: AsyncConnection[Any] | None = None

    async def __aenter__(self) -> Self:
        self._connection = await AsyncConnection.connect(self.url, autocommit=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.connection.close()

    @property
    def connection(self) -> AsyncConnection[Any]:
        assert self._connection is not None
        return self._connection

    @asynccontextmanager
    async def another(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A second connection, for what happens at the same time."""
        async with await AsyncConnection.connect(self.url, autocommit=True) as connection:
            yield connection

    async def write(
        self, resource_id: str, version: int, *, resource_type: str = "Task", body: str | None = None
    ) -> str:
        """Commit one version of a resource; returns the event id."""
        async with self.connection.transaction():
            return await write_version(self.connection, resource_id, version, resource_type, body)

    async def hand_over(self, target: str, resource_id: str, *, resource_type: str = "Task") -> str:
        """Commit a hand-over; returns the event id."""
        event_id = str(uuid4())
        await self.connection.execute(
            "INSERT INTO outbox (event_id, kind, resource_type, resource_id, interaction, target, payload,"
            " occurred_at, traceparent) VALUES (%s, 'handover', %s, %s, 'create', %s, %s, %s, %s)",
            (event_id, resource_type, resource_id, target, "{}", datetime.now(UTC), TRACEPARENT),
        )
        return event_id

    async def unpublished(self) -> int:
        """How many rows wait."""
        return await scalar(self.connection, "SELECT count(*) FROM outbox WHERE published_at IS NULL")

    async def sequences(self) -> list[int]:
        """The sequences given so far, in order of the outbox ids."""
        cursor = await self.connection.execute(
            "SELECT sequence FROM outbox WHERE sequence IS NOT NULL ORDER BY id"
        )
        return [row[0] for row in await cursor.fetchall()]


async def write_version(
    connection: AsyncConnection[Any],
    resource_id: str,
    version: int,
    resource_type: str = "Task",
    body: str | None = None,
) -> str:
    """Insert a version and its outbox row in the caller's transaction; returns the event id."""
    event_id, now = str(uuid4()), datetime.now(UTC)
    text = body or f'{{"resourceType": "{resource_type}", "id": "{resource_id}", "n": {version}.50}}'
    interaction = "create" if version == 1 else "update"
    await connection.execute(
        "INSERT INTO resource_version (resource_type, id, version, last_updated, interaction, body)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (resource_type, resource_id, version, now, interaction, text),
    )
    await connection.execute(
        "INSERT INTO outbox (event_id, kind, resource_type, resource_id, version, interaction, occurred_at,"
        " traceparent) VALUES (%s, 'event', %s, %s, %s, %s, %s, %s)",
        (event_id, resource_type, resource_id, version, interaction, now, TRACEPARENT),
    )
    return event_id


async def scalar(connection: AsyncConnection[Any], query: str, parameters: Sequence[Any] = ()) -> Any:
    """The first column of the first row."""
    cursor = await connection.execute(query, parameters)  # type: ignore[arg-type]  # constant text of tests
    row = await cursor.fetchone()
    return row[0] if row else None


class Ledger:
    """A consumer whose effect is a row per event, in one commit with the inbox; fails as its script says.

    `script["Task/1/_history/2"] = ["retry", "raise"]` lets the first two attempts fail; see `_fail`.
    """

    def __init__(
        self, name: str, url: str, patterns: tuple[str, ...] = ("#",), *, owns: bool = False
    ) -> None:
        self.name = name
        self.pool = AsyncConnectionPool(url, min_size=1, max_size=4, open=False, kwargs={"autocommit": True})
        self.calls: list[str] = []
        self.script: dict[str, list[str]] = defaultdict(list)
        self.slow_seconds = 0.0
        self.running = 0
        hand_over = self.on_hand_over if owns else None
        self.subscriber = Subscriber(name, patterns, self.pool, self.on_event, hand_over)

    async def __aenter__(self) -> Self:
        await self.pool.open(wait=True)
        async with self.pool.connection() as connection:
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS effect (position bigint GENERATED ALWAYS AS IDENTITY,"
                " consumer text, event_id uuid, subject text, body text)"
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.pool.close()

    async def on_event(self, event: Event) -> Outcome:
        """The event handler."""
        return await self._take(event.subject, event.id, event.body)

    async def on_hand_over(self, hand_over: HandOver) -> Outcome:
        """The hand-over handler."""
        return await self._take(f"hand-over {hand_over.resource}", hand_over.id, hand_over.body)

    async def effects(self) -> list[str]:
        """Subjects in the order in which their effects were committed."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT subject FROM effect WHERE consumer = %s ORDER BY position", (self.name,)
            )
            return [row[0] for row in await cursor.fetchall()]

    async def value(self, query: str) -> Any:
        """One value from the consumer's database."""
        async with self.pool.connection() as connection:
            return await scalar(connection, query)

    async def row(self, query: str) -> tuple[Any, ...] | None:
        """One row from the consumer's database."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query)  # type: ignore[arg-type]  # constant text of tests
            return await cursor.fetchone()

    async def _take(self, subject: str, event_id: str, body: bytes | None) -> Outcome:
        self.calls.append(subject)
        steps = self.script[subject]
        step = steps.pop(0) if steps else "commit"
        if step in ("retry", "reject"):
            return Retry("not yet") if step == "retry" else Reject("never")
        if step == "raise":
            raise RuntimeError("Jane Doe has pain")
        self.running += 1
        try:
            await asyncio.sleep(self.slow_seconds)
            await self._commit(subject, event_id, body)
        finally:
            self.running -= 1
        if step == "commit, then raise":
            raise RuntimeError("the process dies before it can acknowledge")
        return Ack()

    async def _commit(self, subject: str, event_id: str, body: bytes | None) -> None:
        async with self.pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "INSERT INTO inbox (consumer, event_id, received_at) VALUES (%s, %s, now())"
                " ON CONFLICT DO NOTHING",
                (self.name, event_id),
            )
            if cursor.rowcount:
                await connection.execute(
                    "INSERT INTO effect (consumer, event_id, subject, body) VALUES (%s, %s, %s, %s)",
                    (self.name, event_id, subject, body.decode() if body else None),
                )


class Dispatch(Protocol):
    """A way from outboxes to consumers."""

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End in order."""

    async def kill(self) -> None:
        """End at once, in the middle of things."""

    async def replay(self, ledger: Ledger, letter_id: int) -> None:
        """Deliver a dead letter again."""


class _Tasks:
    """Coroutines that run until stopped or killed."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *runs: Any) -> None:
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(run(self._stop)) for run in runs]

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        self._tasks = []

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []


class Direct:
    """Direct dispatch."""

    def __init__(self, services: Sequence[WritingService], ledgers: Sequence[Ledger]) -> None:
        self._services = services
        self._ledgers = ledgers
        self._tasks = _Tasks()

    async def start(self) -> None:
        sources = [Source(service.name, service.url) for service in self._services]
        subscribers = [ledger.subscriber for ledger in self._ledgers]
        self._tasks.start(DirectDispatch(sources, subscribers, SETTINGS).run)

    async def stop(self) -> None:
        await self._tasks.stop()

    async def kill(self) -> None:
        await self._tasks.kill()

    async def replay(self, ledger: Ledger, letter_id: int) -> None:
        async with ledger.pool.connection() as connection:
            await request_replay(connection, letter_id)


class OverRabbit:
    """A relay per service, a consumer per ledger, RabbitMQ between."""

    def __init__(
        self,
        url: str,
        services: Sequence[WritingService],
        ledgers: Sequence[Ledger],
        settings: DeliverySettings = SETTINGS,
    ) -> None:
        self.url = url
        self.settings = settings
        self.topology = Topology(
            [ledger.subscriber.binding for ledger in ledgers], delays_seconds=DELAYS_SECONDS
        )
        self._services = services
        self._ledgers = ledgers
        self._tasks = _Tasks()
        self._stack = AsyncExitStack()
        self.publisher: Publisher | None = None

    async def start(self) -> None:
        self._stack = AsyncExitStack()
        publisher = Publisher(self.url, name="kanwa test", prepare=self.topology.declare)
        self.publisher = await self._stack.enter_async_context(publisher)
        async with asyncio.timeout(20):
            await publisher.wait_ready()
        relays = [Relay(s.url, publisher, self.topology, s.name) for s in self._services]
        consumers = [
            Consumer(ledger.subscriber, self.url, publisher, self.topology, self.settings)
            for ledger in self._ledgers
        ]
        self._tasks.start(*(relay.run for relay in relays), *(consumer.run for consumer in consumers))

    async def stop(self) -> None:
        await self._tasks.stop()
        await self._stack.aclose()

    async def kill(self) -> None:
        await self._tasks.kill()
        await self._stack.aclose()

    async def replay(self, ledger: Ledger, letter_id: int) -> None:
        assert self.publisher is not None
        async with ledger.pool.connection() as connection:
            await replay(connection, self.publisher, self.topology, letter_id)


class Loop:
    """A service that writes and one consumer, mdt, over the broker at `url`."""

    def __init__(self, url: str, intake: WritingService, mdt: Ledger, rabbit: OverRabbit) -> None:
        self.url = url
        self.intake = intake
        self.mdt = mdt
        self.rabbit = rabbit

    @property
    def publisher(self) -> Publisher:
        assert self.rabbit.publisher is not None
        return self.rabbit.publisher

    async def dead_queue(self) -> Delivery:
        """What is in the dead-letter queue: the first message, given back."""
        connection = await Connection.open(self.url, name="probe")
        channel = await connection.channel()
        delivery: Delivery | None = None
        while delivery is None:
            delivery = await channel.get("kanwa.mdt.dead")
        await connection.close()
        return delivery
