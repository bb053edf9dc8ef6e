"""Dead letters back into their consumer's queue; `attempts.py` keeps the letters themselves."""

from collections.abc import Iterable
from typing import Any

from psycopg import AsyncConnection

from kanwa_shared.messaging.amqp import Channel
from kanwa_shared.messaging.attempts import DeadLetter, request_replay
from kanwa_shared.messaging.flight import Publishes
from kanwa_shared.messaging.topology import Topology
from kanwa_shared.messaging.wire import replay_message


async def replay(
    connection: AsyncConnection[Any], publisher: Publishes, topology: Topology, letter_id: int
) -> DeadLetter | None:
    """Deliver a dead letter once more, its attempts counted anew; None if it is unknown or resolved.

    Over the broker; with direct dispatch `attempts.request_replay` alone is enough. Marked first, so a
    letter that dies again meanwhile shows as open. Raises BrokerError if the broker does not take it: then
    it shows as replayed without effect, and asking again is right.
    """
    letter = await request_replay(connection, letter_id)
    if letter is not None:
        body = letter.envelope.encode()
        await publisher.publish(
            replay_message(body, letter.event_id, consumer=letter.consumer, topology=topology)
        )
    return letter


async def discard_copies(channel: Channel, topology: Topology, letters: Iterable[DeadLetter]) -> int:
    """Remove the letters' copies from their dead-letter queues; returns how many were there.

    Goes once through each queue, whatever the number of letters: takes what is in it now, unsettled, keeps the
    matches and gives the rest back.
    """
    wanted: dict[str, set[str]] = {}
    for letter in letters:
        wanted.setdefault(topology.dead_queue(letter.consumer), set()).add(letter.event_id)
    found = 0
    for queue, event_ids in wanted.items():
        others = list[int]()
        for _ in range(await channel.declare_queue(queue, passive=True)):
            delivery = await channel.get(queue)
            if delivery is None:
                break
            if delivery.message_id in event_ids:
                channel.ack(delivery.tag)
                found += 1
            else:
                others.append(delivery.tag)
        for tag in others:
            channel.requeue(tag)
    return found
