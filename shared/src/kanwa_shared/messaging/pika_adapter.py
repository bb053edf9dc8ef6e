"""pika in our words, and with less to do: what is written in one turn of the event loop leaves in one send, and
properties are encoded once.

By itself pika hands every frame to the socket, three for each message: a third of a relay's CPU went into these calls.
"""

import asyncio
from typing import Any, Final, cast

import pika
from pika import spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from kanwa_shared.messaging.broker import (
    AccessRefused,
    BrokerError,
    ConnectionLost,
    Delivery,
    HeaderValue,
    Message,
    TopologyMissing,
)

#: How long the broker may refuse publishes (memory or disk alarm) before the connection is opened anew.
BLOCKED_TIMEOUT_SECONDS: Final = 300

_PERSISTENT: Final = 2
_NOT_FOUND: Final = 404
_ACCESS_REFUSED: Final = 403


# pika's annotations are incomplete, and it has no public place between its frames and its transport.
_PikaConnection: Any = AsyncioConnection
_PikaProperties: Any = spec.BasicProperties


class CoalescingConnection(_PikaConnection):
    """Gathers frames until the loop's next turn; their order and everything else is pika's."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._gathered: list[bytes] = []
        _PikaConnection.__init__(self, *arguments, **named)

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._emit_gathered)
        self._gathered.append(data)

    def _emit_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        # The transport may be gone by now; then its end was told already.
        if self._transport is not None:
            _PikaConnection._adapter_emit_data(self, b"".join(gathered))


class EncodedOnce(_PikaProperties):
    """Properties whose bytes are made once, however many messages carry them; not to be changed."""

    _pieces: tuple[bytes, ...] = ()

    def encode(self) -> list[bytes]:
        """The pieces of the header frame, in a list of the caller's own."""
        if not self._pieces:
            self._pieces = tuple(_PikaProperties.encode(self))
        return list(self._pieces)


def parameters_of(url: str, name: str, heartbeat_seconds: int) -> pika.URLParameters:
    """pika's parameters for `url`; `name` is shown by the broker. The heartbeat wins over one in the URL."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = heartbeat_seconds
    parameters.blocked_connection_timeout = BLOCKED_TIMEOUT_SECONDS
    parameters.connection_attempts = 1  # the owner retries, with growing pauses
    parameters.client_properties = {"connection_name": name, "product": "kanwa"}
    return parameters


def properties_of(message: Message) -> EncodedOnce:
    """The message's properties; always persistent."""
    return EncodedOnce(
        content_type=message.content_type,
        delivery_mode=_PERSISTENT,
        message_id=message.message_id,
        type=message.type,
        headers=dict(message.headers) if message.headers else None,
    )


def delivery_of(method: Any, properties: spec.BasicProperties, body: bytes) -> Delivery:
    """What a consumer gets, in our words."""
    headers = cast("dict[str, HeaderValue]", properties.headers or {})
    return Delivery(
        tag=method.delivery_tag,
        body=body,
        redelivered=bool(getattr(method, "redelivered", False)),
        message_id=properties.message_id or "",
        type=properties.type or "",
        headers=headers,
    )


def broker_error(error: BaseException) -> BrokerError:
    """What pika raises or tells, in our words."""
    if isinstance(error, BrokerError):
        return error
    if isinstance(error, ChannelClosedByBroker | ConnectionClosedByBroker):
        text = f"{error.reply_code} {error.reply_text}"
        if error.reply_code == _NOT_FOUND:
            return TopologyMissing(text)
        return AccessRefused(text) if error.reply_code == _ACCESS_REFUSED else ConnectionLost(text)
    return ConnectionLost(repr(error))
