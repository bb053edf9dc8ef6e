"""AMQP 0-9-1 through pika's asyncio adapter, in async/await. With `pika_adapter.py` the only one that imports pika.

A `Connection` lives once: when it is lost, its owner opens another (see `publisher.py`, `consumer.py`).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import pika
from pika import frame, spec
from pika.channel import Channel as PikaChannel
from pika.exceptions import AMQPError

from kanwa_shared.messaging.broker import (
    BrokerError,
    ConnectionLost,
    Delivery,
    HeaderValue,
    Message,
    Nacked,
    Settled,
    TooLarge,
    TopologyMissing,
    Unroutable,
)
from kanwa_shared.messaging.pika_adapter import (
    CoalescingConnection,
    EncodedOnce,
    broker_error,
    delivery_of,
    parameters_of,
    properties_of,
)
from kanwa_shared.timed_wait import set_within

#: A silent peer is noticed after two of these.
HEARTBEAT_SECONDS: Final = 15
#: TCP, TLS, AMQP handshake together; a broker that is slower is as good as down.
OPEN_TIMEOUT_SECONDS: Final = 15.0
CLOSE_TIMEOUT_SECONDS: Final = 5.0
#: RabbitMQ 4's default limit; 3.x takes more.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024


class Connection:
    """One AMQP connection; `lost` is set when it ends, whoever ended it, and `reason` says why."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.lost = asyncio.Event()
        self.reason: BrokerError | None = None
        self.blocked = False
        self._opened: asyncio.Future[None] = loop.create_future()
        self._pika: Any = None  # pika's own annotations are incomplete

    @classmethod
    async def open(cls, url: str, *, name: str, heartbeat_seconds: int = HEARTBEAT_SECONDS) -> "Connection":
        """Connect to `url` (amqp:// or amqps://); `name` is shown in the broker's list of connections.

        Raises ConnectionLost if the broker does not answer, AccessRefused if it refuses the login.
        """
        connection = cls(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
                connection._start(parameters_of(url, name, heartbeat_seconds))
                await connection._opened
        except (TimeoutError, OSError, AMQPError) as error:
            connection.abort()
            raise ConnectionLost(f"no connection to the broker: {error!r}") from error
        except asyncio.CancelledError:
            connection.abort()
            raise
        return connection

    async def channel(self, *, confirms: bool = False) -> "Channel":
        """Open a channel, with publisher confirms if asked; raises ConnectionLost."""
        if self._pika is None or self.lost.is_set():
            raise self.reason or ConnectionLost("not connected")
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_open(_: PikaChannel) -> None:
            _resolve(opened, None)

        try:
            channel = Channel(self._pika.channel(on_open_callback=on_open))
        except AMQPError as error:
            raise ConnectionLost(repr(error)) from error
        await channel.until(opened)
        if confirms:
            await channel.use_confirms()
        return channel

    async def close(self) -> None:
        """Close channels and connection in order; a broker that does not answer is left behind."""
        if self._pika is not None and self._pika.is_open:
            with suppress(AMQPError):
                self._pika.close()
        if self._pika is not None and not self.lost.is_set():
            await set_within(self.lost, CLOSE_TIMEOUT_SECONDS)
        self.abort()

    def abort(self) -> None:
        """Let go of the socket at once, without a word to the broker."""
        if self._pika is not None and not self._pika.is_closed:
            # pika has no public way to drop a connection that hangs while it closes.
            self._pika._terminate_stream(ConnectionLost("aborted"))
        self._end(ConnectionLost("aborted"))

    def _start(self, parameters: pika.URLParameters) -> None:
        def opened(_: Any) -> None:
            _resolve(self._opened, None)

        def ended(_: Any, error: BaseException) -> None:
            self._end(broker_error(error))

        self._pika = CoalescingConnection(
            parameters, on_open_callback=opened, on_open_error_callback=ended, on_close_callback=ended
        )
        self._pika.add_on_connection_blocked_callback(self._on_blocked)
        self._pika.add_on_connection_unblocked_callback(self._on_unblocked)

    def _on_blocked(self, *_: Any) -> None:
        self.blocked = True

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked = False

    def _end(self, reason: BrokerError) -> None:
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()
        _fail(self._opened, reason)


class Channel:
    """One AMQP channel. Publishing gives a future per message, so many confirms can be outstanding."""

    def __init__(self, channel: Any) -> None:
        self.closed = asyncio.Event()
        self.reason: BrokerError | None = None
        self._pika = channel
        self._calls: set[asyncio.Future[Any]] = set()
        self._unconfirmed: dict[int, tuple[Message, Settled]] = {}
        self._returned: dict[str, str] = {}
        self._last_properties: tuple[object, EncodedOnce] | None = None
        self._last_tag = 0
        self._oldest_tag = 1
        channel.add_on_close_callback(self._on_close)

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Send `message`; the future is done when the broker has taken it. See `send`."""
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(error: BrokerError | None) -> None:
            if error is None:
                _resolve(confirmed, None)
            else:
                _fail(confirmed, error)

        self.send(message, settled)
        return confirmed

    def send(self, message: Message, settled: Settled) -> None:
        """Send `message`; `settled` is called when the broker has taken it (a quorum has it on disk) or not.

        The error is Unroutable, Nacked, TooLarge or ConnectionLost, and may come at once. Messages of one channel
        reach a queue in the order in which they are sent.
        """
        if len(message.body) > MAX_MESSAGE_BYTES:
            settled(TooLarge(f"{len(message.body)} bytes, at most {MAX_MESSAGE_BYTES}"))
            return
        if self.closed.is_set():
            settled(self.reason or ConnectionLost("channel closed"))
            return
        try:
            self._pika.basic_publish(
                message.exchange,
                message.routing_key,
                message.body,
                self._properties(message),
                message.mandatory,
            )
        except AMQPError as error:
            settled(ConnectionLost(repr(error)))
            return
        self._last_tag += 1
        self._unconfirmed[self._last_tag] = (message, settled)

    async def use_confirms(self) -> None:
        """Let the broker confirm every message from here on."""
        self._pika.add_on_return_callback(self._on_return)
        await self._call(lambda done: self._pika.confirm_delivery(self._on_confirm, callback=done))

    async def declare_exchange(self, name: str, kind: str, *, passive: bool = False) -> None:
        """Create a durable exchange, or only check that it is there (TopologyMissing)."""
        await self._call(
            lambda done: self._pika.exchange_declare(name, kind, passive=passive, durable=True, callback=done)
        )

    async def declare_queue(
        self, name: str, arguments: dict[str, HeaderValue] | None = None, *, passive: bool = False
    ) -> int:
        """Create a durable queue, or only check that it is there; returns how many messages are ready."""
        answer = await self._call(
            lambda done: self._pika.queue_declare(
                name, passive=passive, durable=True, arguments=arguments, callback=done
            )
        )
        return cast(int, answer.method.message_count)

    async def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        """Let `exchange` put into `queue` what matches `routing_key`."""
        await self._call(lambda done: self._pika.queue_bind(queue, exchange, routing_key, callback=done))

    async def consume(self, queue: str, on_delivery: Callable[[Delivery], None], *, prefetch: int) -> None:
        """Receive from `queue`, at most `prefetch` unsettled at once, until the connection ends.

        If the broker cancels (the queue was deleted), the channel counts as closed.
        """
        await self._call(lambda done: self._pika.basic_qos(prefetch_count=prefetch, callback=done))

        def cancelled(_: Any) -> None:
            self._end(TopologyMissing(f"the broker cancelled {queue}"))

        def receive(_: PikaChannel, method: Any, properties: spec.BasicProperties, body: bytes) -> None:
            on_delivery(delivery_of(method, properties, body))

        self._pika.add_on_cancel_callback(cancelled)
        await self._call(lambda done: self._pika.basic_consume(queue, receive, callback=done))

    async def flush(self) -> None:
        """Return when the broker has processed what was sent on this channel, acknowledgements too."""
        await self._call(lambda done: self._pika.basic_qos(prefetch_count=1, callback=done))

    async def get(self, queue: str) -> Delivery | None:
        """Take one message, unsettled; None if the queue is empty."""
        answer: asyncio.Future[Delivery | None] = asyncio.get_running_loop().create_future()

        def received(_: PikaChannel, method: Any, properties: spec.BasicProperties, body: bytes) -> None:
            _resolve(answer, delivery_of(method, properties, body))

        def empty(_: Any) -> None:
            _resolve(answer, None)

        self._pika.add_callback(empty, [spec.Basic.GetEmpty], one_shot=True)
        self._pika.basic_get(queue, received)
        return await self.until(answer)

    def ack(self, tag: int) -> None:
        """The delivery is settled for good; on a closed channel nothing happens, it will come again."""
        with suppress(AMQPError):
            self._pika.basic_ack(tag)

    def requeue(self, tag: int) -> None:
        """Give the delivery back to its queue."""
        with suppress(AMQPError):
            self._pika.basic_nack(tag, requeue=True)

    async def until(self, answer: "asyncio.Future[Any]") -> Any:
        """Await the broker's answer; raises what closed the channel if none can come any more."""
        if self.closed.is_set():
            raise self.reason or ConnectionLost("channel closed")
        self._calls.add(answer)
        try:
            return await answer
        finally:
            self._calls.discard(answer)

    def _properties(self, message: Message) -> EncodedOnce:
        """An event goes to two exchanges, one right after the other, with the same properties."""
        same = (message.message_id, message.type, message.content_type, message.headers)
        if self._last_properties is None or self._last_properties[0] != same:
            self._last_properties = (same, properties_of(message))
        return self._last_properties[1]

    async def _call(self, start: Callable[[Callable[[Any], None]], object]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            start(lambda method_frame: _resolve(answer, method_frame))
        except AMQPError as error:
            raise self.reason or ConnectionLost(repr(error)) from error
        return await self.until(answer)

    def _on_confirm(self, method_frame: "frame.Method[Any]") -> None:
        method: Any = method_frame.method
        nacked = isinstance(method, spec.Basic.Nack)
        tag: int = method.delivery_tag
        if not method.multiple:
            self._settle(tag, nacked)
            return
        for waiting in range(self._oldest_tag, tag + 1):
            self._settle(waiting, nacked)
        self._oldest_tag = tag + 1

    def _settle(self, tag: int, nacked: bool) -> None:
        message, settled = self._unconfirmed.pop(tag, (None, None))
        if message is None or settled is None:
            return
        # The broker returns a message before it confirms it.
        returned = self._returned.pop(_return_key(message), None) if self._returned else None
        if nacked:
            settled(Nacked(f"{message.exchange} {message.routing_key}: not accepted"))
        elif returned is not None and message.mandatory:
            settled(Unroutable(f"{message.exchange} {message.routing_key}: {returned}"))
        else:
            settled(None)

    def _on_return(self, _: PikaChannel, method: Any, properties: spec.BasicProperties, _body: bytes) -> None:
        key = f"{method.exchange} {method.routing_key} {properties.message_id}"
        self._returned[key] = str(method.reply_text)

    def _on_close(self, _: PikaChannel, error: BaseException) -> None:
        self._end(broker_error(error))

    def _end(self, reason: BrokerError) -> None:
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        for call in list(self._calls):
            _fail(call, reason)
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for _, settled in unconfirmed.values():
            settled(ConnectionLost(f"unconfirmed: {reason}"))


def _return_key(message: Message) -> str:
    return f"{message.exchange} {message.routing_key} {message.message_id}"


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BrokerError) -> None:
    if not future.done():
        future.set_exception(error)
