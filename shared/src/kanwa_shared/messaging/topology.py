"""Every exchange, queue and binding: nobody else names one.

| name | kind | what crosses it |
|---|---|---|
| `kanwa.events` | topic | events with the resource, routing key `<service>.<ResourceType>.<interaction>` |
| `kanwa.notifications` | topic | the same without the resource, for dashboards outside the trust zone |
| `kanwa.handover` | direct | resources for their owner, routing key = the owner |
| `kanwa.<consumer>.redelivery` | direct | keys `again`, `dead`, `<milliseconds>`: between its own queues |
| `kanwa.<consumer>` | quorum queue | what the consumer works on, one active consumer at a time |
| `kanwa.<consumer>.retry.<milliseconds>` | quorum queue | waits that long, then goes `again` |
| `kanwa.<consumer>.dead` | quorum queue | given up: a copy of the `dead_letter` row |

`declare` needs configure rights and is meant for one admin job; services only `check`. A single active
consumer keeps deliveries in order with several workers up: one works, another takes over when it goes. The
delay is part of a retry queue's name since the arguments of a queue can't change. `x-delivery-limit` is a net
under a worker that dies on a message again and again; attempts are counted in `delivery_attempt`.
Within RabbitMQ 3.10 to 4.x: only durable quorum queues, no global qos, no plugin.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

from kanwa_shared.messaging.broker import HeaderValue

AGAIN: Final = "again"
DEAD: Final = "dead"
#: Far above what restarts of a healthy worker can add up to.
DELIVERY_LIMIT: Final = 50
#: RabbitMQ 4 sets 20 where nothing is said, and takes each look at a dead letter for a delivery.
LOOKS_LIMIT: Final = 1_000_000
DEFAULT_DELAYS_SECONDS: Final = (1.0, 5.0, 30.0, 120.0)

_QUORUM: Final[dict[str, HeaderValue]] = {"x-queue-type": "quorum"}


class Declares(Protocol):
    """The part of `amqp.Channel` that a topology needs."""

    async def declare_exchange(self, name: str, kind: str, *, passive: bool = False) -> None:
        """Create or check an exchange."""
        ...

    async def declare_queue(
        self, name: str, arguments: dict[str, HeaderValue] | None = None, *, passive: bool = False
    ) -> int:
        """Create or check a queue; returns the number of ready messages."""
        ...

    async def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        """Bind a queue."""
        ...


@dataclass(frozen=True, slots=True)
class Binding:
    """A consumer and the routing keys it wants, as topic patterns (`*` one word, `#` any number).

    `takes_hand_overs`: it owns types, so others may hand resources over to it.
    """

    consumer: str
    patterns: tuple[str, ...]
    takes_hand_overs: bool = False

    def wants(self, routing_key: str) -> bool:
        """Whether an event with this routing key reaches the consumer."""
        return any(matches(pattern, routing_key) for pattern in self.patterns)


@dataclass(frozen=True)
class Topology:
    """The whole of it; `prefix` keeps several installations (or tests) apart in one virtual host."""

    bindings: Sequence[Binding]
    prefix: str = "kanwa"
    delays_seconds: tuple[float, ...] = DEFAULT_DELAYS_SECONDS

    @property
    def events(self) -> str:
        """The exchange for events with their resource."""
        return f"{self.prefix}.events"

    @property
    def notifications(self) -> str:
        """The exchange for events without their resource."""
        return f"{self.prefix}.notifications"

    @property
    def handover(self) -> str:
        """The exchange for resources on the way to their owner."""
        return f"{self.prefix}.handover"

    def queue(self, consumer: str) -> str:
        """The queue that `consumer` works on."""
        return f"{self.prefix}.{consumer}"

    def redelivery(self, consumer: str) -> str:
        """The exchange between the queues of `consumer`."""
        return f"{self.prefix}.{consumer}.redelivery"

    def dead_queue(self, consumer: str) -> str:
        """The queue with what `consumer` gave up."""
        return f"{self.prefix}.{consumer}.dead"

    @staticmethod
    def delay_key(delay_seconds: float) -> str:
        """The routing key of the retry queue with this delay: whole milliseconds."""
        return str(round(delay_seconds * 1000))

    @cached_property
    def delay_keys(self) -> tuple[str, ...]:
        """One routing key per different delay."""
        return tuple(dict.fromkeys(self.delay_key(delay) for delay in self.delays_seconds))

    def expects(self, routing_key: str) -> bool:
        """Whether a kanwa consumer wants this event: if no queue takes it, something is missing."""
        return any(binding.wants(routing_key) for binding in self.bindings)

    def queues(self, consumer: str) -> tuple[str, ...]:
        """All queues of `consumer`."""
        retry = tuple(f"{self.queue(consumer)}.retry.{key}" for key in self.delay_keys)
        return (self.queue(consumer), self.dead_queue(consumer), *retry)

    def exchanges(self) -> dict[str, str]:
        """All exchanges with their kinds."""
        own = {self.redelivery(binding.consumer): "direct" for binding in self.bindings}
        return {self.events: "topic", self.notifications: "topic", self.handover: "direct", **own}

    async def declare(self, channel: Declares) -> None:
        """Create what is missing; raises AccessRefused, ConnectionLost if one has other arguments."""
        for name, kind in self.exchanges().items():
            await channel.declare_exchange(name, kind)
        for binding in self.bindings:
            await self._declare_consumer(channel, binding)

    async def check(self, channel: Declares) -> None:
        """Raise TopologyMissing unless every exchange and every consumer's queue is there.

        A relay checks too: to publish before all consumers' queues exist would be to skip those consumers.
        Bindings can't be read over AMQP; `declare` makes a queue's bindings together with it.
        """
        for name, kind in self.exchanges().items():
            await channel.declare_exchange(name, kind, passive=True)
        for binding in self.bindings:
            for queue in self.queues(binding.consumer):
                await channel.declare_queue(queue, passive=True)

    def permissions(self, user: str) -> tuple[str, str, str]:
        """Configure, write and read, the least that `rabbitmqctl set_permissions` must give a service."""
        prefix, name = re.escape(self.prefix), re.escape(user)
        write = rf"^{prefix}\.(events|notifications|handover|{name}\.redelivery)$"
        return "^$", write, rf"^{prefix}\.{name}(\.dead)?$"

    async def _declare_consumer(self, channel: Declares, binding: Binding) -> None:
        queue, redelivery = self.queue(binding.consumer), self.redelivery(binding.consumer)
        dead = self.dead_queue(binding.consumer)
        # Bind first what others fall back on: a message that is given up must find its way.
        await channel.declare_queue(dead, _QUORUM | {"x-delivery-limit": LOOKS_LIMIT})
        await channel.bind(dead, redelivery, DEAD)
        limits: dict[str, HeaderValue] = {
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-single-active-consumer": True,
        }
        await channel.declare_queue(queue, _dead_lettering(redelivery, DEAD) | limits)
        await channel.bind(queue, redelivery, AGAIN)
        for key in self.delay_keys:
            retry = f"{queue}.retry.{key}"
            await channel.declare_queue(
                retry, _dead_lettering(redelivery, AGAIN) | {"x-message-ttl": int(key)}
            )
            await channel.bind(retry, redelivery, key)
        for pattern in binding.patterns:
            await channel.bind(queue, self.events, pattern)
        if binding.takes_hand_overs:
            await channel.bind(queue, self.handover, binding.consumer)


def matches(pattern: str, routing_key: str) -> bool:
    """AMQP topic matching: words between dots, `*` for one word, `#` for any number of words."""
    return _matches(pattern.split("."), routing_key.split("."))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_matches(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and _matches(rest, words[1:])


def _dead_lettering(exchange: str, routing_key: str) -> dict[str, HeaderValue]:
    return dict(_QUORUM) | {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-routing-key": routing_key,
        # Without these two, a move between queues is at most once and a broker crash can lose the message.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
