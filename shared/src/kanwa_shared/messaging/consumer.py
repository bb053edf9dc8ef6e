"""From the broker to a handler: one queue, manual acknowledgement, order per resource, failures counted.

A delivery is acknowledged after its settlement is safe: the effect committed, or a copy confirmed in a retry
queue or in the dead-letter queue. A crash in between repeats the delivery; the inbox makes that harmless.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog

from kanwa_shared.messaging.amqp import HEARTBEAT_SECONDS, Channel, Connection
from kanwa_shared.messaging.broker import Backoff, BrokerError, ConnectionLost, Delivery, Message
from kanwa_shared.messaging.deliveries import (
    Dead,
    Deliveries,
    DeliverySettings,
    Later,
    Settlement,
    Subscriber,
)
from kanwa_shared.messaging.envelope import Event, HandOver, MalformedEnvelope, read_message
from kanwa_shared.messaging.flight import Publishes
from kanwa_shared.messaging.gaps import Gaps, GapSettings
from kanwa_shared.messaging.lanes import Lanes
from kanwa_shared.messaging.source_log import SourceLogs
from kanwa_shared.messaging.topology import Topology
from kanwa_shared.messaging.wire import dead_message, retry_message
from kanwa_shared.timed_wait import set_within

_log = structlog.get_logger(__name__)


class Consumer:
    """Works on the queue of `subscriber` until told to stop; survives the loss of broker and database.

    Several processes may run the same consumer: the broker feeds one and turns to another when it goes.
    `publisher` is where retries and dead letters leave; the relay's may be shared. The delays of `settings`
    must be the topology's. With the sources' `logs` it notices what the broker did not deliver, see `gaps.py`.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        url: str,
        publisher: Publishes,
        topology: Topology,
        settings: DeliverySettings | None = None,
        *,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
        logs: SourceLogs | None = None,
        gap_settings: GapSettings | None = None,
    ) -> None:
        self._logs = logs
        self._gap_settings = gap_settings
        self._subscriber = subscriber
        self._url = url
        self._publisher = publisher
        self._topology = topology
        self._settings = settings or DeliverySettings(delays_seconds=topology.delays_seconds)
        self._heartbeat = heartbeat_seconds
        #: Whether the broker has taken the subscription; of several workers one is then fed.
        self.subscribed = False
        if not set(map(topology.delay_key, self._settings.delays_seconds)) <= set(topology.delay_keys):
            raise ValueError("a delay of the settings has no retry queue in the topology")

    async def run(self, stop: asyncio.Event) -> None:
        """Consume; returns after `stop` is set and running handlers have ended."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                await self._subscribe(stop, backoff)
            except BrokerError as error:
                pause = backoff.next()
                _log.warning("consumer_without_broker", consumer=self._subscriber.name, reason=str(error))
                await set_within(stop, pause)

    async def _subscribe(self, stop: asyncio.Event, backoff: Backoff) -> None:
        name = f"kanwa consumer {self._subscriber.name}"
        connection = await Connection.open(self._url, name=name, heartbeat_seconds=self._heartbeat)
        lanes = Lanes(self._settings.concurrency)
        try:
            channel = await connection.channel()
            deliveries = Deliveries(self._subscriber, self._settings)
            gaps = self._gaps(channel, deliveries, lanes)
            receive = partial(self._receive, channel, deliveries, lanes, gaps)
            queue = self._topology.queue(self._subscriber.name)
            await channel.consume(queue, receive, prefetch=self._settings.prefetch)
            backoff.reset()
            self.subscribed = True
            _log.info("consumer_subscribed", consumer=self._subscriber.name, queue=queue)
            async with _beside(gaps):
                await _first(stop, channel, lanes)
            await lanes.close(self._settings.stop_grace_seconds)
            if channel.closed.is_set():
                raise channel.reason or ConnectionLost("channel closed")
            await channel.flush()
        finally:
            self.subscribed = False
            await lanes.close(self._settings.stop_grace_seconds)
            # Without a word: a consumer that is cancelled keeps its unsettled deliveries until its channel is
            # gone, and meanwhile the next consumer already gets their successors (seen on RabbitMQ 3.10). When
            # the connection goes, both happen at once, and the order holds.
            connection.abort()

    def _gaps(self, channel: Channel, deliveries: Deliveries, lanes: Lanes) -> Gaps | None:
        if self._logs is None:
            return None
        queue = self._topology.queue(self._subscriber.name)

        async def queue_is_empty() -> bool:
            return await channel.declare_queue(queue, passive=True) == 0

        deliver = partial(self._fetched, channel, deliveries, lanes)
        return Gaps(
            self._subscriber,
            self._logs,
            deliver,
            queue_is_empty,
            self._settings.overdue_seconds,
            self._gap_settings,
        )

    async def _fetched(self, channel: Channel, deliveries: Deliveries, lanes: Lanes, event: Event) -> None:
        """Work on an event that came from its source's log; returns when it is settled."""
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            body = event.to_cloudevent()
            settlement = await deliveries.handle(event, body, redelivered=True)
            copy = self._copy(body, event.id, settlement, False)
            if copy is not None:
                await self._publish_surely(copy, channel)
            if not settled.done():
                settled.set_result(None)

        lanes.put(event.resource, work)
        await settled

    def _receive(
        self,
        channel: Channel,
        deliveries: Deliveries,
        lanes: Lanes,
        gaps: Gaps | None,
        delivery: Delivery,
    ) -> None:
        message = _read(delivery)
        # A message that can't be read belongs to no resource.
        lane = f"unreadable {delivery.tag}" if isinstance(message, MalformedEnvelope) else message.resource
        work = partial(self._work, channel, deliveries, delivery, message)
        if gaps is None or not isinstance(message, Event):
            lanes.put(lane, work)
            return
        gaps.delivered(message)

        async def work_noted() -> None:
            await work()
            gaps.settled(message)

        lanes.put(lane, work_noted)

    async def _work(
        self,
        channel: Channel,
        deliveries: Deliveries,
        delivery: Delivery,
        message: Event | HandOver | MalformedEnvelope,
    ) -> None:
        replay = bool(delivery.headers.get("kanwa-replay", False))
        if isinstance(message, MalformedEnvelope):
            reason = f"malformed: {message}"
            settlement: Settlement = await deliveries.malformed(delivery.body, delivery.message_id, reason)
        else:
            settlement = await deliveries.handle(
                message, delivery.body, redelivered=delivery.redelivered, replay=replay
            )
        copy = self._copy(delivery.body, delivery.message_id, settlement, replay)
        if copy is None or await self._publish_surely(copy, channel):
            channel.ack(delivery.tag)

    def _copy(self, body: bytes, message_id: str, settlement: Settlement, replay: bool) -> Message | None:
        """What must be in another queue before the delivery may be acknowledged."""
        consumer, topology = self._subscriber.name, self._topology
        if isinstance(settlement, Later):
            return retry_message(
                body,
                message_id,
                consumer=consumer,
                topology=topology,
                delay_seconds=settlement.delay_seconds,
                attempts=settlement.attempts,
                replay=replay,
            )
        if isinstance(settlement, Dead):
            return dead_message(body, settlement, consumer=consumer, topology=topology)
        return None

    async def _publish_surely(self, message: Message, channel: Channel) -> bool:
        """Publish until confirmed; False if the delivery's channel went first, then it comes again anyway."""
        backoff = Backoff()
        while not channel.closed.is_set():
            try:
                await self._publisher.publish(message)
            except BrokerError as error:
                _log.warning("redelivery_not_published", consumer=self._subscriber.name, reason=str(error))
                await asyncio.sleep(backoff.next())
            else:
                return True
        return False


def _read(delivery: Delivery) -> Event | HandOver | MalformedEnvelope:
    try:
        return read_message(delivery.body)
    except MalformedEnvelope as error:
        return error


@asynccontextmanager
async def _beside(gaps: Gaps | None) -> AsyncGenerator[None]:
    """Look for gaps as long as the block runs."""
    if gaps is None:
        yield
        return
    looking = asyncio.create_task(gaps.run(), name="gaps")
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def _first(stop: asyncio.Event, channel: Channel, lanes: Lanes) -> None:
    """Return when there is nothing left to wait for: told to stop, channel gone, or a lane's work raised."""
    waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(channel.closed.wait())}
    try:
        await asyncio.wait({*waits, lanes.failed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if lanes.failed.done():
        lanes.failed.result()
