"""A consumer of its own queue that writes down what it receives, speaking to the broker by itself."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from tests.chaos.evidence import Seen

QUEUE = "chaos.probe"
HAND_OVERS = "chaos.hand-overs"
QUORUM = {"x-queue-type": "quorum"}
PREFETCH = 50
RETRY_SECONDS = 0.3
PATIENCE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message as it was delivered, so that it can be sent again."""

    routing_key: str
    properties: Any
    body: bytes


def seen(body: bytes | str) -> Seen:
    """A CloudEvent as the checker takes it; numbers keep their text."""
    event = json.loads(body, parse_float=str)
    resource, _, version = event["subject"].partition("/_history/")
    return Seen(
        event["id"], event["source"], int(event["sequence"]), resource, int(version), event.get("data")
    )


class Probe:
    """Records every delivery, duplicates too, in the order in which they came. Runs in a thread of its own."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self.events: list[Recorded] = []
        self.hand_overs: list[Recorded] = []

    def start(self, owners: list[str]) -> None:
        """Declare the queues, so that nothing is missed from here on, and begin to consume."""
        with channel_to(self._urls) as channel:
            channel.queue_declare(QUEUE, durable=True, arguments=QUORUM)
            channel.queue_bind(QUEUE, "kanwa.events", "#")
            channel.queue_declare(HAND_OVERS, durable=True, arguments=QUORUM)
            for owner in owners:
                channel.queue_bind(HAND_OVERS, "kanwa.handover", owner)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def seen(self) -> list[Seen]:
        """All events so far."""
        return [seen(recorded.body) for recorded in list(self.events)]

    def _run(self) -> None:
        while not self._stop.is_set():
            with (
                suppress(AMQPError, OSError),
                channel_to(self._urls, patience_seconds=RETRY_SECONDS) as channel,
            ):
                channel.basic_qos(prefetch_count=PREFETCH)
                channel.basic_consume(QUEUE, self._record(self.events))
                channel.basic_consume(HAND_OVERS, self._record(self.hand_overs))
                while not self._stop.is_set():
                    channel.connection.process_data_events(time_limit=0.2)
            self._stop.wait(RETRY_SECONDS)

    @staticmethod
    def _record(into: list[Recorded]) -> Callable[..., None]:
        def take(channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
            into.append(Recorded(method.routing_key, properties, body))
            channel.basic_ack(method.delivery_tag)

        return take


@contextmanager
def channel_to(urls: list[str], *, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[BlockingChannel]:
    """A channel with confirms to the first node that answers. Blocks; raises what pika raises."""
    connection = _connect(urls, time.monotonic() + patience_seconds)
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
    finally:
        with suppress(AMQPError, OSError):
            connection.close()


def _connect(urls: list[str], deadline: float) -> pika.BlockingConnection:
    while True:
        for url in urls:
            parameters = pika.URLParameters(url)
            parameters.heartbeat = 10
            parameters.socket_timeout = parameters.stack_timeout = 5.0
            parameters.blocked_connection_timeout = 10.0
            with suppress(AMQPError, OSError):
                return pika.BlockingConnection(parameters)
        if time.monotonic() > deadline:
            raise AMQPError(f"no node answers: {[urlsplit(url).port for url in urls]}")
        time.sleep(RETRY_SECONDS)
