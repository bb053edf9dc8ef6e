"""Dead letters back into their consumer's queue; `attempts.py` keeps the letters themselves."""

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


async def discard_copy(channel: Channel, topology: Topology, letter: DeadLetter) -> bool:
    """Remove the letter's copy from the dead-letter queue; whether it was there.

    Takes what is in the queue now, unsettled, keeps the match and gives the rest back.
    """
    queue = topology.dead_queue(letter.consumer)
    found, others = False, list[int]()
    for _ in range(await channel.declare_queue(queue, passive=True)):
        delivery = await channel.get(queue)
        if delivery is None:
            break
        if delivery.message_id == letter.event_id:
            channel.ack(delivery.tag)
            found = True
        else:
            others.append(delivery.tag)
    for tag in others:
        channel.requeue(tag)
    return found
