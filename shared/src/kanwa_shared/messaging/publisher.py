"""A connection for publishing that comes back for as long as it is wanted."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from kanwa_shared.messaging.amqp import HEARTBEAT_SECONDS, Channel, Connection
from kanwa_shared.messaging.broker import Backoff, BrokerError, ConnectionLost, Message, Settled

_log = structlog.get_logger(__name__)

Prepare = Callable[[Channel], Awaitable[None]]


class Publisher:
    """Publishes with confirms; as an async context manager it keeps itself connected in the background.

    `prepare` runs on each new connection before anything is published: `topology.check` for services,
    `topology.declare` where one process does it all. Publishing has its own connection: a broker short of
    memory stops reading from publishers, and acknowledgements must still reach it.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        prepare: Prepare | None = None,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
    ) -> None:
        self._url = url
        self._name = name
        self._prepare = prepare
        self._heartbeat = heartbeat_seconds
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay_connected(), name=f"publisher {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def ready(self) -> bool:
        """Connected, topology in place, and the broker is not refusing publishes."""
        return self._ready.is_set() and self._connection is not None and not self._connection.blocked

    @property
    def blocked(self) -> bool:
        """The broker refuses publishes for want of memory or disk."""
        return self._connection is not None and self._connection.blocked

    async def wait_ready(self) -> None:
        """Return when connected; the caller sets the deadline."""
        await self._ready.wait()

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Send; see `amqp.Channel.publish`. Without a connection the future fails with ConnectionLost."""
        if self._channel is None:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(ConnectionLost("not connected"))
            return failed
        return self._channel.publish(message)

    def send(self, message: Message, settled: Settled) -> None:
        """Send; see `amqp.Channel.send`. Without a connection it is ConnectionLost at once."""
        if self._channel is None:
            settled(ConnectionLost("not connected"))
        else:
            self._channel.send(message, settled)

    def reconnect(self) -> None:
        """Give up the connection, if any: what is unconfirmed fails, a new one is opened."""
        if self._connection is not None:
            self._connection.abort()

    async def _stay_connected(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._connected_once(backoff)
            except BrokerError as error:
                pause = backoff.next()
                _log.warning(
                    "broker_unavailable", name=self._name, reason=str(error), retry_seconds=round(pause, 2)
                )
                await asyncio.sleep(pause)

    async def _connected_once(self, backoff: Backoff) -> None:
        connection = await Connection.open(self._url, name=self._name, heartbeat_seconds=self._heartbeat)
        try:
            if self._prepare is not None:
                await self._prepare(await connection.channel())
            channel = await connection.channel(confirms=True)
            self._connection, self._channel = connection, channel
            self._ready.set()
            backoff.reset()
            _log.info("broker_connected", name=self._name)
            # A channel error leaves the connection open, so that is what to watch.
            await channel.closed.wait()
            raise channel.reason or ConnectionLost("channel closed")
        finally:
            self._ready.clear()
            self._connection = self._channel = None
            await connection.close()
