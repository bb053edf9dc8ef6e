"""How long the event log keeps versions that a newer one has replaced."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]

BATCH: Final = 5000


def superseded_rows(older_than: timedelta) -> Callable[[Connection], Awaitable[int]]:
    """Deletes log rows older than that of resources with a newer version in the log; gives how many, at most a batch.

    The newest version of each resource stays for ever, so read models that are rebuilt from the log do not change,
    and a reader who starts anywhere ends with the same state. What goes is the old case's intermediate steps; the
    log notes up to where it has lost some, so that a reader who wants them all can be told.
    """

    async def delete(connection: Connection) -> int:
        cursor = await connection.execute(
            "WITH gone AS (DELETE FROM event_log WHERE position IN ("
            " SELECT position FROM event_log AS old WHERE time < now() - %s::interval AND EXISTS ("
            "  SELECT FROM event_log AS newer"
            "  WHERE newer.resource = old.resource AND newer.version > old.version)"
            " ORDER BY position LIMIT %s) RETURNING position),"
            " noted AS (UPDATE event_log_head"
            "  SET complete_after = greatest(complete_after, (SELECT max(position) FROM gone))"
            "  WHERE EXISTS (SELECT FROM gone))"
            " SELECT count(*) FROM gone",
            (older_than, BATCH),
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else 0

    return delete
