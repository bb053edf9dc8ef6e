"""The resources of a service as they were at a moment, read from their versions in pages of bounded size."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final, LiteralString

from kanwa_shared.store.bulk_export import Counts
from kanwa_shared.store.pool import Pool

# How long to wait for the transactions under way; one that takes longer is waited for at the next call.
SETTLING_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.05

_UNDER_WAY: Final[LiteralString] = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
_SETTLED: Final[LiteralString] = "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::xid8"

# A page holds at most so many resources, and no further one once it has so many bytes.
PAGE_RESOURCES: Final = 500
PAGE_BYTES: Final = 4_000_000

# Nearly all have not changed after the moment, and `resource` alone tells of them; of the others, their versions.
_COUNTS: Final[LiteralString] = """
    SELECT resource_type, count(*) FILTER (WHERE NOT deleted), count(*) FILTER (WHERE deleted) FROM (
        SELECT r.resource_type, r.deleted FROM resource r
        WHERE r.resource_type = ANY(%(types)s) AND NOT r.replica AND r.last_updated <= %(at)s
          AND (%(since)s::timestamptz IS NULL OR r.last_updated >= %(since)s)
        UNION ALL
        SELECT r.resource_type, v.interaction = 'delete' FROM resource r
        CROSS JOIN LATERAL (
            SELECT x.interaction, x.last_updated FROM resource_version x
            WHERE x.resource_type = r.resource_type AND x.id = r.id AND x.last_updated <= %(at)s
            ORDER BY x.version DESC LIMIT 1) AS v
        WHERE r.resource_type = ANY(%(types)s) AND NOT r.replica AND r.last_updated > %(at)s
          AND (%(since)s::timestamptz IS NULL OR v.last_updated >= %(since)s)
    ) AS held GROUP BY resource_type"""

_PAGE: Final[LiteralString] = """
    WITH chosen AS (
        SELECT r.id FROM resource r
        WHERE r.resource_type = %(type)s AND NOT r.replica AND r.id > %(after)s
          AND (%(since)s::timestamptz IS NULL OR r.last_updated >= %(since)s)
        ORDER BY r.id LIMIT %(limit)s
    ), as_it_was AS (
        SELECT c.id, v.version, v.interaction, v.last_updated, coalesce(v.size, 0) AS size
        FROM chosen c LEFT JOIN LATERAL (
            SELECT x.version, x.interaction, x.last_updated, octet_length(x.body) AS size FROM resource_version x
            WHERE x.resource_type = %(type)s AND x.id = c.id AND x.last_updated <= %(at)s
            ORDER BY x.version DESC LIMIT 1) AS v ON true
    ), bounded AS (
        SELECT t.*, sum(t.size) OVER (ORDER BY t.id) - t.size AS before FROM as_it_was t
    )
    SELECT b.id, v.body FROM bounded b
    LEFT JOIN resource_version v
      ON v.resource_type = %(type)s AND v.id = b.id AND v.version = b.version - %(back)s
     AND (b.interaction = 'delete') = %(deleted)s
     AND (%(since)s::timestamptz IS NULL OR b.last_updated >= %(since)s)
    WHERE b.before < %(bytes)s ORDER BY b.id"""


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything up to `at`, of it what changed at or after `since`."""

    at: datetime
    since: datetime | None = None


async def settled(pool: Pool) -> bool:
    """Whether all transactions that were writing at the call have ended, after at most `SETTLING_SECONDS`."""
    deadline = monotonic() + SETTLING_SECONDS
    async with pool.connection() as connection:
        limit = await (await connection.execute(_UNDER_WAY)).fetchone()
        while True:
            row = await (await connection.execute(_SETTLED, limit)).fetchone()
            if row is not None and row[0]:
                return True
            if monotonic() >= deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)


async def count(pool: Pool, types: Sequence[str], moment: Moment) -> Counts:
    """How many resources and deletions of each type there are; types with neither are absent."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            _COUNTS, {"types": list(types), "at": moment.at, "since": moment.since}
        )
        return {str(row[0]): (row[1], row[2]) for row in await cursor.fetchall()}


async def pages(
    pool: Pool, resource_type: str, moment: Moment, *, deletions: bool = False
) -> AsyncIterator[list[tuple[str, bytes]]]:
    """Ids and texts by id, in pages; of `deletions`, the text that was deleted.

    No transaction stays open between pages: what they show cannot change any more, as long as versions stay.
    """
    after: str | None = ""
    while after is not None:
        given = {
            "type": resource_type, "at": moment.at, "since": moment.since, "after": after,
            "limit": PAGE_RESOURCES, "bytes": PAGE_BYTES, "deleted": deletions, "back": int(deletions),
        }  # fmt: skip
        async with pool.connection() as connection:
            cursor = await connection.execute(_PAGE, given)
            rows = await cursor.fetchall()
        after = rows[-1][0] if rows else None
        yield [(row[0], row[1].encode()) for row in rows if row[1] is not None]
