"""The outbox in SQL: number what is committed, read what waits, mark what is published.

Everything here takes a connection in autocommit mode. Order: within one resource outbox ids follow versions,
since a writer holds the resource's row while it draws them; between resources only `sequence` is an order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import class_row

from kanwa_shared.messaging.envelope import SOURCE_BASE, Event, HandOver

#: Rows numbered in one transaction; keeps its locks short however large the backlog is.
SEQUENCE_BATCH: Final = 2000


class BodyMissing(Exception):
    """The version that an event announces has no stored text, so the event can't be built."""


@dataclass(slots=True)
class OutboxRow:
    """A row that waits to be published, with the text of its resource's version; not to be changed.

    Of a hand-over, `version` is the one that the update was made of.
    """

    id: int
    event_id: str
    kind: str
    resource_type: str
    resource_id: str
    version: int | None
    interaction: str
    target: str | None
    body: str | None
    occurred_at: datetime
    traceparent: str | None
    actor: str | None
    correlation_id: str | None
    sequence: int | None

    @property
    def lane(self) -> str:
        """What must stay in order: one resource's events, or its hand-overs to one target."""
        return f"{self.target or ''}>{self.resource_type}/{self.resource_id}"

    def event(self, service: str) -> Event:
        """The row as `service`'s event; raises BodyMissing."""
        if self.body is None and self.interaction != "delete":
            raise BodyMissing(f"{self.resource_type}/{self.resource_id}/_history/{self.version} has no text")
        return self.head(service)

    def head(self, service: str) -> Event:
        """The row as `service`'s event with the text that was read, if any."""
        return Event.of(
            id=self.event_id,
            service=service,
            resource_type=self.resource_type,
            resource_id=self.resource_id,
            version=self.version or 0,
            interaction=self.interaction,
            time=self.occurred_at,
            sequence=self.sequence or 0,
            body=None if self.body is None else self.body.encode(),
            traceparent=self.traceparent,
            correlation_id=self.correlation_id,
            actor=self.actor,
        )

    def hand_over(self, service: str) -> HandOver:
        """The row as a hand-over from `service`."""
        return HandOver(
            id=self.event_id,
            target=self.target or "",
            interaction=self.interaction,
            resource_type=self.resource_type,
            resource_id=self.resource_id,
            base_version=self.version,
            body=None if self.body is None else self.body.encode(),
            source=SOURCE_BASE + service,
            time=self.occurred_at,
            traceparent=self.traceparent,
            actor=self.actor,
            correlation_id=self.correlation_id,
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether events wait for a number, and whether hand-overs wait for the broker."""

    unnumbered: bool
    hand_overs: bool


@dataclass(frozen=True, slots=True)
class Sequences:
    """`last` was given to the newest numbered event; the broker has confirmed every event up to `published`."""

    last: int
    published: int


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What waits: `depth` rows, the oldest `oldest_age_seconds` old, `failing` of them tried in vain."""

    depth: int
    oldest_age_seconds: float
    failing: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class FailingRow:
    """A row that was tried in vain; `last_error` is the broker's word, without patient data."""

    id: int
    kind: str
    resource_type: str
    target: str | None
    sequence: int | None
    attempts: int
    last_error: str


async def what_waits(connection: AsyncConnection[Any]) -> Waiting:
    """Which kinds of work there are, in one plain read: an idle outbox costs no write and no lock."""
    async with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        await cursor.execute(_WAITING)
        return await cursor.fetchone() or Waiting(False, False)


async def give_sequence(connection: AsyncConnection[Any], durability: str = "on") -> int:
    """Number committed events that have no sequence yet, in id order, without a gap; returns how many.

    A transaction of its own. The lock on the counter lets a second sequencer wait and then see what the first
    one numbered. `durability` is the `synchronous_commit` of this transaction: a number that consumers have
    seen must never be given again, so it is not left to a session that runs with `off`.
    """
    if not (await what_waits(connection)).unnumbered:
        return 0
    return await number_events(connection, durability)


async def number_events(connection: AsyncConnection[Any], durability: str = "on") -> int:
    """`give_sequence` for who knows that there is something to number."""
    async with connection.transaction():
        await connection.execute(_LOCK_COUNTER, (durability,))
        cursor = await connection.execute(_GIVE_SEQUENCE, (SEQUENCE_BATCH,))
        return cursor.rowcount


async def waiting_events(connection: AsyncConnection[Any], after: int, limit: int) -> list[OutboxRow]:
    """Unpublished events with a sequence above `after`, in sequence order."""
    return await _rows(connection, _WAITING_EVENTS, (after, limit))


async def waiting_hand_overs(
    connection: AsyncConnection[Any],
    *,
    without_ids: Sequence[int],
    without_targets: Sequence[str],
    limit: int,
) -> list[OutboxRow]:
    """Unpublished hand-overs in id order, without those under way and without targets that are held back.

    There is no cursor: a transaction that commits late may bring an id below the ones already seen.
    """
    return await _rows(connection, _WAITING_HAND_OVERS, (list(without_ids), list(without_targets), limit))


async def mark_published(connection: AsyncConnection[Any], ids: Sequence[int]) -> None:
    """The broker has confirmed these rows."""
    await connection.execute(
        "UPDATE outbox SET published_at = now(), last_error = NULL"
        " WHERE id = ANY(%s) AND published_at IS NULL",
        (list(ids),),
    )


async def record_failures(connection: AsyncConnection[Any], failures: Sequence[tuple[int, str]]) -> None:
    """Count a failed attempt per (row id, reason)."""
    await connection.execute(
        "UPDATE outbox SET attempts = attempts + 1, last_error = failed.reason"
        " FROM unnest(%s::bigint[], %s::text[]) AS failed (id, reason) WHERE outbox.id = failed.id",
        ([row_id for row_id, _ in failures], [reason for _, reason in failures]),
    )


async def events_after(
    connection: AsyncConnection[Any],
    service: str,
    sequence: int,
    limit: int = 100,
    *,
    with_resources: bool = True,
) -> list[Event]:
    """`service`'s events with a sequence above `sequence`, in order, published or not, at most `limit`.

    Raises BodyMissing if the history of a resource was cut shorter than the outbox's retention. Without resources
    no text is read.
    """
    query = _EVENTS_AFTER if with_resources else _HEADS_AFTER
    rows = await _rows(connection, query, (sequence, limit))
    return [row.event(service) if with_resources else row.head(service) for row in rows]


async def sequences_so_far(connection: AsyncConnection[Any]) -> Sequences:
    """How far the source has numbered its events, and how far the broker has them all."""
    async with connection.cursor(row_factory=class_row(Sequences)) as cursor:
        await cursor.execute(_SEQUENCES)
        return await cursor.fetchone() or Sequences(0, 0)


async def outbox_status(connection: AsyncConnection[Any]) -> OutboxStatus:
    """Depth and age of what waits; cheap, the indexes hold only that."""
    async with connection.cursor(row_factory=class_row(OutboxStatus)) as cursor:
        await cursor.execute(_STATUS)
        status = await cursor.fetchone()
    return status or OutboxStatus(0, 0.0, 0, 0)


async def failing_rows(connection: AsyncConnection[Any], limit: int = 20) -> list[FailingRow]:
    """Rows that the broker refused and that are still tried, oldest first."""
    async with connection.cursor(row_factory=class_row(FailingRow)) as cursor:
        await cursor.execute(_FAILING, (limit,))
        return await cursor.fetchall()


async def delete_published(
    connection: AsyncConnection[Any], *, older_than: timedelta, limit: int = 10_000
) -> int:
    """Of the `limit` oldest rows, delete those published longer ago than `older_than`; returns how many.

    What is deleted can't be fetched again by `events_after`; the counter goes on, so no sequence repeats. Rows
    that wait are never touched. Looking at the oldest alone needs no index on `published_at`, which every mark
    would have to maintain.
    """
    cursor = await connection.execute(
        "DELETE FROM outbox WHERE id IN ("
        " SELECT id FROM (SELECT id, published_at FROM outbox ORDER BY id LIMIT %s) AS oldest"
        " WHERE published_at < now() - %s::interval)",
        (limit, older_than),
    )
    return cursor.rowcount


async def _rows(
    connection: AsyncConnection[Any], query: LiteralString, parameters: Sequence[Any]
) -> list[OutboxRow]:
    async with connection.cursor(row_factory=class_row(OutboxRow)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


# Rows are few and found by id; the planner expects a full batch each time and would scan the whole outbox.
_LOCK_COUNTER: Final[LiteralString] = """
SELECT last, set_config('synchronous_commit', %s, true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true)
FROM outbox_sequence FOR UPDATE
"""
# A statement of its own: it sees what was committed while this transaction waited for the counter's lock.
_GIVE_SEQUENCE: Final[LiteralString] = """
WITH waiting AS (
    SELECT id FROM outbox WHERE kind = 'event' AND sequence IS NULL ORDER BY id LIMIT %s
), numbered AS (
    SELECT id, row_number() OVER (ORDER BY id) AS step FROM waiting
), counter AS (
    UPDATE outbox_sequence SET last = last + (SELECT count(*) FROM numbered) RETURNING last
)
UPDATE outbox SET sequence = counter.last - (SELECT count(*) FROM numbered) + numbered.step
FROM numbered, counter WHERE outbox.id = numbered.id
"""

_WAITING: Final[LiteralString] = """
SELECT EXISTS (SELECT FROM outbox WHERE kind = 'event' AND sequence IS NULL) AS unnumbered,
       EXISTS (SELECT FROM outbox WHERE kind = 'handover' AND published_at IS NULL) AS hand_overs
"""

_COLUMNS: Final[LiteralString] = """
SELECT o.id, o.event_id::text AS event_id, o.kind, o.resource_type, o.resource_id, o.version, o.interaction,
       o.target, o.occurred_at, o.traceparent, o.actor, o.correlation_id, o.sequence,
"""
_EVENTS: Final[LiteralString] = (
    _COLUMNS
    + """v.body FROM outbox o LEFT JOIN resource_version v
ON v.resource_type = o.resource_type AND v.id = o.resource_id AND v.version = o.version
"""
)
_WAITING_EVENTS: Final[LiteralString] = (
    _EVENTS
    + "WHERE o.kind = 'event' AND o.published_at IS NULL AND o.sequence > %s ORDER BY o.sequence LIMIT %s"
)
_EVENTS_AFTER: Final[LiteralString] = _EVENTS + "WHERE o.sequence > %s ORDER BY o.sequence LIMIT %s"
_HEADS_AFTER: Final[LiteralString] = (
    _COLUMNS + "NULL AS body FROM outbox o WHERE o.sequence > %s ORDER BY o.sequence LIMIT %s"
)
_SEQUENCES: Final[LiteralString] = """
SELECT last, least(last, (SELECT min(sequence) - 1 FROM outbox
                          WHERE kind = 'event' AND published_at IS NULL AND sequence IS NOT NULL)) AS published
FROM outbox_sequence
"""
_WAITING_HAND_OVERS: Final[LiteralString] = (
    _COLUMNS
    + """o.payload AS body FROM outbox o
WHERE o.kind = 'handover' AND o.published_at IS NULL
  AND o.id <> ALL (%s::bigint[]) AND o.target <> ALL (%s::text[])
ORDER BY o.id LIMIT %s
"""
)
_FAILING: Final[LiteralString] = """
SELECT id, kind, resource_type, target, sequence, attempts, coalesce(last_error, '') AS last_error
FROM outbox WHERE published_at IS NULL AND attempts > 0 ORDER BY id LIMIT %s
"""
_STATUS: Final[LiteralString] = """
SELECT count(*) AS depth,
       coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 AS oldest_age_seconds,
       count(*) FILTER (WHERE attempts > 0) AS failing, (SELECT last FROM outbox_sequence) AS last_sequence
FROM outbox WHERE published_at IS NULL
"""
