"""How long the event log keeps versions that a newer one has replaced."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]

#: Rows looked at by one statement.
BATCH: Final = 5000


def superseded_rows(older_than: timedelta) -> Callable[[Connection], Awaitable[int]]:
    """Deletes log rows older than that of resources with a newer version in the log; gives how many, about a batch.

    The newest version of each resource stays for ever, so read models that are rebuilt from the log do not change,
    and a reader who starts anywhere ends with the same state. What goes is the old case's intermediate steps; the
    log notes up to where it has lost some, so that a reader who wants them all can be told.

    What stays is not read again: each row is looked at once when it is past its time, and what it may be replaced by
    after that is looked at once when it is in the log. One process at a time may do so.
    """

    async def delete(connection: Connection) -> int:
        await connection.execute(_BY_INDEX)
        for statement in (_AGED, _REPLACED):
            seen, deleted = 1, 0
            while seen and not deleted:
                cursor = await connection.execute(statement, {"keep": older_than, "batch": BATCH})
                seen, deleted = await cursor.fetchone() or (0, 0)
            if deleted:
                return int(deleted)
        return 0

    return delete


# A log that looks small would be scanned, though mostly there is nothing to look at.
_BY_INDEX: Final[LiteralString] = "SELECT set_config('enable_seqscan', 'off', true)"
# Each ends with how many rows it looked at and how many it deleted. What is asked of a row is a subquery of its own,
# which PostgreSQL can't turn into a join over the whole log.
_DELETED: Final[LiteralString] = """
gone AS (
    DELETE FROM event_log WHERE position = ANY(ARRAY(SELECT position FROM replaced)) RETURNING position
), noted AS (
    UPDATE event_log_head SET complete_after = greatest(complete_after, (SELECT max(position) FROM gone))
    WHERE EXISTS (SELECT FROM gone)
)
SELECT (SELECT count(*) FROM page), (SELECT count(*) FROM gone)
"""
# In the order of the log, which is nearly that of time. A row of the future, by a wrong clock, holds up nobody.
_AGED: Final[LiteralString] = (
    """
WITH next AS MATERIALIZED (
    SELECT position, resource, version, time FROM event_log
    WHERE position > (SELECT aged_through FROM event_log_pruning) ORDER BY position LIMIT %(batch)s
), young AS (
    SELECT min(position) AS first FROM next WHERE time >= now() - %(keep)s::interval AND time <= now()
), page AS MATERIALIZED (
    SELECT next.* FROM next, young WHERE young.first IS NULL OR position < young.first
), replaced AS (
    SELECT position FROM page WHERE time < now() - %(keep)s::interval
    AND version < (SELECT max(version) FROM event_log AS newer WHERE newer.resource = page.resource)
), moved AS (
    UPDATE event_log_pruning SET aged_through = (SELECT max(position) FROM page) WHERE EXISTS (SELECT FROM page)
), """  # noqa: S608 - constants
    + _DELETED
)
_REPLACED: Final[LiteralString] = (
    """
WITH walk AS (
    SELECT aged_through, replaced_through AS after, least(last, replaced_through + %(batch)s) AS upto
    FROM event_log_pruning, event_log_head
), page AS MATERIALIZED (
    SELECT resource, version FROM event_log
    WHERE position > (SELECT after FROM walk) AND position <= (SELECT upto FROM walk)
), replaced AS (
    SELECT old.position FROM page, LATERAL (
        SELECT position FROM event_log WHERE resource = page.resource AND version < page.version
        AND position <= (SELECT aged_through FROM walk) AND time < now() - %(keep)s::interval OFFSET 0
    ) AS old
), moved AS (
    UPDATE event_log_pruning SET replaced_through = upto FROM walk WHERE upto > after
), """  # noqa: S608 - constants
    + _DELETED
)
