"""What failed, in the consumer's own database: attempts, and letters that are dead.

Written outside the transaction that failed, so that a failure counts although its effects are rolled back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID, uuid5

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from kanwa_shared.messaging.envelope import Event, HandOver

_NAMESPACE: Final = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's namespace for URLs


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """A delivery that failed or waits for an older one about its resource; `position` gives their order."""

    event_id: str
    resource: str
    position: int
    attempts: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up: open, then replayed, then resolved, or open again.

    `envelope` is the message's text; bytes that are no UTF-8 and NUL are written as escapes.
    """

    id: int
    consumer: str
    event_id: str
    source: str | None
    reason: str
    attempts: int
    traceparent: str | None
    envelope: str
    died_at: datetime
    replayed_at: datetime | None
    resolved_at: datetime | None


def event_uuid(message_id: str, body: bytes) -> str:
    """The message's id if it is a UUID, else one derived from its bytes: the same message, the same id."""
    try:
        return str(UUID(message_id))
    except ValueError:
        return str(uuid5(_NAMESPACE, body.hex()))


def position(message: Event | HandOver) -> int:
    """Where the message stands among those about its resource: its version; of a hand-over, its time."""
    if isinstance(message, Event):
        return message.version
    return round(message.time.timestamp() * 1_000_000)


async def pending_deliveries(connection: AsyncConnection[Any], consumer: str) -> list[PendingDelivery]:
    """All unsettled deliveries of `consumer` that have a resource."""
    async with connection.cursor(row_factory=class_row(PendingDelivery)) as cursor:
        await cursor.execute(
            "SELECT event_id::text AS event_id, resource, position, attempts FROM delivery_attempt"
            " WHERE consumer = %s AND resource IS NOT NULL ORDER BY position",
            (consumer,),
        )
        return await cursor.fetchall()


async def count_attempt(
    connection: AsyncConnection[Any],
    consumer: str,
    event_id: str,
    message: Event | HandOver,
    error: str | None,
) -> int:
    """Note a failure (`error`) or, with None, that the delivery waits; returns the attempts so far."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _COUNT,
            (consumer, event_id, 0 if error is None else 1, error, message.resource, position(message)),
        )
        return int(await cursor.fetchone() or 0)


async def forget_attempts(connection: AsyncConnection[Any], consumer: str, event_id: str) -> None:
    """The delivery is settled."""
    await connection.execute(
        "DELETE FROM delivery_attempt WHERE consumer = %s AND event_id = %s", (consumer, event_id)
    )


async def note_as_received(connection: AsyncConnection[Any], consumer: str, event_id: str) -> None:
    """The event never takes effect in `consumer`, and nobody waits for it."""
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO inbox (consumer, event_id, received_at) VALUES (%s, %s, now())"
            " ON CONFLICT DO NOTHING",
            (consumer, event_id),
        )
        await forget_attempts(connection, consumer, event_id)


async def bury(
    connection: AsyncConnection[Any],
    *,
    consumer: str,
    event_id: str,
    source: str | None,
    reason: str,
    attempts: int,
    traceparent: str | None,
    body: bytes,
) -> None:
    """Write the dead letter and forget the attempts, in one transaction; a known letter is reopened."""
    envelope = body.decode("utf-8", "backslashreplace").replace("\x00", "\\u0000")
    async with connection.transaction():
        await connection.execute(_BURY, (consumer, event_id, source, reason, attempts, traceparent, envelope))
        await forget_attempts(connection, consumer, event_id)


async def is_dead(connection: AsyncConnection[Any], consumer: str, event_id: str) -> bool:
    """Whether the delivery was given up and nobody asked for a replay."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "SELECT EXISTS (SELECT FROM dead_letter"
            " WHERE consumer = %s AND event_id = %s AND replayed_at IS NULL)",
            (consumer, event_id),
        )
        return bool(await cursor.fetchone())


async def resolve(connection: AsyncConnection[Any], consumer: str, event_id: str) -> None:
    """The replayed letter's effect is there."""
    await connection.execute(
        "UPDATE dead_letter SET resolved_at = now()"
        " WHERE consumer = %s AND event_id = %s AND replayed_at IS NOT NULL",
        (consumer, event_id),
    )


async def open_letters(connection: AsyncConnection[Any], consumer: str) -> int:
    """How many dead letters of `consumer` wait for somebody."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "SELECT count(*) FROM dead_letter WHERE consumer = %s AND replayed_at IS NULL",
            (consumer,),
        )
        return int(await cursor.fetchone() or 0)


async def dead_letters(
    connection: AsyncConnection[Any], *, letter_id: int | None = None, consumer: str | None = None
) -> list[DeadLetter]:
    """Unresolved letters, oldest first: all, one consumer's, or the one with this id (resolved or not)."""
    return await _letters(connection, _LETTERS, (letter_id, letter_id, consumer, consumer))


async def request_replay(connection: AsyncConnection[Any], letter_id: int) -> DeadLetter | None:
    """Mark an unresolved letter as replayed and start its attempts anew; None if there is no such letter.

    The message must be delivered after this commits: `replay.publish_replay` does it over the broker, a
    running `DirectDispatch` finds it by itself. Asking again for a letter that is not resolved yet is
    allowed.
    """
    async with connection.transaction():
        letters = await _letters(connection, _REPLAY, (letter_id,))
        for letter in letters:
            await forget_attempts(connection, letter.consumer, letter.event_id)
    return letters[0] if letters else None


async def replays_asked_for(connection: AsyncConnection[Any], consumer: str) -> list[DeadLetter]:
    """Letters of `consumer` that are replayed and not resolved yet, oldest first."""
    return await _letters(connection, _ASKED_FOR, (consumer,))


async def drop_letter(connection: AsyncConnection[Any], letter_id: int) -> bool:
    """Delete a letter for good and note its event as received; whether there was one.

    Without the inbox row the event would be missing, see `gaps.py`, and be fetched from its source again.
    """
    async with connection.transaction():
        cursor = await connection.execute(
            "DELETE FROM dead_letter WHERE id = %s RETURNING consumer, event_id::text", (letter_id,)
        )
        dropped = await cursor.fetchone()
        if dropped is not None:
            await note_as_received(connection, *dropped)
    return dropped is not None


async def _letters(
    connection: AsyncConnection[Any], query: LiteralString, parameters: Sequence[Any]
) -> list[DeadLetter]:
    async with connection.cursor(row_factory=class_row(DeadLetter)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


_COUNT: Final[LiteralString] = """
INSERT INTO delivery_attempt AS a (consumer, event_id, attempts, last_error, resource, position)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (consumer, event_id) DO UPDATE
SET attempts = a.attempts + excluded.attempts, last_error = coalesce(excluded.last_error, a.last_error),
    updated_at = now()
RETURNING attempts
"""
_BURY: Final[LiteralString] = """
INSERT INTO dead_letter (consumer, event_id, source, reason, attempts, traceparent, envelope)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (consumer, event_id) DO UPDATE
SET reason = excluded.reason, attempts = excluded.attempts, envelope = excluded.envelope,
    died_at = now(), replayed_at = NULL, resolved_at = NULL
"""
_COLUMNS: Final[LiteralString] = """
id, consumer, event_id::text AS event_id, source, reason, attempts, traceparent, envelope,
died_at, replayed_at, resolved_at
"""
_LETTERS: Final[LiteralString] = (
    "SELECT"
    + _COLUMNS
    + """FROM dead_letter
WHERE (%s::bigint IS NULL AND resolved_at IS NULL OR id = %s) AND (%s::text IS NULL OR consumer = %s)
ORDER BY died_at, id
"""
)
_REPLAY: Final[LiteralString] = (
    "UPDATE dead_letter SET replayed_at = now() WHERE id = %s AND resolved_at IS NULL RETURNING" + _COLUMNS  # noqa: S608 - constants
)
_ASKED_FOR: Final[LiteralString] = (
    "SELECT"
    + _COLUMNS
    + """FROM dead_letter
WHERE consumer = %s AND replayed_at IS NOT NULL AND resolved_at IS NULL
ORDER BY died_at, id
"""
)
