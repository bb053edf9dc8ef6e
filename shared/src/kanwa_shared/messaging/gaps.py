"""What a consumer misses: noticed by comparing with the sources' logs, fetched from there, counted.

A consumer whose queue lost a message (a binding removed by hand, a purged queue, a broker restored from a backup)
must not depend on somebody seeing it. So each worker walks along the log of every source that it listens to. An event
that the broker confirmed, that the consumer is bound to, and that is neither received, nor being worked on, nor
waiting for another attempt, nor given up, is missing; if it still is at the next look, it is fetched with its
resource and handled like a delivery. The inbox makes it harmless if both arrive. Nothing here is on the way of a
delivery.

A row in `delivery_attempt` says that an event waits, not that its message is still in a queue: a retry queue may be
purged as well. So the stored position stays before what waits, and what should have come back by now is missing.

How far the walk may go: an event that is still in the queue is late, not missing. Below the highest sequence that was
delivered everything must have come before; above it only if the queue is empty. No clock is compared with another.

Hand-overs have no sequence and are in no log: all of this is about events alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from kanwa_shared.messaging import metrics
from kanwa_shared.messaging.attempts import note_as_received
from kanwa_shared.messaging.broker import BrokerError
from kanwa_shared.messaging.deliveries import Subscriber
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.messaging.source_log import ResourceGone, SourceLogs, SourceLogUnavailable
from kanwa_shared.timed_wait import set_within

_log = structlog.get_logger(__name__)

HEADS_OF_A_PAGE: Final = 1000
FETCHED_AT_ONCE: Final = 100
#: The same reason why a source could not be compared is logged once in this time.
REPEAT_SECONDS: Final = 60.0

#: Handle an event as if it had been delivered; returns when it is settled.
Deliver = Callable[[Event], Awaitable[None]]
QueueIsEmpty = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class GapSettings:
    """A look every `check_seconds`; what is missing must be so for `grace_seconds` before it is fetched.

    `standby_grace_seconds`: the same in a process that the broker has fed nothing yet. It may stand by for one that
    is fed, and does not know what that one works on.
    """

    check_seconds: float = 15.0
    grace_seconds: float = 3.0
    standby_grace_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class _Walk:
    """Up to `settled` each event was received, given up, or is not for the consumer; what is `missing` comes after.

    Up to `walked` it is known of each event whether it is missing.
    """

    settled: int
    walked: int
    missing: list[Event]


@dataclass(frozen=True, slots=True)
class _Position:
    """How far a log was compared, and the event there, if it is known."""

    sequence: int
    event_id: str | None

    def is_another(self, event: Event) -> bool:
        """Whether the log has another event where this one stood."""
        return event.sequence == self.sequence and self.event_id not in (None, event.id)


@dataclass(slots=True)
class _Source:
    """`delivered` is the highest sequence that came, `under_way` the ids of what came and is not settled yet;
    `missing` has event ids with the time of the first look, `counted` those of them that were counted as gaps.

    `began_with` is how far the source was when the consumer first looked, if this process saw that, else 0: what a
    new consumer catches up with, nobody lost.
    """

    delivered: int = 0
    under_way: set[str] = field(default_factory=set[str])
    missing: dict[str, float] = field(default_factory=dict[str, float])
    counted: set[str] = field(default_factory=set[str])
    began_with: int | None = None


class Gaps:
    """Walks along the sources' logs for one subscription of one consumer.

    `overdue_seconds`: a delivery that waits for another attempt and has not shown itself for so long is missing.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        logs: SourceLogs,
        deliver: Deliver,
        queue_is_empty: QueueIsEmpty,
        overdue_seconds: float,
        settings: GapSettings | None = None,
    ) -> None:
        self._subscriber = subscriber
        self._logs = logs
        self._deliver = deliver
        self._queue_is_empty = queue_is_empty
        self._overdue = timedelta(seconds=overdue_seconds)
        self._settings = settings or GapSettings()
        self._sources = {source: _Source() for source in logs.sources}
        for source in logs.sources:
            # There from the start: an alarm on looks that stop must also ring where none was ever finished.
            metrics.GAP_CHECKS.labels(subscriber.name, source)
        self._takes_everything = "#" in subscriber.patterns
        self._wake = asyncio.Event()
        self._is_fed = False
        # Reasons are few: classes of ours and of the libraries, and status codes.
        self._silent_until: dict[tuple[str, str], float] = {}

    def delivered(self, event: Event) -> None:
        """The broker has delivered this event; one that skips a sequence is a reason to look at once."""
        self._is_fed = True
        source = self._sources.get(event.service)
        if source is None:
            return
        if self._takes_everything and source.delivered and event.sequence > source.delivered + 1:
            self._wake.set()
        source.delivered = max(source.delivered, event.sequence)
        source.under_way.add(event.id)

    def settled(self, event: Event) -> None:
        """What the broker has delivered took effect, waits for another attempt, or was given up."""
        if event.service in self._sources:
            self._sources[event.service].under_way.discard(event.id)

    async def run(self) -> None:
        """Look again and again until cancelled; what can't be asked is asked the next time."""
        while True:
            await self._pause()
            for source in self._sources:
                try:
                    await self.check(source)
                    metrics.GAP_CHECKS.labels(self._subscriber.name, source).inc()
                except (SourceLogUnavailable, DatabaseError, PoolTimeout, BrokerError) as error:
                    metrics.GAP_CHECKS_FAILED.labels(self._subscriber.name, source).inc()
                    known = isinstance(error, SourceLogUnavailable)
                    self._say_not_compared(source, str(error) if known else type(error).__name__)

    async def check(self, source: str) -> None:
        """Compare with the log of `source` as far as can be known, fetch what has been missing for long enough.

        Raises SourceLogUnavailable, BrokerError and what the database raises.
        """
        state, known = self._sources[source], await self._position(source)
        # Before the page, which must show at least as much.
        stored, delivered = known.sequence if known else 0, state.delivered
        missing: list[Event] = []
        # The first page shows again what stood at the position.
        position, all_settled = max(stored - 1, 0), True
        while True:
            page = await self._logs.page(source, position, HEADS_OF_A_PAGE, with_resources=False)
            if state.began_with is None:
                state.began_with = page.last if known is None else 0
            if page.last < max(stored, delivered):
                await self._go_back(source, state, min(stored, page.last), page.last)
                return
            if known and any(known.is_another(e) for e in page.events):
                # It has numbered past the position since, and nothing says from where on the events are others.
                await self._go_back(source, state, 0, page.last)
                return
            events = [event for event in page.events if event.sequence > stored]
            # After the page: what it says is published was in the queue by then, or had been delivered.
            known_up_to = page.published if await self._queue_is_empty() else state.delivered - 1
            walk = await self._walk(events, min(known_up_to, page.published), state)
            missing += walk.missing
            # The stored position stays before what is missing or waits, but the walk goes on.
            if all_settled and walk.settled > stored:
                self._count_what_is_gone(source, stored, walk.settled, events)
                at = next(event.id for event in events if event.sequence == walk.settled)
                await self._advance(source, walk.settled, at)
                stored = walk.settled
            all_settled = all_settled and walk.settled == walk.walked
            page_is_last = len(page.events) < HEADS_OF_A_PAGE
            if walk.walked <= position or page_is_last or len(missing) >= HEADS_OF_A_PAGE:
                break
            position = walk.walked
        await self._fetch_ripe(source, state, missing)

    def _say_not_compared(self, source: str, reason: str) -> None:
        """The counter has each failure; the log one line of a kind in a while: services start in any order."""
        now = time.monotonic()
        if now >= self._silent_until.get((source, reason), now):
            self._silent_until[source, reason] = now + REPEAT_SECONDS
            _log.warning(
                "source_log_not_compared", consumer=self._subscriber.name, source=source, reason=reason
            )

    async def _go_back(self, source: str, state: _Source, position: int, last: int) -> None:
        """The source was restored from a backup: it gives numbers a second time, to other events. Walk from
        `position` again, where the inbox knows what was received."""
        metrics.SOURCE_LOGS_WENT_BACK.labels(self._subscriber.name, source).inc()
        _log.error("source_log_went_back", consumer=self._subscriber.name, source=source, sequence=last)
        state.delivered = min(state.delivered, last) if position else 0
        state.began_with = 0
        await self._advance(source, position)

    async def _walk(self, events: Sequence[Event], known_up_to: int, state: _Source) -> _Walk:
        """Go along a page as far as it can be said of each event that it is settled, waits, or is missing."""
        wanted = [event for event in events if self._subscriber.binding.wants(event.routing_key)]
        # Before the question, which does not see what is settled after it.
        under_way = state.under_way.copy()
        waits = await self._unsettled([event.id for event in wanted])
        missing: list[Event] = []
        settled = walked = 0
        all_settled = True
        for event in events:
            if event.id in waits:
                all_settled = False
                if not waits[event.id] and event.id not in under_way | state.under_way:
                    if event.sequence > known_up_to:
                        break
                    missing.append(event)
            walked = event.sequence
            settled = walked if all_settled else settled
        return _Walk(settled, walked, missing)

    async def _fetch_ripe(self, source: str, state: _Source, missing: Sequence[Event]) -> None:
        now = time.monotonic()
        state.missing = {event.id: state.missing.get(event.id, now) for event in missing}
        grace = self._settings.grace_seconds if self._is_fed else self._settings.standby_grace_seconds
        ripe = [event for event in missing if now - state.missing[event.id] >= grace]
        if not ripe:
            return
        self._count_gaps(source, state, ripe)
        for run in _runs(ripe):
            try:
                await self._fetch(source, run)
            except ResourceGone:
                # One of them; only alone it shows which.
                for event in run:
                    await self._fetch_or_give_up(source, event)

    async def _fetch(self, source: str, run: Sequence[Event]) -> None:
        page = await self._logs.page(source, run[0].sequence - 1, len(run), with_resources=True)
        wanted = {event.id for event in run}
        fetched = [event for event in page.events if event.id in wanted and event.service == source]
        # Begun in their order, which is the order within each resource.
        await asyncio.gather(*map(self._deliver, fetched))
        metrics.EVENTS_FETCHED.labels(self._subscriber.name, source).inc(len(fetched))

    async def _fetch_or_give_up(self, source: str, event: Event) -> None:
        name = self._subscriber.name
        try:
            await self._fetch(source, [event])
        except ResourceGone:
            async with self._subscriber.pool.connection() as connection:
                await note_as_received(connection, name, event.id)
            metrics.EVENTS_GIVEN_UP.labels(name, source).inc()
            _log.error(
                "missing_event_given_up",
                consumer=name,
                source=source,
                sequence=event.sequence,
                event_id=event.id,
            )

    def _count_gaps(self, source: str, state: _Source, ripe: Sequence[Event]) -> None:
        """Each once, also if it can't be fetched yet and is looked for again."""
        lost = {event.id for event in ripe if event.sequence > (state.began_with or 0)}
        new = lost - state.counted
        state.counted = state.counted.intersection(state.missing) | new
        if new:
            metrics.EVENT_GAPS.labels(self._subscriber.name, source).inc(len(new))
            _log.error("events_missing", consumer=self._subscriber.name, source=source, count=len(new))

    def _count_what_is_gone(self, source: str, position: int, walked: int, events: Sequence[Event]) -> None:
        """Sequences that the source's retention has deleted; a consumer that begins has missed nothing by it."""
        gone = walked - position - sum(event.sequence <= walked for event in events)
        if gone > 0 and position > 0:
            metrics.EVENTS_BEYOND_RETENTION.labels(self._subscriber.name, source).inc(gone)
            _log.error("events_beyond_retention", consumer=self._subscriber.name, source=source, count=gone)

    async def _unsettled(self, ids: Sequence[str]) -> dict[str, bool]:
        """Those that are neither received nor given up, and whether they wait for another attempt."""
        if not ids:
            return {}
        name = self._subscriber.name
        async with self._subscriber.pool.connection() as connection:
            cursor = await connection.execute(_UNSETTLED, (self._overdue, list(ids), name, name, name))
            return {row[0]: row[1] for row in await cursor.fetchall()}

    async def _position(self, source: str) -> _Position | None:
        async with self._subscriber.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT sequence, CASE event_sequence WHEN sequence THEN event_id::text END FROM source_position"
                " WHERE consumer = %s AND source = %s",
                (self._subscriber.name, source),
            )
            row = await cursor.fetchone()
            return _Position(*row) if row else None

    async def _advance(self, source: str, sequence: int, event_id: str | None = None) -> None:
        async with self._subscriber.pool.connection() as connection:
            await connection.execute(_STORE, (self._subscriber.name, source, sequence, sequence, event_id))

    async def _pause(self) -> None:
        some_missing = any(source.missing for source in self._sources.values())
        seconds = self._settings.grace_seconds if some_missing else self._settings.check_seconds
        await set_within(self._wake, seconds)
        self._wake.clear()


def _runs(events: Sequence[Event]) -> list[list[Event]]:
    """Each run without a hole in its sequences, cut to what one page holds."""
    runs: list[list[Event]] = []
    for event in events:
        if runs and event.sequence == runs[-1][-1].sequence + 1 and len(runs[-1]) < FETCHED_AT_ONCE:
            runs[-1].append(event)
        else:
            runs.append([event])
    return runs


_STORE: Final = """
INSERT INTO source_position (consumer, source, sequence, event_sequence, event_id) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (consumer, source) DO UPDATE
SET sequence = excluded.sequence, event_sequence = excluded.event_sequence, event_id = excluded.event_id
"""
_UNSETTLED: Final = """
SELECT given.event, coalesce(a.updated_at > now() - %s::interval, false) AS waits
FROM unnest(%s::text[]) AS given (event)
LEFT JOIN delivery_attempt a ON a.consumer = %s AND a.event_id = given.event::uuid
WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.consumer = %s AND i.event_id = given.event::uuid)
  AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.consumer = %s AND d.event_id = given.event::uuid)
"""
