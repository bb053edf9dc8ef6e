"""Direct dispatch, for the embedded run: from the outboxes to the handlers in one process, without a broker.

The same numbering, order, attempts, delays and dead letters as with RabbitMQ; one contract test runs against
both. A row is marked as published when every subscriber has settled it, so a crash dispatches what was not
settled again, and the inbox makes that harmless. What waits for another attempt waits in memory.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from psycopg import Error as DatabaseError

from kanwa_shared.messaging import metrics
from kanwa_shared.messaging.attempts import replays_asked_for
from kanwa_shared.messaging.broker import Backoff
from kanwa_shared.messaging.deliveries import Deliveries, DeliverySettings, Later, Subscriber
from kanwa_shared.messaging.envelope import Event, HandOver, MalformedEnvelope, read_message
from kanwa_shared.messaging.lanes import Lanes
from kanwa_shared.messaging.lease import LEASE_SECONDS, durability, source_lease
from kanwa_shared.messaging.outbox import (
    BodyMissing,
    OutboxRow,
    give_sequence,
    mark_published,
    outbox_status,
    record_failures,
    waiting_events,
    waiting_hand_overs,
)
from kanwa_shared.timed_wait import set_within

_log = structlog.get_logger(__name__)

POLL_ACTIVE_SECONDS: Final = 0.02
POLL_IDLE_SECONDS: Final = 0.1
REPLAY_POLL_SECONDS: Final = 1.0
STATUS_SECONDS: Final = 5.0
READ_BATCH: Final = 500
#: Rows of one source that are not settled by all; reached only if thousands of deliveries fail at once.
MAX_OPEN: Final = 5000

Settled = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Source:
    """An outbox: the service that writes it and its database."""

    service: str
    conninfo: str


class DirectDispatch:
    """Feeds every subscriber from every source until told to stop."""

    def __init__(
        self,
        sources: Sequence[Source],
        subscribers: Sequence[Subscriber],
        settings: DeliverySettings | None = None,
        *,
        lease_seconds: int = LEASE_SECONDS,
    ) -> None:
        self._sources = sources
        self._subscribers = subscribers
        self._settings = settings or DeliverySettings()
        self._lease_seconds = lease_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Dispatch; survives the loss of a database. Returns after `stop` is set and handlers have ended."""
        stations = [_Station(subscriber, self._settings) for subscriber in self._subscribers]
        feeds = [_Feed(source, stations, self._lease_seconds) for source in self._sources]
        try:
            async with asyncio.TaskGroup() as tasks:
                for feed in feeds:
                    tasks.create_task(feed.run(stop))
                for station in stations:
                    tasks.create_task(station.serve_replays(stop))
                    tasks.create_task(station.watch(stop))
        finally:
            for station in stations:
                await station.close()


class _Station:
    """One subscriber: its lanes, and the deliveries that wait for their next attempt."""

    def __init__(self, subscriber: Subscriber, settings: DeliverySettings) -> None:
        self.subscriber = subscriber
        self._settings = settings
        self._deliveries = Deliveries(subscriber, settings)
        self._lanes = Lanes(settings.concurrency)
        self._timers: set[asyncio.TimerHandle] = set()
        self._replaying: set[str] = set()

    def deliver(
        self, message: Event | HandOver, settled: Settled, *, redelivered: bool = False, replay: bool = False
    ) -> None:
        """Hand `message` to the subscriber in its turn; `settled` is called once, when it is done or dead."""
        work = partial(self._work, message, settled, redelivered, replay)
        self._lanes.put(message.resource, work)

    async def serve_replays(self, stop: asyncio.Event) -> None:
        """Deliver dead letters that somebody asked to replay."""
        while not stop.is_set():
            try:
                await self._replay_asked_for()
            except DatabaseError as error:
                _log.warning(
                    "replays_without_database", consumer=self.subscriber.name, kind=type(error).__name__
                )
            await set_within(stop, REPLAY_POLL_SECONDS)

    async def watch(self, stop: asyncio.Event) -> None:
        """Raise what a lane raised: a defect, since handlers' failures are counted and not raised."""
        wait = asyncio.ensure_future(stop.wait())
        await asyncio.wait({wait, self._lanes.failed}, return_when=asyncio.FIRST_COMPLETED)
        wait.cancel()
        if self._lanes.failed.done():
            self._lanes.failed.result()

    async def close(self) -> None:
        """Let running handlers end; drop the rest."""
        for timer in self._timers:
            timer.cancel()
        await self._lanes.close(self._settings.stop_grace_seconds)

    async def _work(
        self, message: Event | HandOver, settled: Settled, redelivered: bool, replay: bool
    ) -> None:
        body = message.to_cloudevent()
        settlement = await self._deliveries.handle(message, body, redelivered=redelivered, replay=replay)
        if isinstance(settlement, Later):
            self._again(settlement.delay_seconds, partial(self.deliver, message, settled, replay=replay))
        else:
            settled()

    def _again(self, delay_seconds: float, deliver: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            deliver()

        timer = asyncio.get_running_loop().call_later(delay_seconds, due)
        self._timers.add(timer)

    async def _replay_asked_for(self) -> None:
        async with self.subscriber.pool.connection() as connection:
            letters = await replays_asked_for(connection, self.subscriber.name)
        for letter in letters:
            if letter.event_id in self._replaying:
                continue
            self._replaying.add(letter.event_id)
            settled = partial(self._replaying.discard, letter.event_id)
            try:
                message = read_message(letter.envelope.encode())
            except MalformedEnvelope as error:
                reason = f"malformed: {error}"
                await self._deliveries.malformed(letter.envelope.encode(), letter.event_id, reason)
                settled()
            else:
                self.deliver(message, settled, replay=True)


@dataclass(slots=True)
class _Open:
    """What one source has under way: row id -> how many subscribers have not settled it."""

    cursor: int = 0
    first_new: int = 0
    unsettled: dict[int, int] = field(default_factory=dict[int, int])
    settled: list[int] = field(default_factory=list[int])
    absent_targets: set[str] = field(default_factory=set[str])
    held_lanes: set[str] = field(default_factory=set[str])
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    status_due: float = 0.0


class _Feed:
    """Reads one outbox and gives its rows to the stations."""

    def __init__(self, source: Source, stations: Sequence[_Station], lease_seconds: int) -> None:
        self._source = source
        self._stations = stations
        self._lease_seconds = lease_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Read and mark until `stop`; what subscribers have settled by then is marked."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                async with source_lease(
                    self._source.conninfo, self._source.service, stop, lease_seconds=self._lease_seconds
                ) as connection:
                    if connection is not None:
                        await self._lead(connection, stop, backoff)
            except DatabaseError as error:
                _log.warning("feed_without_database", service=self._source.service, kind=type(error).__name__)
                await set_within(stop, backoff.next())

    async def _lead(self, connection: AsyncConnection[Any], stop: asyncio.Event, backoff: Backoff) -> None:
        durable = await durability(connection)
        # What was there before may have been dispatched by a process that died before it could mark it.
        is_open = _Open(first_new=(await outbox_status(connection)).last_sequence + 1)
        while not stop.is_set():
            is_open.wake.clear()
            moved = await self._turn(connection, is_open, durable)
            backoff.reset()
            await set_within(is_open.wake, POLL_ACTIVE_SECONDS if moved else POLL_IDLE_SECONDS)
        await self._mark(connection, is_open)

    async def _turn(self, connection: AsyncConnection[Any], is_open: _Open, durable: str) -> bool:
        numbered = await give_sequence(connection, durable)
        marked = await self._mark(connection, is_open)
        read = 0
        if len(is_open.unsettled) < MAX_OPEN:
            read = await self._read(connection, is_open)
        if time.monotonic() >= is_open.status_due:
            is_open.status_due = time.monotonic() + STATUS_SECONDS
            status = await outbox_status(connection)
            metrics.OUTBOX_DEPTH.labels(self._source.service).set(status.depth)
            metrics.OUTBOX_OLDEST_AGE_SECONDS.labels(self._source.service).set(status.oldest_age_seconds)
        return bool(numbered or marked or read)

    async def _read(self, connection: AsyncConnection[Any], is_open: _Open) -> int:
        events = await waiting_events(connection, is_open.cursor, READ_BATCH)
        for row in events:
            is_open.cursor = row.sequence or is_open.cursor
            await self._dispatch(connection, row, is_open)
        hand_overs = await waiting_hand_overs(
            connection,
            without_ids=[*is_open.unsettled, *is_open.settled],
            without_targets=list(is_open.absent_targets),
            limit=READ_BATCH,
        )
        for row in hand_overs:
            await self._dispatch(connection, row, is_open)
        return len(events) + len(hand_overs)

    async def _dispatch(self, connection: AsyncConnection[Any], row: OutboxRow, is_open: _Open) -> None:
        if row.lane in is_open.held_lanes:
            return
        try:
            message, stations = self._address(row)
        except (BodyMissing, ValueError) as error:
            is_open.held_lanes.add(row.lane)
            await self._refuse(connection, row, type(error).__name__)
            return
        if not stations and isinstance(message, HandOver):
            is_open.absent_targets.add(message.target)
            await self._refuse(connection, row, f"no subscriber {message.target}")
            return
        if not stations:
            metrics.RELAY_UNROUTED.labels(self._source.service).inc()
            is_open.settled.append(row.id)
            return
        is_open.unsettled[row.id] = len(stations)
        again = row.sequence is None or row.sequence < is_open.first_new
        for station in stations:
            station.deliver(message, partial(_settle, row.id, is_open), redelivered=again)

    def _address(self, row: OutboxRow) -> tuple[Event | HandOver, list[_Station]]:
        if row.kind == "handover":
            hand_over = row.hand_over(self._source.service)
            takers = [s for s in self._stations if s.subscriber.name == hand_over.target]
            return hand_over, [s for s in takers if s.subscriber.on_hand_over is not None]
        event = row.event(self._source.service)
        return event, [s for s in self._stations if s.subscriber.binding.wants(event.routing_key)]

    async def _refuse(self, connection: AsyncConnection[Any], row: OutboxRow, reason: str) -> None:
        metrics.RELAY_FAILURES.labels(self._source.service, reason).inc()
        _log.error("row_not_dispatched", service=self._source.service, row=row.id, reason=reason)
        await record_failures(connection, [(row.id, reason)])

    async def _mark(self, connection: AsyncConnection[Any], is_open: _Open) -> int:
        ids = is_open.settled.copy()
        if ids:
            await mark_published(connection, ids)
            metrics.RELAY_PUBLISHED.labels(self._source.service).inc(len(ids))
            del is_open.settled[: len(ids)]
        return len(ids)


def _settle(row_id: int, is_open: _Open) -> None:
    is_open.unsettled[row_id] -= 1
    if is_open.unsettled[row_id] == 0:
        del is_open.unsettled[row_id]
        is_open.settled.append(row_id)
        is_open.wake.set()
