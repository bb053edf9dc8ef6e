import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import REGISTRY

from kanwa_shared.messaging.amqp import Channel, Connection
from kanwa_shared.messaging.broker import (
    BrokerError,
    ConnectionLost,
    Delivery,
    Message,
    Nacked,
    Settled,
    Unroutable,
)
from kanwa_shared.messaging.envelope import Event, read_message
from kanwa_shared.messaging.flight import RelaySettings
from kanwa_shared.messaging.lease import relay_is_active, source_lease
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay
from kanwa_shared.messaging.topology import Binding, Topology
from tests.support.messaging import WritingService, scalar
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

EVERYTHING = Topology([Binding("mdt", ("#",)), Binding("scheduling", (), True)], delays_seconds=(0.05,))


@pytest.fixture
async def intake(database: Callable[..., str]) -> AsyncIterator[WritingService]:
    async with WritingService("intake", database()) as service:
        yield service


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(relay.run(stop)) for relay in relays]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


class ScriptedBroker:
    """Stands for a publisher: keeps every message and settles it when and how the test says."""

    def __init__(self) -> None:
        self.ready = True
        self.sent: list[Message] = []
        self.faults: dict[str, list[Exception]] = {}
        self.held: list[asyncio.Future[None]] = []
        self.holding = False
        self.reconnected = 0

    def publish(self, message: Message) -> asyncio.Future[None]:
        self.sent.append(message)
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        faults = self.faults.get(f"{message.exchange} {read_message(message.body).resource}", [])
        if faults:
            confirmed.set_exception(faults.pop(0))
        elif self.holding:
            self.held.append(confirmed)
        else:
            confirmed.set_result(None)
        return confirmed

    def send(self, message: Message, settled: Settled) -> None:
        def done(confirmed: asyncio.Future[None]) -> None:
            error = confirmed.exception()
            assert error is None or isinstance(error, BrokerError)
            settled(error)

        self.publish(message).add_done_callback(done)

    def reconnect(self) -> None:
        self.reconnected += 1
        for confirmed in self.held:
            if not confirmed.done():
                confirmed.set_exception(ConnectionLost("dropped"))

    def release(self) -> None:
        self.holding = False
        for confirmed in self.held:
            if not confirmed.done():
                confirmed.set_result(None)

    def subjects(self, exchange: str = "kanwa.events") -> list[str]:
        messages = [read_message(m.body) for m in self.sent if m.exchange == exchange]
        return [m.subject for m in messages if isinstance(m, Event)]


async def published(intake: WritingService) -> bool:
    return await intake.unpublished() == 0


async def test_a_version_is_not_published_before_the_one_before_it_is_confirmed(
    intake: WritingService,
) -> None:
    broker = ScriptedBroker()
    broker.holding = True
    await intake.write("a", 1)
    await intake.write("b", 1)
    await intake.write("a", 2)
    async with running(Relay(intake.url, broker, EVERYTHING, "intake")):
        await until(lambda: len(broker.subjects()) == 2)
        await asyncio.sleep(0.1)  # long enough for the relay to do what it must not
        assert broker.subjects() == ["Task/a/_history/1", "Task/b/_history/1"]
        broker.release()
        await until(lambda: published(intake))
    assert broker.subjects() == ["Task/a/_history/1", "Task/b/_history/1", "Task/a/_history/2"]


async def test_a_refused_event_holds_back_its_own_resource_only(intake: WritingService) -> None:
    broker = ScriptedBroker()
    broker.faults["kanwa.events Task/a"] = [Nacked("full"), Nacked("full")]
    for version in (1, 2, 3):
        await intake.write("a", version)
        await intake.write("b", version)
    async with running(Relay(intake.url, broker, EVERYTHING, "intake")):
        await until(lambda: published(intake))
    subjects = broker.subjects()
    of_a = [subject for subject in subjects if subject.startswith("Task/a/")]
    assert of_a == [f"Task/a/_history/{version}" for version in (1, 1, 1, 2, 3)]
    # The other resource was through before the refused one was tried again.
    assert subjects.index("Task/b/_history/3") < [i for i, s in enumerate(subjects) if s == of_a[0]][1]
    assert await scalar(intake.connection, "SELECT max(attempts) FROM outbox") == 2


async def test_a_row_is_marked_only_when_both_exchanges_have_confirmed(intake: WritingService) -> None:
    broker = ScriptedBroker()
    broker.faults["kanwa.notifications Task/a"] = [Nacked("full")] * 50
    await intake.write("a", 1)
    async with running(Relay(intake.url, broker, EVERYTHING, "intake")):
        await until(lambda: broker.subjects("kanwa.notifications"))
        await until(lambda: scalar(intake.connection, "SELECT attempts > 0 FROM outbox"))
        assert await intake.unpublished() == 1


async def test_an_event_that_a_consumer_expects_is_kept_until_it_can_be_routed(
    intake: WritingService,
) -> None:
    broker = ScriptedBroker()
    broker.faults["kanwa.events Task/a"] = [Unroutable("NO_ROUTE")]
    await intake.write("a", 1)
    async with running(Relay(intake.url, broker, EVERYTHING, "intake")):
        await until(lambda: published(intake))
    assert broker.subjects() == ["Task/a/_history/1"] * 2


async def test_an_event_that_nobody_wants_is_marked_and_stays_readable(intake: WritingService) -> None:
    broker = ScriptedBroker()
    broker.faults["kanwa.events Task/a"] = [Unroutable("NO_ROUTE")] * 50
    nobody = Topology([Binding("scheduling", ("intake.Patient.*",))])
    await intake.write("a", 1)
    async with running(Relay(intake.url, broker, nobody, "intake")):
        await until(lambda: published(intake))
    assert broker.subjects() == ["Task/a/_history/1"]
    assert await intake.sequences() == [1]


async def _waits(intake: WritingService, expected: list[str]) -> bool:
    cursor = await intake.connection.execute(
        "SELECT resource_id FROM outbox WHERE published_at IS NULL ORDER BY id"
    )
    return [row[0] for row in await cursor.fetchall()] == expected


# What is refused is tried again after a pause that doubles up to 30 s, with jitter.
HOLD_SECONDS = 60.0


async def test_a_hand_over_without_a_queue_holds_back_its_target_only(intake: WritingService) -> None:
    broker = ScriptedBroker()
    broker.faults["kanwa.handover Observation/o1"] = [Unroutable("NO_ROUTE")] * 500
    await intake.hand_over("outcomes", "o1", resource_type="Observation")
    await intake.hand_over("outcomes", "o2", resource_type="Observation")
    await intake.hand_over("scheduling", "p1", resource_type="Procedure")
    await intake.write("t1", 1)
    async with running(Relay(intake.url, broker, EVERYTHING, "intake")):
        await until(lambda: _waits(intake, ["o1"]), deadline_seconds=HOLD_SECONDS)
        await intake.hand_over("outcomes", "o3", resource_type="Observation")
        await intake.hand_over("scheduling", "p2", resource_type="Procedure")
        await until(lambda: _waits(intake, ["o1", "o3"]), deadline_seconds=HOLD_SECONDS)
        broker.faults.clear()
        await until(lambda: published(intake), deadline_seconds=HOLD_SECONDS)


async def test_an_event_without_its_text_holds_back_its_own_resource_only(intake: WritingService) -> None:
    broker = ScriptedBroker()
    await intake.write("a", 1)
    await intake.write("a", 2)
    await intake.write("b", 1)
    await intake.connection.execute("DELETE FROM resource_version WHERE id = 'a' AND version = 1")
    async with running(Relay(intake.url, broker, EVERYTHING, "intake")):
        await until(lambda: scalar(intake.connection, "SELECT last_error FROM outbox WHERE attempts > 0"))
        await until(lambda: broker.subjects())
        assert broker.subjects() == ["Task/b/_history/1"]


async def test_confirms_that_never_come_end_in_a_new_connection(intake: WritingService) -> None:
    broker = ScriptedBroker()
    broker.holding = True
    await intake.write("a", 1)
    settings = RelaySettings(confirm_timeout_seconds=0.2)
    async with running(Relay(intake.url, broker, EVERYTHING, "intake", settings)):
        await until(lambda: broker.reconnected)
        broker.release()
        await until(lambda: published(intake))
    assert len(broker.subjects()) >= 2


async def test_while_the_broker_is_away_events_are_numbered_and_then_leave_in_order(
    intake: WritingService,
) -> None:
    broker = ScriptedBroker()
    broker.ready = False
    async with running(Relay(intake.url, broker, EVERYTHING, "intake")):
        for version in (1, 2):
            for resource in "abc":
                await intake.write(resource, version)
        await until(lambda: scalar(intake.connection, "SELECT last = 6 FROM outbox_sequence"))
        assert broker.sent == []
        broker.ready = True
        await until(lambda: published(intake))
    sequences = [read_message(m.body).sequence for m in broker.sent if m.exchange == "kanwa.events"]  # type: ignore[union-attr]  # events only
    assert sequences == [1, 2, 3, 4, 5, 6]


async def test_one_relay_is_active_and_another_takes_over_when_it_dies(intake: WritingService) -> None:
    brokers = [ScriptedBroker() for _ in range(3)]
    stop = asyncio.Event()
    tasks = {
        number: asyncio.create_task(Relay(intake.url, broker, EVERYTHING, "intake").run(stop))
        for number, broker in enumerate(brokers)
    }
    served = list[int]()
    for version in (1, 2, 3):
        await intake.write("a", version)
        await until(lambda: published(intake))
        serving = [n for n in tasks if f"Task/a/_history/{version}" in brokers[n].subjects()]
        assert len(serving) == 1
        served += serving
        dead = tasks.pop(serving[0])
        dead.cancel()
        with suppress(asyncio.CancelledError):
            await dead
    assert sorted(served) == [0, 1, 2]


async def test_what_waits_is_told_by_the_active_relay_alone(intake: WritingService) -> None:
    def told() -> set[str]:
        return {
            family.name
            for family in REGISTRY.collect()
            for sample in family.samples
            if family.name.startswith("kanwa_outbox_") and sample.labels == {"source": "intake"}
        }

    async with running(Relay(intake.url, ScriptedBroker(), EVERYTHING, "intake")):
        await until(lambda: told() == {"kanwa_outbox_depth", "kanwa_outbox_oldest_age_seconds"})
    assert told() == set()


@pytest.mark.parametrize(("holder", "expected"), [("intake", True), ("notifications", False)])
async def test_another_lease_in_the_same_database_is_no_active_relay(
    intake: WritingService, holder: str, expected: bool
) -> None:
    async with source_lease(intake.url, holder, asyncio.Event()) as connection:
        assert connection is not None
        assert await relay_is_active(connection) is expected


async def test_a_relay_goes_on_after_its_database_session_was_ended(intake: WritingService) -> None:
    broker = ScriptedBroker()
    async with running(Relay(intake.url, broker, EVERYTHING, "intake")):
        for version in (1, 2, 3):
            await intake.write("a", version)
            await until(lambda: published(intake))
            ended = await scalar(
                intake.connection,
                "SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_database d"
                " ON d.oid = l.database WHERE l.locktype = 'advisory' AND d.datname = current_database()",
            )
            assert ended == 1
    assert list(dict.fromkeys(broker.subjects())) == [f"Task/a/_history/{version}" for version in (1, 2, 3)]


async def test_a_relay_whose_process_is_stopped_loses_its_lock_to_another(intake: WritingService) -> None:
    """The session of a process under SIGSTOP stays open; the server's idle timeout ends it."""
    lock_held = (
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()"
    )
    settings = RelaySettings(lease_seconds=1)
    stop = asyncio.Event()
    async with source_lease(intake.url, "intake", stop, lease_seconds=1) as stopped:
        assert stopped is not None
        assert await scalar(intake.connection, lock_held) == 1
        broker = ScriptedBroker()
        await intake.write("a", 1)
        async with running(Relay(intake.url, broker, EVERYTHING, "intake", settings)):
            await until(lambda: published(intake), deadline_seconds=15)


@asynccontextmanager
async def received(url: str, queue: str) -> AsyncIterator[list[Event]]:
    """Everything that arrives in `queue`, acknowledged."""
    events: list[Event] = []
    connection = await Connection.open(url, name="probe")
    channel: Channel = await connection.channel()

    def take(delivery: Delivery) -> None:
        message = read_message(delivery.body)
        assert isinstance(message, Event)
        events.append(message)
        channel.ack(delivery.tag)

    await channel.consume(queue, take, prefetch=100)
    try:
        yield events
    finally:
        await connection.close()


def first_occurrences(events: list[Event]) -> list[str]:
    return list(dict.fromkeys(event.subject for event in events))


async def test_a_connection_cut_in_the_middle_of_publishing_loses_nothing(
    intake: WritingService, amqp_url: str
) -> None:
    address = urlsplit(amqp_url)
    async with TcpProxy("127.0.0.1", address.port or 5672) as proxy:
        through_proxy = address._replace(netloc=f"guest:guest@127.0.0.1:{proxy.port}").geturl()
        publisher = Publisher(through_proxy, name="relay", prepare=EVERYTHING.declare)
        async with publisher:
            await asyncio.wait_for(publisher.wait_ready(), 20)
            async with received(amqp_url, "kanwa.mdt") as events:
                async with running(Relay(intake.url, publisher, EVERYTHING, "intake")):
                    for version in range(1, 9):
                        for resource in range(40):
                            await intake.write(f"t{resource}", version)
                        proxy.cut()
                    await until(lambda: published(intake), deadline_seconds=40)
                expected = {f"Task/t{r}/_history/{v}" for r in range(40) for v in range(1, 9)}
                await until(lambda: {event.subject for event in events} == expected, deadline_seconds=20)
    assert proxy.accepted > 2
    firsts = first_occurrences(events)
    for resource in range(40):
        own = [subject for subject in firsts if subject.startswith(f"Task/t{resource}/")]
        assert own == [f"Task/t{resource}/_history/{version}" for version in range(1, 9)]
    # A repeated message is the same event: same id, same sequence.
    by_subject = {event.subject: (event.id, event.sequence) for event in events}
    assert all(by_subject[event.subject] == (event.id, event.sequence) for event in events)


async def test_a_broker_that_falls_silent_is_noticed_and_left(intake: WritingService, amqp_url: str) -> None:
    address = urlsplit(amqp_url)
    async with TcpProxy("127.0.0.1", address.port or 5672) as proxy:
        through_proxy = address._replace(netloc=f"guest:guest@127.0.0.1:{proxy.port}").geturl()
        publisher = Publisher(through_proxy, name="relay", prepare=EVERYTHING.declare, heartbeat_seconds=1)
        async with publisher:
            await asyncio.wait_for(publisher.wait_ready(), 20)
            async with running(Relay(intake.url, publisher, EVERYTHING, "intake")):
                proxy.freeze(True)
                await intake.write("a", 1)
                await until(lambda: not publisher.ready, deadline_seconds=20, what="a missed heartbeat")
                proxy.freeze(False)
                await until(lambda: published(intake), deadline_seconds=30)


async def test_unroutable_events_and_hand_overs_are_told_apart_by_a_real_broker(
    intake: WritingService, amqp_url: str
) -> None:
    topology = Topology([Binding("scheduling", ("intake.Patient.*",), True)], delays_seconds=(0.05,))
    async with Publisher(amqp_url, name="relay", prepare=topology.declare) as publisher:
        await asyncio.wait_for(publisher.wait_ready(), 20)
        async with running(Relay(intake.url, publisher, topology, "intake")):
            await intake.write("nobody-wants-tasks", 1)
            await intake.hand_over("outcomes", "o1", resource_type="Observation")
            await intake.hand_over("scheduling", "p1", resource_type="Procedure")
            await until(
                lambda: scalar(
                    intake.connection, "SELECT count(*) = 1 FROM outbox WHERE published_at IS NULL"
                )
            )
            error: Any = await until(
                lambda: scalar(intake.connection, "SELECT last_error FROM outbox WHERE target = 'outcomes'")
            )
            assert "NO_ROUTE" in error
    with suppress(ConnectionLost):
        publisher.publish(Message("kanwa.events", "a.B.create", b"{}", "x")).result()
        pytest.fail("a publisher that was closed must refuse")


async def test_messages_of_one_turn_leave_in_one_write_in_their_order(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await Connection.open(amqp_url, name="test")
    channel = await connection.channel(confirms=True)
    await EVERYTHING.declare(channel)
    writes: list[int] = []
    transport = connection._pika._transport
    write = transport.write
    monkeypatch.setattr(transport, "write", lambda data: (writes.append(len(data)), write(data)))
    bodies = [b"%d" % number for number in range(40)]
    confirmed = [
        channel.publish(Message("kanwa.events", "a.B.create", body, f"id-{n // 2}", headers={"n": n // 2}))
        for n, body in enumerate(bodies)
    ]
    await asyncio.gather(*confirmed)
    assert len(writes) == 1
    probe = await connection.channel()
    received: list[Delivery] = []
    await probe.consume("kanwa.mdt", received.append, prefetch=100)
    await until(lambda: len(received) == len(bodies))
    assert [delivery.body for delivery in received] == bodies
    assert [(d.message_id, d.headers["n"]) for d in received] == [(f"id-{n // 2}", n // 2) for n in range(40)]
    await connection.close()


async def test_a_broker_that_refuses_publishes_for_want_of_memory_is_waited_for(
    intake: WritingService, amqp_url: str
) -> None:
    publisher = Publisher(amqp_url, name="relay", prepare=EVERYTHING.declare)
    async with publisher:
        await asyncio.wait_for(publisher.wait_ready(), 20)
        async with running(Relay(intake.url, publisher, EVERYTHING, "intake")):
            # What pika calls when the broker says connection.blocked; a real alarm would stop every test's broker.
            assert publisher._connection is not None
            publisher._connection._on_blocked()
            assert publisher.blocked
            await intake.write("a", 1)
            await until(lambda: scalar(intake.connection, "SELECT last = 1 FROM outbox_sequence"))
            await asyncio.sleep(0.2)  # long enough for the relay to do what it must not
            assert await intake.unpublished() == 1
            publisher._connection._on_unblocked()
            await until(lambda: published(intake))
