"""What becomes of one delivery, the same for the broker and for direct dispatch.

Call the handler; count what fails; put it off, or give it up after so many attempts. Two rules keep a
resource's order although a failed delivery comes back later than its successors: a delivery is put off as
long as an older one about the same resource is unsettled, and both are settled by one process at a time.
"""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import structlog
from psycopg import AsyncConnection, OperationalError

from kanwa_shared.messaging import attempts as stored
from kanwa_shared.messaging import metrics
from kanwa_shared.messaging.broker import Backoff
from kanwa_shared.messaging.envelope import (
    Ack,
    Event,
    EventHandler,
    HandOver,
    HandOverHandler,
    Outcome,
    Reject,
    Retry,
)
from kanwa_shared.messaging.topology import DEFAULT_DELAYS_SECONDS, Binding

_log = structlog.get_logger(__name__)


class Pool(Protocol):
    """The part of psycopg's AsyncConnectionPool that is needed: the consumer's own database."""

    def connection(self, timeout: float | None = None) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Borrow a connection."""
        ...


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who consumes what: the consumer's name (also its queue's), topic patterns, database and handlers.

    A handler commits its effect together with an inbox row (consumer, event id) and answers Ack for an event
    that it has received before.
    """

    name: str
    patterns: tuple[str, ...]
    pool: Pool
    on_event: EventHandler
    on_hand_over: HandOverHandler | None = None

    @property
    def binding(self) -> Binding:
        """What the topology must know about it."""
        return Binding(self.name, self.patterns, self.on_hand_over is not None)


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How often and how much at once.

    After failure n of `max_attempts` the delivery comes back after `delays_seconds[n - 1]` (the last one from
    there on). At most `concurrency` handlers run at once; `prefetch` deliveries are held by one process.
    `vanished_seconds`: an older delivery that has not shown itself for so long is gone (somebody purged a
    queue) and waited for no more; None means twice the longest delay and a minute.
    """

    max_attempts: int = 5
    delays_seconds: tuple[float, ...] = DEFAULT_DELAYS_SECONDS
    prefetch: int = 64
    concurrency: int = 16
    stop_grace_seconds: float = 15.0
    vanished_seconds: float | None = None

    @property
    def patience_seconds(self) -> float:
        """How long an older delivery may stay away."""
        return 2 * max(self.delays_seconds) + 60.0 if self.vanished_seconds is None else self.vanished_seconds

    @property
    def overdue_seconds(self) -> float:
        """When to fetch a delivery that should have come back: in time to overtake those that wait for it.

        Longer than any delay by `max(delays) / 5 + 36` seconds, unless `vanished_seconds` is given.
        """
        return 0.6 * self.patience_seconds

    def delay_after(self, failures: int) -> float:
        """Seconds until the next attempt after so many failures (0: it only waits for an older one)."""
        return self.delays_seconds[min(max(failures, 1), len(self.delays_seconds)) - 1]


@dataclass(frozen=True, slots=True)
class Done:
    """Settled."""


@dataclass(frozen=True, slots=True)
class Later:
    """Deliver it again after `delay_seconds`, one of the settings' delays."""

    delay_seconds: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Dead:
    """Given up; the dead_letter row is written."""

    event_id: str
    reason: str
    attempts: int
    source: str | None
    traceparent: str | None


Settlement = Done | Later | Dead
_S = TypeVar("_S", bound=Settlement)
#: SQLSTATE of a failed connection, and of a server that is stopping, crashed or not up yet.
_CONNECTION_CLASS: Final = "08"
_SHUTDOWN: Final = frozenset({"57P01", "57P02", "57P03"})


@dataclass(slots=True)
class _Unsettled:
    position: int
    touched: float


class Deliveries:
    """Settles the deliveries of one subscriber; one instance per subscription: it remembers what waits."""

    def __init__(self, subscriber: Subscriber, settings: DeliverySettings) -> None:
        self._subscriber = subscriber
        self._settings = settings
        self._name = subscriber.name
        self._unsettled: dict[str, dict[str, _Unsettled]] = {}
        self._loaded = False
        self._loading = asyncio.Lock()

    async def handle(
        self, message: Event | HandOver, body: bytes, *, redelivered: bool = False, replay: bool = False
    ) -> Settlement:
        """Settle `message`, whose text is `body`. While the consumer's database is away it waits, uncounted.

        `redelivered`: it may have been given up before. `replay`: it was, and somebody wants another try.
        """
        return await self._persist(lambda: self._handle(message, body, redelivered, replay))

    async def malformed(self, body: bytes, message_id: str, reason: str) -> Dead:
        """Give up a message that can't be read."""
        event_id = stored.event_uuid(message_id, body)
        return await self._persist(lambda: self._bury(event_id, body, reason, 1, None, None))

    async def _handle(
        self, message: Event | HandOver, body: bytes, redelivered: bool, replay: bool
    ) -> Settlement:
        await self._load()
        event_id = stored.event_uuid(message.id, body)
        if redelivered and not replay and await self._is_dead(event_id):
            return Done()
        if await self._waits_for_an_older_one(message, event_id):
            return await self._put_off(message, event_id)
        outcome = await self._outcome(message)
        if isinstance(outcome, Ack):
            return await self._done(message, event_id, replay)
        return await self._failed(message, event_id, body, outcome)

    async def _outcome(self, message: Event | HandOver) -> Outcome:
        try:
            if isinstance(message, Event):
                return await self._subscriber.on_event(message)
            if self._subscriber.on_hand_over is None:
                return Reject(f"{self._name} takes no hand-overs")
            return await self._subscriber.on_hand_over(message)
        except Exception as error:  # whatever a handler raises is a failed attempt, and it is counted
            if _database_is_away(error):
                raise
            return Retry(_place(error))

    async def _done(self, message: Event | HandOver, event_id: str, replay: bool) -> Done:
        if event_id in self._unsettled.get(message.resource, {}):
            async with self._subscriber.pool.connection() as connection:
                await stored.forget_attempts(connection, self._name, event_id)
            self._forget(message.resource, event_id)
        if replay:
            async with self._subscriber.pool.connection() as connection:
                await stored.resolve(connection, self._name, event_id)
                await self._show_depth(connection)
        metrics.DELIVERIES.labels(self._name, "done").inc()
        if isinstance(message, Event):
            lag = (datetime.now(UTC) - message.time).total_seconds()
            metrics.PROJECTION_LAG_SECONDS.labels(self._name, message.service).set(max(lag, 0.0))
        return Done()

    async def _failed(
        self, message: Event | HandOver, event_id: str, body: bytes, outcome: Retry | Reject
    ) -> Settlement:
        async with self._subscriber.pool.connection() as connection:
            attempts = await stored.count_attempt(connection, self._name, event_id, message, outcome.reason)
        self._remember(message, event_id)
        _log.warning(
            "delivery_failed",
            consumer=self._name,
            event_id=event_id,
            attempts=attempts,
            reason=outcome.reason,
            traceparent=message.traceparent,
        )
        if isinstance(outcome, Retry) and attempts < self._settings.max_attempts:
            metrics.REDELIVERIES.labels(self._name).inc()
            metrics.DELIVERIES.labels(self._name, "later").inc()
            return Later(self._settings.delay_after(attempts), attempts)
        dead = await self._bury(event_id, body, outcome.reason, attempts, message.source, message.traceparent)
        self._forget(message.resource, event_id)
        return dead

    async def _put_off(self, message: Event | HandOver, event_id: str) -> Later:
        # Each time, also for a known one: the row's time tells that its message is still on its way.
        async with self._subscriber.pool.connection() as connection:
            await stored.count_attempt(connection, self._name, event_id, message, None)
        self._remember(message, event_id)
        metrics.DEFERRED.labels(self._name).inc()
        return Later(self._settings.delay_after(0), 0)

    async def _bury(
        self,
        event_id: str,
        body: bytes,
        reason: str,
        attempts: int,
        source: str | None,
        traceparent: str | None,
    ) -> Dead:
        async with self._subscriber.pool.connection() as connection:
            await stored.bury(
                connection,
                consumer=self._name,
                event_id=event_id,
                source=source,
                reason=reason,
                attempts=attempts,
                traceparent=traceparent,
                body=body,
            )
            await self._show_depth(connection)
        metrics.DEAD_LETTERS.labels(self._name).inc()
        metrics.DELIVERIES.labels(self._name, "dead").inc()
        _log.error(
            "delivery_given_up", consumer=self._name, event_id=event_id, attempts=attempts, reason=reason
        )
        return Dead(event_id, reason, attempts, source, traceparent)

    async def _waits_for_an_older_one(self, message: Event | HandOver, event_id: str) -> bool:
        unsettled = self._unsettled.get(message.resource)
        if not unsettled:
            return False
        place, now = stored.position(message), time.monotonic()
        older = [other for other in unsettled if other != event_id and unsettled[other].position < place]
        vanished = [
            other for other in older if now - unsettled[other].touched > self._settings.patience_seconds
        ]
        for other in vanished:
            # Without its row an event that is not in the inbox is missing, and the walk has not passed it.
            _log.error("unsettled_delivery_vanished", consumer=self._name, event_id=other)
            async with self._subscriber.pool.connection() as connection:
                await stored.forget_attempts(connection, self._name, other)
            self._forget(message.resource, other)
        return len(older) > len(vanished)

    async def _is_dead(self, event_id: str) -> bool:
        async with self._subscriber.pool.connection() as connection:
            return await stored.is_dead(connection, self._name, event_id)

    async def _load(self) -> None:
        async with self._loading:
            if self._loaded:
                return
            async with self._subscriber.pool.connection() as connection:
                for row in await stored.pending_deliveries(connection, self._name):
                    entry = _Unsettled(row.position, time.monotonic())
                    self._unsettled.setdefault(row.resource, {})[row.event_id] = entry
                await self._show_depth(connection)
            self._loaded = True

    def _remember(self, message: Event | HandOver, event_id: str) -> None:
        entry = _Unsettled(stored.position(message), time.monotonic())
        self._unsettled.setdefault(message.resource, {})[event_id] = entry

    def _forget(self, resource: str, event_id: str) -> None:
        waiting = self._unsettled.get(resource, {})
        waiting.pop(event_id, None)
        if not waiting:
            self._unsettled.pop(resource, None)

    async def _show_depth(self, connection: AsyncConnection[Any]) -> None:
        depth = await stored.open_letters(connection, self._name)
        metrics.DEAD_LETTER_DEPTH.labels(self._name).set(depth)

    async def _persist(self, settle: Callable[[], Awaitable[_S]]) -> _S:
        """Begin again while the consumer's database is away: that is no fault of the message, and inbox rows
        make the repetition harmless."""
        backoff = Backoff(0.2, 10.0)
        while True:
            try:
                return await settle()
            except OperationalError as error:
                pause = backoff.next()
                _log.warning("consumer_without_database", consumer=self._name, kind=type(error).__name__)
                await asyncio.sleep(pause)


def _database_is_away(error: BaseException) -> bool:
    """Whether the connection failed, not the statement: a statement that runs too long is the message's fault."""
    if not isinstance(error, OperationalError):
        return False
    state = error.sqlstate
    return state is None or state[:2] == _CONNECTION_CLASS or state in _SHUTDOWN


def _place(error: BaseException) -> str:
    """The kind of an exception and where it was raised; its text may hold patient data.

    Without a space, so that the log takes it for a code.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f"@{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}{f':{state}' if state else ''}{where}"
