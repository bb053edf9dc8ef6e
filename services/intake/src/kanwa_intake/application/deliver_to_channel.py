"""What waits for one Subscription goes to its endpoint, in order; what becomes of it is written down."""

import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import structlog
from psycopg import AsyncConnection

from kanwa_intake.application.notification_metrics import NOTIFICATIONS
from kanwa_intake.application.webhook import Endpoint, endpoint_of
from kanwa_intake.domain.notifications import NotificationType, NotifiedEvent, notification
from kanwa_intake.domain.subscription_states import SubscriptionCommand, after
from kanwa_intake.settings import IntakeSettings
from kanwa_intake.store import notification_queue as queue
from kanwa_intake.store.subscriptions import StoredChannel, events_between
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.engine import Engine, Origin
from kanwa_shared.rest.service import Context
from kanwa_shared.security.outbound import Resolve

_log = structlog.get_logger(__name__)

#: After so many in a row another channel gets its turn, and this one's settings are read anew.
NOTIFICATIONS_PER_TURN: Final = 50
#: Failures in a row that make `active` into `error`; a restart of the endpoint is not worth a version.
FAILURES_UNTIL_ERROR: Final = 3
_LAST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Sending:
    """What the delivery needs: the lease's connection, and what tests replace."""

    engine: Engine
    settings: IntakeSettings
    connection: AsyncConnection[Any]
    context: ssl.SSLContext
    clock: Callable[[], datetime]
    resolver: Resolve


async def deliver(channel: StoredChannel, sending: Sending) -> None:
    """Send what is due: a handshake, events, else a heartbeat. Returns at the first failure, with the next attempt set.

    Raises psycopg.Error when the database goes; then what was sent may be sent again, with the same numbers.
    """
    if channel.ends_at is not None and channel.ends_at <= sending.clock():
        await _change_status(channel, "stop", "its end was reached", sending)
        return
    policy = sending.settings.subscription_targets
    async with endpoint_of(channel, policy, sending.context, sending.resolver) as endpoint:
        if not channel.verified and not await _send(channel, endpoint, "handshake", (), sending):
            return
        sent = await _send_events(channel, endpoint, sending)
        if not sent and channel.verified:
            await _send(channel, endpoint, "heartbeat", (), sending)


async def _send_events(channel: StoredChannel, endpoint: Endpoint, sending: Sending) -> bool:
    """Send what waits, for one turn; False if nothing waited."""
    delivered = channel.delivered
    for _ in range(NOTIFICATIONS_PER_TURN):
        events = await events_between(
            sending.engine.store.pool,
            channel.subscription,
            delivered + 1,
            _LAST,
            channel.events_per_notification,
        )
        if not events:
            break
        if not await _send(channel, endpoint, "event-notification", events, sending):
            return True
        delivered = events[-1].number
    if delivered == channel.delivered and channel.last_number > delivered:
        await queue.skip_to(sending.connection, channel)
        return True
    return delivered > channel.delivered


async def _send(
    channel: StoredChannel,
    endpoint: Endpoint,
    kind: NotificationType,
    events: Sequence[NotifiedEvent],
    sending: Sending,
) -> bool:
    """Send one notification; whether the next may follow."""
    now = sending.clock()
    body = notification(
        replace(channel.state, events=max(channel.last_number, events[-1].number if events else 0)),
        kind,
        events,
        base_url=sending.settings.base_url.rstrip("/"),
        now=now,
    )
    reason = await endpoint.post(_message_id(channel, kind, events), body, now)
    NOTIFICATIONS.labels(kind, "accepted" if reason is None else "failed").inc()
    if reason is not None:
        await _note_failure(channel, kind, reason, sending)
        return False
    going = await queue.accepted(
        sending.connection,
        channel,
        sending.clock(),
        delivered=events[-1].number if events else 0,
        handshake=kind == "handshake",
    )
    if going != "end" and channel.status != "active":
        await _change_status(channel, "accept", None, sending)
    return going == "go on"


def _message_id(channel: StoredChannel, kind: NotificationType, events: Sequence[NotifiedEvent]) -> str:
    """The same for the same events of the same channel, and for nothing else."""
    if not events:
        return f"{channel.life.hex}_{kind}_{uuid4().hex}"
    return f"{channel.life.hex}_{events[0].number}-{events[-1].number}"


async def _note_failure(
    channel: StoredChannel, kind: NotificationType, reason: str, sending: Sending
) -> None:
    now = sending.clock()
    # Jitter, not a secret: many channels of one endpoint must not all come back at one moment.
    jitter = random.uniform(0.8, 1.2)  # noqa: S311
    pause = queue.retry_pause(channel.attempts, sending.settings.subscription_retry_seconds_max, jitter)
    _log.warning(
        "notification_not_accepted",
        subscription=channel.subscription,
        kind=kind,
        reason=reason,
        attempts=channel.attempts + 1,
    )
    await queue.failed(sending.connection, channel, reason, now, now + pause)
    since = channel.failing_since or now
    if now - since >= timedelta(hours=sending.settings.subscription_give_up_hours):
        await _change_status(
            channel, "give-up", f"given up after failing since {since.isoformat()}: {reason}", sending
        )
    elif kind == "handshake" or channel.attempts + 1 >= FAILURES_UNTIL_ERROR:
        await _change_status(channel, "fail", reason, sending)


async def _change_status(
    channel: StoredChannel, command: SubscriptionCommand, error: str | None, sending: Sending
) -> None:
    """Write the Subscription and its channel as the command leaves them, in one commit; nothing if nothing changes."""

    async def stage(context: Context) -> None:
        stored = await context.store.get("Subscription", channel.subscription)
        if stored is None or stored.deleted:
            return
        before = stored.tree
        status = after(before["status"], command)
        if status == before["status"]:
            return
        tree: Tree = {name: value for name, value in before.items() if name != "error"}
        tree["status"] = status
        if error is not None:
            tree["error"] = error
        context.changes.update(stored, tree)
        context.changes.statement(
            "UPDATE subscription_channel SET status = %s, collects = collects AND %s WHERE subscription = %s",
            (status, command != "stop", channel.subscription),
        )
        _log.info("subscription_status", subscription=channel.subscription, status=status)

    origin = Origin(caller=f"kanwa-{sending.engine.definition.name}")
    await sending.engine.perform(origin, stage)
