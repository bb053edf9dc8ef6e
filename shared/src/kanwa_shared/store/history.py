"""Versions of one resource, of a type, of all types that a service owns: newest first, by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

from kanwa_shared.store.pool import Pool
from kanwa_shared.store.resources import VERSION_COLUMNS, stored
from kanwa_shared.store.stored import StoredResource

COUNTED_MOST: Final = 10_000
"""Counting versions costs as much as there are; a longer history has no total."""

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """The place of a version in a history: by time, then by what tells versions of one moment apart."""

    last_updated: datetime
    resource_type: str
    id: str
    version: int


@dataclass(frozen=True, slots=True)
class Window:
    """Which versions: those written from `since` on, and those that were current in [`low`, `high`)."""

    since: datetime = EARLIEST
    low: datetime = EARLIEST
    high: datetime = LATEST


#: A version was current until its successor was written.
_IN_WINDOW: Final[LiteralString] = """
    v.last_updated >= %(since)s AND v.last_updated < %(high)s
      AND (%(low)s <= v.last_updated OR NOT EXISTS (
          SELECT FROM resource_version n
          WHERE n.resource_type = v.resource_type AND n.id = v.id AND n.version = v.version + 1
            AND n.last_updated <= %(low)s))"""

_OF_INSTANCE: Final[LiteralString] = f"""
    SELECT {VERSION_COLUMNS}, count(*) OVER () FROM resource r JOIN resource_version v USING (resource_type, id)
    WHERE v.resource_type = %(type)s AND v.id = %(id)s AND NOT r.replica AND v.version < %(below)s AND {_IN_WINDOW}
    ORDER BY v.version DESC LIMIT %(limit)s"""

#: Each type gives its newest: one step down the index per type, whatever the number of versions.
_OF_TYPES: Final[LiteralString] = f"""
    SELECT {VERSION_COLUMNS} FROM unnest(%(types)s::text[]) AS t (name) CROSS JOIN LATERAL (
        SELECT * FROM resource_version v
        WHERE v.resource_type = t.name AND {_IN_WINDOW} AND v.last_updated <= %(before)s
          AND (v.last_updated, v.resource_type COLLATE "C", v.id, v.version)
              < (%(before)s, %(before_type)s, %(before_id)s, %(before_version)s)
        ORDER BY v.last_updated DESC, v.id DESC, v.version DESC LIMIT %(limit)s) v
    ORDER BY v.last_updated DESC, v.resource_type COLLATE "C" DESC, v.id DESC, v.version DESC LIMIT %(limit)s"""

_COUNT: Final[LiteralString] = f"""
    SELECT count(*) FROM (
        SELECT FROM unnest(%(types)s::text[]) AS t (name) CROSS JOIN LATERAL (
            SELECT FROM resource_version v WHERE v.resource_type = t.name AND {_IN_WINDOW} LIMIT %(most)s) v
        LIMIT %(most)s) counted"""


async def instance_history(
    pool: Pool, resource_type: str, id: str, window: Window, *, below: int, limit: int
) -> tuple[list[StoredResource], int]:
    """Versions of one resource below version `below`, and how many there are below it in all."""
    asked = {"type": resource_type, "id": id, "below": below, "limit": limit, **_times(window)}
    async with pool.connection() as connection:
        rows = await (await connection.execute(_OF_INSTANCE, asked)).fetchall()
    return [stored(row) for row in rows], rows[0][6] if rows else 0


async def types_history(
    pool: Pool, types: Sequence[str], window: Window, *, before: Mark | None, limit: int
) -> list[StoredResource]:
    """Versions of resources of the types, those at `before` and newer left out; the types are the service's own."""
    mark = before or Mark(LATEST, "", "", 0)
    asked = {
        "types": list(types),
        "before": mark.last_updated,
        "before_type": mark.resource_type,
        "before_id": mark.id,
        "before_version": mark.version,
        "limit": limit,
        **_times(window),
    }
    async with pool.connection() as connection:
        rows = await (await connection.execute(_OF_TYPES, asked)).fetchall()
    return [stored(row) for row in rows]


async def count_types_history(pool: Pool, types: Sequence[str], window: Window) -> int | None:
    """How many versions the window holds; None above `COUNTED_MOST`."""
    asked = {"types": list(types), "most": COUNTED_MOST + 1, **_times(window)}
    async with pool.connection() as connection:
        row = await (await connection.execute(_COUNT, asked)).fetchone()
    counted = row[0] if row else 0
    return None if counted > COUNTED_MOST else counted


def _times(window: Window) -> dict[str, Any]:
    return {"since": window.since, "low": window.low, "high": window.high}
