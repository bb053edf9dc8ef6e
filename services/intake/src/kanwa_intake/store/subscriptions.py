"""Subscriptions' own tables: channels and the events that they wait to be told of.

What the sender writes is in `notification_queue`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, cast
from uuid import UUID

import msgspec

from kanwa_intake.domain.notifications import NotifiedEvent, SubscriptionState
from kanwa_intake.domain.subscription_states import SubscriptionStatus
from kanwa_intake.domain.subscriptions import Channel, Content
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.pool import Pool
from kanwa_shared.store.stored import StoredResource

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """A channel as it is stored. Times are aware; numbers as in the table's comments.

    `life` tells it from a channel that was there before under the same id, whose numbers began at 1 too.
    """

    subscription: str
    topic: str
    filters: tuple[str, ...]
    endpoint: str
    headers: Headers
    content: Content
    heartbeat_seconds: int | None
    timeout_seconds: int
    events_per_notification: int
    ends_at: datetime | None
    owner: str | None
    secret: bytes
    life: UUID
    status: SubscriptionStatus
    verified: bool
    last_number: int
    delivered: int
    attempts: int
    failing_since: datetime | None
    last_error: str | None

    @property
    def state(self) -> SubscriptionState:
        """What notifications say of the Subscription."""
        return SubscriptionState(
            self.subscription, self.topic, self.status, self.content, self.last_number, self.last_error
        )

    def same_way(self, channel: Channel) -> bool:
        """Whether events go the same way to the same place; other changes need no new handshake."""
        return (self.topic, self.filters, self.endpoint, self.headers, self.content) == (
            channel.topic.url,
            channel.filters,
            channel.endpoint,
            channel.headers,
            channel.content,
        )


COLUMNS: Final[LiteralString] = (
    "subscription, topic, filters, endpoint, headers, content, heartbeat_seconds, timeout_seconds,"
    " events_per_notification, ends_at, owner, secret, life, status, verified, last_number, delivered, attempts,"
    " failing_since, last_error"
)


_FIELDS: Final = tuple(COLUMNS.split(", "))


async def channel_of(pool: Pool, subscription: str) -> StoredChannel | None:
    """The channel of a Subscription, None for an unknown one or one that is not topic-based."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            f"SELECT {COLUMNS} FROM subscription_channel WHERE subscription = %s",  # noqa: S608  # constant columns
            (subscription,),
        )
        row = await cursor.fetchone()
    return stored_channel(row) if row else None


async def channels(
    pool: Pool, ids: Sequence[str], statuses: Sequence[str], limit: int
) -> list[StoredChannel]:
    """Channels by Subscription id and status; an empty list asks for any."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            f"SELECT {COLUMNS} FROM subscription_channel"  # noqa: S608  # constant columns
            " WHERE (cardinality(%(ids)s::text[]) = 0 OR subscription = ANY(%(ids)s::text[]))"
            " AND (cardinality(%(statuses)s::text[]) = 0 OR status = ANY(%(statuses)s::text[]))"
            " ORDER BY subscription LIMIT %(limit)s",
            {"ids": list(ids), "statuses": list(statuses), "limit": limit},
        )
        return [stored_channel(row) for row in await cursor.fetchall()]


async def waiting_types(pool: Pool, subscription: str) -> set[str]:
    """Resource types of the events that a Subscription's endpoint has not taken yet."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT DISTINCT e.resource_type FROM subscription_channel c"
            " JOIN subscription_event s USING (subscription) JOIN notified_event e USING (event_id)"
            " WHERE c.subscription = %s AND (s.number IS NULL OR s.number > c.delivered)",
            (subscription,),
        )
        return {row[0] for row in await cursor.fetchall()}


async def count_channels(pool: Pool) -> int:
    """How many Subscriptions there are, those that are off included."""
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM subscription_channel")
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def collecting(pool: Pool, topics: Sequence[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Subscription, topic and filters of every channel that collects events of these topics."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT subscription, topic, filters FROM subscription_channel WHERE collects AND topic = ANY(%s)",
            (list(topics),),
        )
        return [(row[0], row[1], tuple(row[2])) for row in await cursor.fetchall()]


async def events_between(
    pool: Pool, subscription: str, first: int, last: int, limit: int
) -> list[NotifiedEvent]:
    """Events of a Subscription by number, both ends included, at most `limit`; those that are no longer kept are
    missing."""
    async with pool.connection() as connection:
        cursor = await connection.execute(EVENTS, (subscription, first, last, limit))
        return [notified_event(row) for row in await cursor.fetchall()]


def put_channel(
    changes: ChangeSet,
    subscription: str,
    channel: Channel,
    status: SubscriptionStatus,
    owner: str | None,
    secret: bytes,
) -> None:
    """Write the channel with the Subscription; owner, secret, numbers and events of a known one stay.

    A status that a client (again) asks for begins anew with a handshake, at once.
    """
    changes.statement(
        _PUT_CHANNEL,
        {
            "subscription": subscription,
            "topic": channel.topic.url,
            "filters": list(channel.filters),
            "endpoint": channel.endpoint,
            "headers": msgspec.json.encode(channel.headers).decode(),
            "content": channel.content,
            "heartbeat": channel.heartbeat_seconds,
            "timeout": channel.timeout_seconds,
            "most": channel.events_per_notification,
            "end": channel.end,
            "owner": owner,
            "secret": secret,
            "status": status,
        },
    )


def remove_channel(changes: ChangeSet, subscription: str) -> None:
    """Forget the channel and its events, if there is one."""
    changes.statement("DELETE FROM subscription_channel WHERE subscription = %s", (subscription,))


def put_secret(changes: ChangeSet, subscription: str, secret: bytes) -> None:
    """Sign with another secret from now on."""
    changes.statement(
        "UPDATE subscription_channel SET secret = %s WHERE subscription = %s", (secret, subscription)
    )


def put_event(changes: ChangeSet, event: Event, subscriptions: Sequence[str], *, with_body: bool) -> None:
    """Note an event for these Subscriptions, as far as they still collect when this is committed."""
    changes.statement(
        _PUT_EVENT,
        {
            "event": event.id,
            "type": event.resource_type,
            "id": event.resource_id,
            "version": event.version,
            "interaction": event.interaction,
            "time": event.time,
            "body": event.body.decode() if with_body and event.body is not None else None,
            "subscriptions": sorted(subscriptions),
        },
    )


def stored_channel(row: Sequence[Any]) -> StoredChannel:
    """A row of `COLUMNS`."""
    values = dict(zip(_FIELDS, row, strict=True))
    headers = cast("list[list[str]]", values["headers"])
    values |= {
        "filters": tuple(values["filters"]),
        "headers": tuple((name, value) for name, value in headers),
        "secret": bytes(values["secret"]),
    }
    return StoredChannel(**values)


def notified_event(row: Sequence[Any]) -> NotifiedEvent:
    """A row of `EVENTS`."""
    number, resource_type, id, version, occurred_at, interaction, body = row
    resource = StoredResource(
        resource_type, id, version, occurred_at, interaction, body.encode() if body is not None else None
    )
    return NotifiedEvent(number, resource)


EVENTS: Final[LiteralString] = """
SELECT s.number, e.resource_type, e.resource_id, e.version, e.occurred_at, e.interaction, coalesce(e.body, v.body)
FROM subscription_event s JOIN notified_event e USING (event_id)
LEFT JOIN resource_version v
  ON (v.resource_type, v.id, v.version) = (e.resource_type, e.resource_id, e.version)
WHERE s.subscription = %s AND s.number BETWEEN %s AND %s
ORDER BY s.number LIMIT %s
"""

_PUT_CHANNEL: Final[LiteralString] = """
INSERT INTO subscription_channel AS known (
    subscription, topic, filters, endpoint, headers, content, heartbeat_seconds, timeout_seconds,
    events_per_notification, ends_at, owner, secret, status, collects)
VALUES (%(subscription)s, %(topic)s, %(filters)s, %(endpoint)s, %(headers)s::jsonb, %(content)s, %(heartbeat)s,
        %(timeout)s, %(most)s, %(end)s, %(owner)s, %(secret)s, %(status)s, %(status)s <> 'off')
ON CONFLICT (subscription) DO UPDATE
SET topic = excluded.topic, filters = excluded.filters, endpoint = excluded.endpoint, headers = excluded.headers,
    content = excluded.content, heartbeat_seconds = excluded.heartbeat_seconds,
    timeout_seconds = excluded.timeout_seconds, events_per_notification = excluded.events_per_notification,
    ends_at = excluded.ends_at, status = excluded.status, collects = excluded.collects,
    verified = known.verified AND excluded.status <> 'requested',
    attempts = CASE WHEN excluded.status = 'requested' THEN 0 ELSE known.attempts END,
    failing_since = CASE WHEN excluded.status = 'requested' THEN NULL ELSE known.failing_since END,
    due_at = CASE WHEN excluded.status = 'requested' THEN NULL ELSE known.due_at END,
    last_error = CASE WHEN excluded.status = 'requested' THEN NULL ELSE known.last_error END
"""

_PUT_EVENT: Final[LiteralString] = """
WITH wanting AS (
    -- Locked against deletion until this commit; one that is gone already wants nothing.
    SELECT subscription FROM subscription_channel
    WHERE subscription = ANY(%(subscriptions)s::text[]) AND collects ORDER BY subscription FOR KEY SHARE
), noted AS (
    INSERT INTO notified_event (event_id, resource_type, resource_id, version, interaction, occurred_at, body)
    SELECT %(event)s::uuid, %(type)s, %(id)s, %(version)s, %(interaction)s, %(time)s, %(body)s
    WHERE EXISTS (SELECT FROM wanting)
)
INSERT INTO subscription_event (subscription, event_id) SELECT subscription, %(event)s::uuid FROM wanting
"""
