"""From the outbox to the broker: numbered, in order, confirmed, then marked.

One relay per source is active, the others stand by (`lease.py`). It keeps many confirms outstanding and
holds to three rules:

- A version is published only after the one before it is confirmed. Events leave in `sequence` order; one
  whose resource has an unconfirmed version waits, and the rest waits behind it, so that without failures
  consumers see no gaps.
- A row that the broker refuses holds back its own resource (a hand-over: its target) and nothing else.
- A row is marked when both exchanges have confirmed it. A crash before the mark repeats the message with the
  same event id; nothing is lost.

**Events that no queue is bound to.** Everything on `kanwa.events` is published `mandatory`. When the broker
returns an event, the relay asks the topology: if a kanwa consumer is bound to its routing key, that
consumer's queue or binding is missing, which is a failure, and the event is kept and tried again until an
operator has repaired it. If no consumer wants it, the event is counted (`kanwa_relay_unrouted_total`) and
marked as published: it stays in the outbox, from where `events_after` reads it. An alternate exchange with a
catch-all queue was rejected: nobody would read that queue, it would fill the broker with patient data, and
it would turn a missing binding into silence. `kanwa.notifications` is not mandatory: it may have no
dashboards.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

import structlog
from psycopg import AsyncConnection
from psycopg import Error as DatabaseError

from kanwa_shared.messaging import metrics
from kanwa_shared.messaging.broker import Backoff
from kanwa_shared.messaging.flight import Flight, Publishes, RelaySettings
from kanwa_shared.messaging.lease import durability, source_lease
from kanwa_shared.messaging.outbox import (
    mark_published,
    number_events,
    outbox_status,
    record_failures,
    waiting_events,
    waiting_hand_overs,
    what_waits,
)
from kanwa_shared.messaging.topology import Topology
from kanwa_shared.timed_wait import set_within

_log = structlog.get_logger(__name__)


class Relay:
    """Publishes the outbox of `service` in the database `conninfo` until told to stop."""

    def __init__(
        self,
        conninfo: str,
        publisher: Publishes,
        topology: Topology,
        service: str,
        settings: RelaySettings | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._publisher = publisher
        self._topology = topology
        self._service = service
        self._settings = settings or RelaySettings()
        self._status_due = 0.0
        #: Whether it holds the source's lease; if not, it stands by.
        self.active = False

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by, then relay; survives the loss of database and broker. Returns after `stop` is set."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                async with source_lease(
                    self._conninfo, self._service, stop, lease_seconds=self._settings.lease_seconds
                ) as connection:
                    if connection is not None:
                        await self._lead(connection, stop, backoff)
            except DatabaseError as error:
                _log.warning("relay_without_database", service=self._service, kind=type(error).__name__)
                await set_within(stop, backoff.next())

    async def _lead(self, connection: AsyncConnection[Any], stop: asyncio.Event, backoff: Backoff) -> None:
        flight = Flight(self._service, self._publisher, self._topology, self._settings)
        durable = await durability(connection)
        active = metrics.RELAY_ACTIVE.labels(self._service)
        active.set(1)
        self.active = True
        _log.info("relay_active", service=self._service)
        sending = asyncio.create_task(flight.send())
        try:
            while not stop.is_set() and not sending.done():
                began = time.monotonic()
                flight.wake.clear()
                moved = await self._turn(connection, flight, durable)
                backoff.reset()
                # Confirms come one by one; marks are cheaper by the dozen, and nothing waits for them.
                await asyncio.sleep(max(0.0, self._settings.turn_seconds - (time.monotonic() - began)))
                busy = moved or flight.busy
                pause = self._settings.poll_active_seconds if busy else self._settings.poll_idle_seconds
                await set_within(flight.wake, pause)
        finally:
            active.set(0)
            metrics.OUTBOX_DEPTH.remove(self._service)
            metrics.OUTBOX_OLDEST_AGE_SECONDS.remove(self._service)
            self.active = False
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
        await self._drain(connection, flight)

    async def _turn(self, connection: AsyncConnection[Any], flight: Flight, durable: str) -> bool:
        """One round with the database; whether anything moved."""
        waiting = await what_waits(connection)
        numbered = await number_events(connection, durable) if waiting.unnumbered else 0
        flight.may_have_more |= numbered > 0
        marked = await self._record(connection, flight)
        flight.start_over_if_lost()
        flight.give_up_on_silence()
        if self._publisher.ready:
            flight.release_holds()
            await self._read(connection, flight, hand_overs=waiting.hand_overs)
        if time.monotonic() >= self._status_due:
            self._status_due = time.monotonic() + self._settings.status_seconds
            await self._report(connection)
        return bool(numbered or marked)

    async def _read(self, connection: AsyncConnection[Any], flight: Flight, *, hand_overs: bool) -> None:
        batch = self._settings.read_batch
        if flight.wants_events:
            flight.offer_events(await waiting_events(connection, flight.cursor, batch))
        if hand_overs and flight.wants_hand_overs:
            rows = await waiting_hand_overs(
                connection,
                without_ids=flight.under_way(),
                without_targets=flight.held_targets(),
                limit=batch,
            )
            flight.offer_hand_overs(rows)

    async def _record(self, connection: AsyncConnection[Any], flight: Flight) -> int:
        """Mark what is confirmed, count what was refused."""
        confirmed, flight.confirmed = flight.confirmed, []
        refused, flight.refused = flight.refused, []
        if confirmed:
            await mark_published(connection, confirmed)
            flight.marked(confirmed)
            metrics.RELAY_PUBLISHED.labels(self._service).inc(len(confirmed))
        if refused:
            await record_failures(connection, refused)
        return len(confirmed)

    async def _drain(self, connection: AsyncConnection[Any], flight: Flight) -> None:
        """Mark what is confirmed within the lease; the rest is sent again by whoever comes next."""
        deadline = time.monotonic() + self._settings.lease_seconds / 2
        while flight.busy and self._publisher.ready and time.monotonic() < deadline:
            flight.wake.clear()
            await set_within(flight.wake, self._settings.poll_active_seconds)
            await self._record(connection, flight)
        await self._record(connection, flight)

    async def _report(self, connection: AsyncConnection[Any]) -> None:
        status = await outbox_status(connection)
        metrics.OUTBOX_DEPTH.labels(self._service).set(status.depth)
        metrics.OUTBOX_OLDEST_AGE_SECONDS.labels(self._service).set(status.oldest_age_seconds)
