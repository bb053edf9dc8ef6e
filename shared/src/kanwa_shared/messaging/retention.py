"""What is settled goes after its time: published outbox rows, inbox rows, resolved dead letters.

Nothing that waits is ever touched. The inbox is kept longer than the outbox (`settings.py` holds to it): what can
still be fetched from a source must be known as received.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from kanwa_shared.messaging.deliveries import Pool
from kanwa_shared.messaging.outbox import delete_published
from kanwa_shared.timed_wait import set_within

_log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 3600.0
#: Rows deleted in one transaction: short locks, and little for the replicas of the database at once.
BATCH: Final = 5000
# Any number that no other advisory lock uses.
_LOCK: Final = 5_264_213

#: Deletes some rows that are past their time, at most a batch; returns how many.
Prune = Callable[[AsyncConnection[Any]], Awaitable[int]]


def messaging_rows(outbox: timedelta, inbox: timedelta) -> list[Prune]:
    """What every service's database has: published outbox rows, inbox rows, resolved dead letters."""

    async def published(connection: AsyncConnection[Any]) -> int:
        return await delete_published(connection, older_than=outbox, limit=BATCH)

    async def received(connection: AsyncConnection[Any]) -> int:
        cursor = await connection.execute(
            "DELETE FROM inbox WHERE (consumer, event_id) IN (SELECT consumer, event_id FROM inbox"
            " WHERE received_at < now() - %s::interval ORDER BY received_at LIMIT %s)",
            (inbox, BATCH),
        )
        return cursor.rowcount

    async def resolved(connection: AsyncConnection[Any]) -> int:
        cursor = await connection.execute(
            "DELETE FROM dead_letter WHERE resolved_at < now() - %s::interval", (inbox,)
        )
        return cursor.rowcount

    return [published, received, resolved]


async def prune(pool: Pool, steps: Sequence[Prune]) -> int:
    """Delete all that is past its time, batch by batch; returns how many rows. One process at a time works."""
    deleted = 0
    for step in steps:
        more = True
        while more:
            async with pool.connection() as connection, connection.transaction():
                cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
                row = await cursor.fetchone()
                count = await step(connection) if row and row[0] else 0
            deleted += count
            more = count > 0
    return deleted


async def prune_regularly(pool: Pool, steps: Sequence[Prune], stop: asyncio.Event) -> None:
    """Prune at once and then every hour until `stop`; a database that is away is asked again the next time."""
    while not stop.is_set():
        try:
            deleted = await prune(pool, steps)
            if deleted:
                _log.info("rows_past_retention_deleted", count=deleted)
        except (DatabaseError, PoolTimeout) as error:
            _log.warning("retention_without_database", kind=type(error).__name__)
        await set_within(stop, EVERY_SECONDS)
