"""Notifications leave: one sender at a time, however many workers there are, and no endpoint waits for another."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, cast

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg import Error as DatabaseError

from kanwa_intake.application.deliver_to_channel import Sending, deliver
from kanwa_intake.application.notification_metrics import SUBSCRIPTIONS, WAITING
from kanwa_intake.domain.subscription_states import STATUSES
from kanwa_intake.settings import IntakeSettings
from kanwa_intake.store import notification_queue as queue
from kanwa_intake.store.subscriptions import StoredChannel
from kanwa_shared.clock import utc_now
from kanwa_shared.messaging.broker import Backoff
from kanwa_shared.messaging.lease import source_lease
from kanwa_shared.rest.engine import Engine
from kanwa_shared.security.outbound import Resolve, resolve, verifying_context
from kanwa_shared.timed_wait import set_within

_log = structlog.get_logger(__name__)

#: Endpoints that are sent to at the same time.
CONCURRENT_ENDPOINTS: Final = 32
POLL_SECONDS: Final = 0.25
HOUSEKEEPING_SECONDS: Final = 30.0
#: Pause after a fault of our own, such as a database that does not answer.
POSTPONED_SECONDS: Final = 10.0
_LEASE: Final = "notifications"


async def deliver_notifications(engine: Engine, stop: asyncio.Event) -> None:
    """Background work of intake: send until told to stop."""
    await NotificationSender(engine).run(stop)


class NotificationSender:
    """Numbers events and sends them, while it holds the lease.

    `clock` gives aware UTC times, `resolver` the addresses of a name; tests replace them.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = utc_now,
        resolver: Resolve = resolve,
        poll_seconds: float = POLL_SECONDS,
    ):
        self._engine = engine
        self._settings = cast(IntakeSettings, engine.settings)
        self._clock = clock
        self._resolver = resolver
        self._poll = poll_seconds
        self._context = verifying_context(self._settings.subscription_ca_file)

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by, then send; survives the loss of the database. Returns after `stop` is set."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                async with source_lease(self._settings.database_url, _LEASE, stop) as connection:
                    if connection is not None:
                        # Numbers that an endpoint has seen must outlive a crash of the database.
                        await connection.execute("RESET synchronous_commit")
                        await self._lead(connection, stop, backoff)
            except DatabaseError as error:
                _log.warning("notifications_without_database", kind=type(error).__name__)
                await set_within(stop, backoff.next())

    async def _lead(self, connection: AsyncConnection[Any], stop: asyncio.Event, backoff: Backoff) -> None:
        sending = Sending(
            self._engine, self._settings, connection, self._context, self._clock, self._resolver
        )
        under_way: dict[str, asyncio.Task[None]] = {}
        housekeeping_due = 0.0
        _log.info("notifications_active")
        try:
            while not stop.is_set():
                moved = await queue.number_events(connection)
                for channel in await self._due(connection, under_way):
                    moved += 1
                    under_way[channel.subscription] = asyncio.create_task(_deliver_safely(channel, sending))
                if time.monotonic() >= housekeeping_due:
                    housekeeping_due = time.monotonic() + HOUSEKEEPING_SECONDS
                    await self._keep_house(connection)
                backoff.reset()
                await _first(stop, under_way, self._poll)
                for done in [name for name, task in under_way.items() if task.done()]:
                    under_way.pop(done).result()
        finally:
            for task in under_way.values():
                task.cancel()
            await asyncio.gather(*under_way.values(), return_exceptions=True)
            # Whoever sends next counts on; two processes that both say how many wait would be added up.
            SUBSCRIPTIONS.clear()
            WAITING.clear()

    async def _due(
        self, connection: AsyncConnection[Any], under_way: dict[str, asyncio.Task[None]]
    ) -> list[StoredChannel]:
        free = CONCURRENT_ENDPOINTS - len(under_way)
        return await queue.due_channels(connection, self._clock(), under_way, free) if free else []

    async def _keep_house(self, connection: AsyncConnection[Any]) -> None:
        retention = timedelta(days=self._settings.subscription_retention_days)
        while await queue.prune(connection, self._clock() - retention) == queue.PRUNE_BATCH:
            continue
        counted = await queue.queue_status(connection)
        for status in STATUSES:
            subscriptions, waiting = counted.get(status, (0, 0))
            SUBSCRIPTIONS.labels(status).set(subscriptions)
            WAITING.labels(status).set(waiting)


async def _deliver_safely(channel: StoredChannel, sending: Sending) -> None:
    """Deliver; what goes wrong on our side is logged and tried again, and touches no other channel.

    Raises psycopg.Error where that can't be written down: then the lease is gone too.
    """
    try:
        await deliver(channel, sending)
    except OperationalError:
        raise
    except Exception as error:
        _log.exception("notification_postponed", subscription=channel.subscription, kind=type(error).__name__)
        now = sending.clock()
        later = now + timedelta(seconds=POSTPONED_SECONDS)
        await queue.failed(sending.connection, channel, "kanwa itself failed", now, later)


async def _first(stop: asyncio.Event, under_way: dict[str, asyncio.Task[None]], seconds: float) -> None:
    """Return when an endpoint is done, when it is time to look again, or at the end."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait(
            {stopping, *under_way.values()}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping
