"""What the one active sender reads and writes: numbers, what is due, how far an endpoint has come.

Every function takes the sender's own connection, in autocommit mode: whoever lost the lease has lost it as well.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final, Literal, LiteralString

from psycopg import AsyncConnection

from kanwa_intake.store.subscriptions import COLUMNS, StoredChannel, stored_channel

Connection = AsyncConnection[Any]

#: After a notification: `end` where no more may go to this endpoint, `anew` with the channel as it is stored now.
Going = Literal["go on", "anew", "end"]

NUMBER_BATCH: Final = 2000
PRUNE_BATCH: Final = 5000


async def number_events(connection: Connection) -> int:
    """Number what came in, per Subscription without a gap and in the order of coming in; returns how many."""
    cursor = await connection.execute("SELECT EXISTS (SELECT FROM subscription_event WHERE number IS NULL)")
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return 0
    cursor = await connection.execute(_NUMBER, (NUMBER_BATCH,))
    return cursor.rowcount


async def due_channels(
    connection: Connection, now: datetime, busy: Collection[str], limit: int
) -> list[StoredChannel]:
    """Channels with something to send now, those first that have waited longest; `busy` ones are left out."""
    cursor = await connection.execute(_DUE, {"now": now, "busy": list(busy), "limit": limit})
    return [stored_channel(row) for row in await cursor.fetchall()]


async def accepted(
    connection: Connection,
    channel: StoredChannel,
    now: datetime,
    *,
    delivered: int = 0,
    handshake: bool = False,
) -> Going:
    """The endpoint took a notification, events up to `delivered`; how to go on.

    A handshake counts only while the endpoint is still the one that answered.
    """
    cursor = await connection.execute(
        _ACCEPTED,
        {
            "subscription": channel.subscription,
            "endpoint": channel.endpoint,
            "delivered": delivered,
            "handshake": handshake,
            "now": now,
            "secret": channel.secret,
        },
    )
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return "end"
    return "go on" if row[1] else "anew"


async def failed(
    connection: Connection, channel: StoredChannel, reason: str, now: datetime, due_at: datetime
) -> None:
    """An attempt failed; try again at `due_at`."""
    await connection.execute(
        "UPDATE subscription_channel SET attempts = attempts + 1, failing_since = coalesce(failing_since, %s),"
        " last_error = %s, due_at = %s WHERE subscription = %s",
        (now, reason, due_at, channel.subscription),
    )


async def skip_to(connection: Connection, channel: StoredChannel) -> None:
    """What waited is no longer kept: go on after it."""
    await connection.execute(
        "UPDATE subscription_channel SET delivered = greatest(delivered, %s) WHERE subscription = %s",
        (channel.last_number, channel.subscription),
    )


async def prune(connection: Connection, older_than: datetime) -> int:
    """Forget events that happened before; returns how many, at most a batch."""
    cursor = await connection.execute(
        "DELETE FROM notified_event WHERE event_id IN ("
        "SELECT event_id FROM notified_event WHERE occurred_at < %s ORDER BY occurred_at LIMIT %s)",
        (older_than, PRUNE_BATCH),
    )
    return cursor.rowcount


async def queue_status(connection: Connection) -> dict[str, tuple[int, int]]:
    """By status: how many Subscriptions there are, and how many events wait for them."""
    cursor = await connection.execute(
        "SELECT status, count(*), sum(last_number - delivered)::bigint FROM subscription_channel GROUP BY status"
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


def retry_pause(attempts: int, seconds_max: float, jitter: float) -> timedelta:
    """How long to wait after so many failures: 1 s, 2 s, 4 s … up to the most, times `jitter` (about 1)."""
    return timedelta(seconds=min(seconds_max, 2.0 ** min(attempts, 30)) * jitter)


_NUMBER: Final[LiteralString] = """
WITH waiting AS (
    SELECT id, subscription, row_number() OVER (PARTITION BY subscription ORDER BY id) AS step
    FROM (SELECT id, subscription FROM subscription_event WHERE number IS NULL ORDER BY id LIMIT %s) AS batch
), counted AS (
    SELECT subscription, count(*) AS events FROM waiting GROUP BY subscription
), counter AS (
    UPDATE subscription_channel c SET last_number = c.last_number + counted.events
    FROM counted WHERE c.subscription = counted.subscription
    RETURNING c.subscription, c.last_number - counted.events AS before
)
UPDATE subscription_event e SET number = counter.before + waiting.step
FROM waiting JOIN counter USING (subscription) WHERE e.id = waiting.id
"""

_DUE: Final[LiteralString] = f"""
SELECT {COLUMNS} FROM subscription_channel
WHERE status <> 'off' AND subscription <> ALL(%(busy)s::text[]) AND (due_at IS NULL OR due_at <= %(now)s)
  AND (NOT verified OR last_number > delivered OR ends_at <= %(now)s
       OR contacted_at + make_interval(secs => heartbeat_seconds) <= %(now)s)
ORDER BY due_at NULLS FIRST, subscription LIMIT %(limit)s
"""  # noqa: S608  # constant columns

_ACCEPTED: Final[LiteralString] = """
UPDATE subscription_channel
SET delivered = greatest(delivered, least(%(delivered)s, last_number)), attempts = 0, failing_since = NULL,
    last_error = NULL, contacted_at = %(now)s, due_at = %(now)s,
    verified = verified OR (%(handshake)s AND endpoint = %(endpoint)s)
WHERE subscription = %(subscription)s
RETURNING status <> 'off' AND verified AND endpoint = %(endpoint)s, secret = %(secret)s
"""
