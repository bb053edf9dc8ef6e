"""What an outside program sees on the exchanges, with everything that wraps a message."""

import json
from collections.abc import Iterator
from typing import Any

import pika


class Probe:
    """Queues on both exchanges, made before anything happens and read when it has."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._queues = {name: f"probe.{name}" for name in ("kanwa.events", "kanwa.notifications")}
        for exchange, queue in self._queues.items():
            self._channel.queue_declare(queue, exclusive=True)
            self._channel.queue_bind(queue, exchange, "#")

    def drain(self) -> list[list[tuple[str, dict[str, Any]]]]:
        """Of each queue: what wraps each message (routing key, properties, headers), and its body."""
        found = [list(self._messages(queue)) for queue in self._queues.values()]
        self._connection.close()
        return found

    def _messages(self, queue: str) -> Iterator[tuple[str, dict[str, Any]]]:
        while True:
            method, properties, body = self._channel.basic_get(queue, auto_ack=True)
            if method is None:
                return
            yield f"{method.routing_key} {properties!r} {properties.headers!r}", json.loads(body)
