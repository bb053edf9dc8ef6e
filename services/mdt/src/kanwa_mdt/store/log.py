"""The event log: appended to in one order, read in pages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, cast

from psycopg import AsyncConnection
from psycopg.sql import SQL

from kanwa_shared.messaging.envelope import Event

Connection = AsyncConnection[Any]

PAGE: Final = 200
#: A page ends with the row that brings its texts to so much, as PostgreSQL stores them.
PAGE_BYTES: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Appended:
    """An event and what the log says of it, before it has a position."""

    event: Event
    patient: str | None
    links: frozenset[str]
    requests: tuple[str, ...]
    stages: tuple[str, ...]
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of the log; `envelope` is the CloudEvent's JSON text."""

    position: int
    type: str
    resource: str
    version: int
    time: datetime
    patient: str | None
    stages: tuple[str, ...]
    sites: tuple[str, ...]
    envelope: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows a reader wants; an empty part wants all. `types` may end in `*`."""

    patients: frozenset[str] = frozenset()
    types: tuple[str, ...] = ()
    stages: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()

    def wants(self, row: LogRow) -> bool:
        """Whether the row passes."""
        return (
            (not self.patients or row.patient in self.patients)
            and (not self.types or any(_fits(pattern, row.type) for pattern in self.types))
            and (not self.stages or not self.stages.isdisjoint(row.stages))
            and (not self.sites or not self.sites.isdisjoint(row.sites))
        )


async def lock_log(connection: Connection) -> int:
    """Wait for the right to append, held until the transaction ends; gives the last position."""
    cursor = await connection.execute("SELECT last FROM event_log_head FOR UPDATE")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def last_position(connection: Connection) -> int:
    """The position of the newest committed row, 0 while there is none."""
    cursor = await connection.execute("SELECT last FROM event_log_head")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def extent(connection: Connection) -> tuple[int, int]:
    """The position up to which the log may have lost replaced versions, and its last position."""
    cursor = await connection.execute("SELECT complete_after, last FROM event_log_head")
    row = await cursor.fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


async def receive(connection: Connection, consumer: str, events: Sequence[Event]) -> set[str]:
    """Enter events in the inbox; gives the ids of those that were not in it."""
    cursor = await connection.execute(
        "INSERT INTO inbox (consumer, event_id, received_at) SELECT %s, id::uuid, clock_timestamp()"
        " FROM unnest(%s::text[]) AS id ON CONFLICT DO NOTHING RETURNING event_id::text",
        (consumer, [event.id for event in events]),
    )
    return {row[0] for row in await cursor.fetchall()}


async def append(connection: Connection, last: int, rows: Sequence[Appended]) -> None:
    """Append rows after position `last`; the caller holds the log's lock."""
    values = [_values(last + n, row) for n, row in enumerate(rows, start=1)]
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO event_log (position, event_id, source, sequence, type, resource, version, time,"
            " patient, links, requests, stages, sites, envelope)"
            " VALUES (%s, %s::uuid, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            values,
        )
    await connection.execute("UPDATE event_log_head SET last = %s", (last + len(rows),))


async def read_after(
    connection: Connection, position: int, wanted: Filter, limit: int = PAGE
) -> tuple[list[LogRow], int]:
    """Rows after `position` that `wanted` wants, at most `limit`, and the position up to which was read."""
    head = await last_position(connection)
    query, parameters = _selection(position, head, wanted, limit)
    cursor = await connection.execute(query, parameters)
    found = await cursor.fetchall()
    rows = [_row(values[:-1]) for values in found]
    whole = not found or (len(found) == found[0][-1] < limit)
    return rows, max(head, position) if whole else rows[-1].position


async def read_timeline(
    connection: Connection, references: Iterable[str], limit: int
) -> list[tuple[int, str, int, datetime, str]]:
    """Every event of these resources, and of whatever in any version named one that is a step, newest first.

    Position, resource, version, commit time and envelope of each; `limit` bounds them.
    """
    members = sorted(references)
    steps = [r for r in members if r.startswith(("ServiceRequest/", "Task/", "Procedure/", "CarePlan/"))]
    cursor = await connection.execute(
        "WITH named AS (SELECT DISTINCT resource FROM event_log WHERE links && %s::text[])"
        " SELECT position, resource, version, time, envelope FROM event_log"
        " WHERE resource = ANY(%s::text[])"
        # An array, not IN: a subquery beside OR keeps PostgreSQL from the index, and it reads the whole log.
        " OR resource = ANY(ARRAY(SELECT resource FROM named WHERE resource NOT LIKE 'ServiceRequest/%%'))"
        " ORDER BY time DESC, source DESC, sequence DESC LIMIT %s",
        (steps, members, limit),
    )
    return [(row[0], row[1], row[2], row[3], row[4]) for row in await cursor.fetchall()]


def _values(position: int, row: Appended) -> tuple[Any, ...]:
    event = row.event
    return (
        position,
        event.id,
        event.source,
        event.sequence,
        event.type,
        event.resource,
        event.version,
        event.time,
        row.patient,
        sorted(row.links),
        list(row.requests),
        list(row.stages),
        list(row.sites),
        event.to_cloudevent().decode(),
    )


_COLUMNS: Final = "position, type, resource, version, time, patient, stages, sites, envelope"


def _selection(position: int, head: int, wanted: Filter, limit: int) -> tuple[SQL, dict[str, Any]]:
    parameters: dict[str, Any] = {"after": position, "head": head, "limit": limit, "bytes": PAGE_BYTES}
    conditions = ["position > %(after)s", "position <= %(head)s"]
    if wanted.patients:
        conditions.append("patient = ANY(%(patients)s::text[])")
        parameters["patients"] = sorted(wanted.patients)
    if wanted.types:
        conditions.append("type LIKE ANY(%(types)s::text[])")
        parameters["types"] = [_like(pattern) for pattern in wanted.types]
    for name, values in (("stages", wanted.stages), ("sites", wanted.sites)):
        if values:
            conditions.append(f"{name} && %({name})s::text[]")
            parameters[name] = sorted(values)
    chosen = " AND ".join(conditions)
    query = (
        f"SELECT {_COLUMNS}, candidates FROM ("  # noqa: S608  # fixed texts
        f" SELECT {_COLUMNS}, count(*) OVER () AS candidates,"
        "  sum(pg_column_size(envelope)) OVER (ORDER BY position) - pg_column_size(envelope) AS bytes_before FROM ("
        f"  SELECT {_COLUMNS} FROM event_log WHERE {chosen} ORDER BY position LIMIT %(limit)s) AS page) AS sized"
        " WHERE bytes_before < %(bytes)s ORDER BY position"
    )
    # What the reader asked for is in the parameters.
    return SQL(cast("LiteralString", query)), parameters


def _row(values: tuple[Any, ...]) -> LogRow:
    position, type_, resource, version, time, patient, stages, sites, envelope = values
    return LogRow(position, type_, resource, version, time, patient, tuple(stages), tuple(sites), envelope)


def _fits(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _like(pattern: str) -> str:
    plain = pattern.removesuffix("*").replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return plain + ("%" if pattern.endswith("*") else "")
