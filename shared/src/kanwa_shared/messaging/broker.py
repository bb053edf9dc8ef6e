"""The broker in words that do not depend on its client library: messages, deliveries, what can go wrong."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

HeaderValue = str | int | bool


class BrokerError(Exception):
    """Something between us and the broker; the message says what."""


class ConnectionLost(BrokerError):
    """The connection or channel is gone, or never was; what is unconfirmed may or may not have arrived."""


class TopologyMissing(BrokerError):
    """An exchange or queue that must exist does not; the admin job that declares the topology has not run."""


class AccessRefused(BrokerError):
    """The broker's user lacks a right."""


class PublishFailed(BrokerError):
    """The broker did not take one message; others on the same channel are not affected."""


class Unroutable(PublishFailed):
    """A mandatory message matched no queue."""


class Nacked(PublishFailed):
    """A queue that the message matched did not accept it."""


class TooLarge(PublishFailed):
    """The message is larger than the broker takes; sending it would cost us the channel."""


#: Called once with None when the broker has taken a message, or with what went wrong.
Settled = Callable[[BrokerError | None], None]


@dataclass(slots=True)
class Message:
    """One message to publish, always persistent; not to be changed (frozen would cost the relay 4 us each).

    With `mandatory`, matching no queue is a failure; without, it is a success. `message_id` is the event id.
    """

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    type: str = ""
    content_type: str = "application/cloudevents+json"
    mandatory: bool = True
    headers: Mapping[str, HeaderValue] = field(default_factory=dict[str, HeaderValue])


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as the broker hands it to a consumer; settle it by `tag` on the channel it came from."""

    tag: int
    body: bytes
    redelivered: bool
    message_id: str
    type: str
    headers: Mapping[str, HeaderValue]


class Backoff:
    """Growing pauses with full jitter, so that many clients do not come back at one moment.

    `next()` gives seconds in (0, min(cap, base * 2^n)]; `reset()` after a success.
    """

    def __init__(self, base_seconds: float = 0.1, cap_seconds: float = 15.0):
        self._base = base_seconds
        self._cap = cap_seconds
        self._failures = 0

    def next(self) -> float:
        """The next pause in seconds."""
        ceiling = min(self._cap, self._base * 2 ** min(self._failures, 16))
        self._failures += 1
        # A floor keeps a run of unlucky draws from becoming a busy loop.
        return max(self._base / 4, random.uniform(0, ceiling))  # noqa: S311 - jitter, not a secret

    def reset(self) -> None:
        """Start again with the shortest pause."""
        self._failures = 0
