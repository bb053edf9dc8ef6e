"""Envelopes as AMQP messages: which exchange, which routing key, which headers."""

from kanwa_shared.messaging.broker import HeaderValue, Message
from kanwa_shared.messaging.deliveries import Dead
from kanwa_shared.messaging.envelope import Event, HandOver
from kanwa_shared.messaging.topology import AGAIN, DEAD, Topology

#: Longest reason in a header; the whole of it is in the dead_letter row.
_REASON_LENGTH = 200


def event_message(event: Event, topology: Topology) -> Message:
    """The event with its resource, for `kanwa.events`; it must reach a queue or be accounted for."""
    return Message(
        topology.events,
        event.routing_key,
        event.to_cloudevent(),
        event.id,
        event.type,
        headers=_trace(event.traceparent),
    )


def notification_message(event: Event, topology: Topology) -> Message:
    """The event without its resource, for `kanwa.notifications`, which may have no queue."""
    return Message(
        topology.notifications,
        event.routing_key,
        event.to_cloudevent(include_resource=False),
        event.id,
        event.type,
        mandatory=False,
        headers=_trace(event.traceparent),
    )


def hand_over_message(hand_over: HandOver, topology: Topology) -> Message:
    """The resource for its owner; the owner's queue must take it."""
    return Message(
        topology.handover,
        hand_over.target,
        hand_over.to_cloudevent(),
        hand_over.id,
        hand_over.type,
        headers=_trace(hand_over.traceparent),
    )


def retry_message(
    body: bytes,
    message_id: str,
    *,
    consumer: str,
    topology: Topology,
    delay_seconds: float,
    attempts: int,
    replay: bool = False,
) -> Message:
    """The same message for `consumer` again, after `delay_seconds`, one of the topology's delays."""
    headers: dict[str, HeaderValue] = {"kanwa-attempts": attempts}
    if replay:
        headers["kanwa-replay"] = True
    key = topology.delay_key(delay_seconds)
    return Message(topology.redelivery(consumer), key, body, message_id, headers=headers)


def dead_message(body: bytes, dead: Dead, *, consumer: str, topology: Topology) -> Message:
    """What `consumer` gave up, with reason, attempts, source and trace in the headers."""
    headers: dict[str, HeaderValue] = {
        "kanwa-reason": dead.reason[:_REASON_LENGTH],
        "kanwa-attempts": dead.attempts,
    }
    if dead.source is not None:
        headers["kanwa-source"] = dead.source
    headers |= _trace(dead.traceparent)
    return Message(topology.redelivery(consumer), DEAD, body, dead.event_id, headers=headers)


def replay_message(body: bytes, message_id: str, *, consumer: str, topology: Topology) -> Message:
    """A dead letter for `consumer` once more, at once."""
    return Message(topology.redelivery(consumer), AGAIN, body, message_id, headers={"kanwa-replay": True})


def _trace(traceparent: str | None) -> dict[str, HeaderValue]:
    return {} if traceparent is None else {"traceparent": traceparent}
