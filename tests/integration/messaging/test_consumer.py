import asyncio
import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import AsyncConnection

from kanwa_shared.messaging.amqp import Connection
from kanwa_shared.messaging.attempts import dead_letters, drop_letter, request_replay
from kanwa_shared.messaging.broker import Message, TopologyMissing
from kanwa_shared.messaging.consumer import Consumer
from kanwa_shared.messaging.deliveries import DeliverySettings, Subscriber
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay
from kanwa_shared.messaging.replay import discard_copies
from kanwa_shared.messaging.topology import Binding, Topology
from tests.support.messaging import SETTINGS, TRACEPARENT, Ledger, Loop, OverRabbit, WritingService
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until


async def has_come_back(proxy: TcpProxy, connections: int) -> bool:
    return proxy.accepted > connections


async def has_effects(ledger: Ledger, number: int) -> bool:
    return len(await ledger.effects()) == number


@pytest.mark.parametrize(
    "body", [b"not json", b"\xff\xfe\x00", b"{}", b'{"specversion":"1.0","id":"1"}'], ids=repr
)
async def test_a_message_that_can_not_be_read_is_given_up_and_others_go_on(loop: Loop, body: bytes) -> None:
    await loop.publisher.publish(Message("kanwa.events", "foreign.Thing.create", body, "not-a-uuid"))
    await loop.intake.write("t1", 1)
    await until(lambda: has_effects(loop.mdt, 1))
    letter = await until(lambda: loop.mdt.row("SELECT reason, attempts, source FROM dead_letter"))
    assert letter[0].startswith("malformed: ")
    assert letter[1:] == (1, None)
    dead = await asyncio.wait_for(loop.dead_queue(), 10)
    assert dead.body == body


async def test_the_same_unreadable_message_is_one_dead_letter(loop: Loop) -> None:
    for _ in range(3):
        await loop.publisher.publish(Message("kanwa.events", "foreign.Thing.create", b"junk", ""))
    await loop.intake.write("t1", 1)
    await until(lambda: has_effects(loop.mdt, 1))
    await until(lambda: loop.mdt.value("SELECT count(*) FROM dead_letter"))
    assert await loop.mdt.value("SELECT count(*) FROM dead_letter") == 1


async def test_the_dead_letter_queue_says_why_how_often_from_where_and_in_which_trace(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["retry"] * 9
    event_id = await loop.intake.write("t1", 1)
    dead = await asyncio.wait_for(loop.dead_queue(), 10)
    assert dead.message_id == event_id
    said = {
        "kanwa-reason": "not yet",
        "kanwa-attempts": 3,
        "kanwa-source": "https://kanwa.example/intake",
        "traceparent": TRACEPARENT,
    }
    assert said.items() <= dead.headers.items()


async def test_the_copy_of_a_letter_can_be_taken_out_of_the_dead_letter_queue(loop: Loop) -> None:
    for resource in ("t1", "t2", "t3"):
        loop.mdt.script[f"Task/{resource}/_history/1"] = ["reject"]
        await loop.intake.write(resource, 1)
    await until(lambda: loop.mdt.value("SELECT count(*) = 3 FROM dead_letter"))
    connection = await Connection.open(loop.url, name="probe")
    channel = await connection.channel()

    async def depth() -> int:
        return await channel.declare_queue("kanwa.mdt.dead", passive=True)

    await until(lambda: _is(depth, 3))
    async with loop.mdt.pool.connection() as database:
        letter = (await dead_letters(database, consumer="mdt"))[1]
        assert await discard_copies(channel, loop.rabbit.topology, [letter]) == 1
        await until(lambda: _is(depth, 2))
        assert await discard_copies(channel, loop.rabbit.topology, [letter]) == 0
        await until(lambda: _is(depth, 2))
    await connection.close()


async def _is(measure: Callable[[], Any], expected: int) -> bool:
    return await measure() == expected


async def test_letters_are_listed_until_they_are_resolved_or_dropped(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["reject"]
    await loop.intake.write("t1", 1)
    await until(lambda: loop.mdt.value("SELECT count(*) FROM dead_letter"))
    async with loop.mdt.pool.connection() as database:
        (letter,) = await dead_letters(database)
        assert await dead_letters(database, consumer="scheduling") == []
        assert await dead_letters(database, letter_id=letter.id) == [letter]
        assert await request_replay(database, letter.id + 1) is None
        assert await drop_letter(database, letter.id)
        assert not await drop_letter(database, letter.id)
        assert await dead_letters(database) == []


async def test_what_was_dropped_takes_no_effect_when_it_is_delivered_again(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["reject"]
    await loop.intake.write("t1", 1)
    dead = await asyncio.wait_for(loop.dead_queue(), 10)
    async with loop.mdt.pool.connection() as database:
        (letter,) = await dead_letters(database)
        assert await drop_letter(database, letter.id)
    await loop.publisher.publish(Message("kanwa.events", "intake.Task.create", dead.body, dead.message_id))
    await loop.intake.write("t2", 1)
    await until(lambda: has_effects(loop.mdt, 1))
    assert await loop.mdt.effects() == ["Task/t2/_history/1"]


async def test_a_consumer_whose_connection_is_cut_comes_back_and_repeats_no_effect(
    database: Callable[..., str], amqp_url: str
) -> None:
    address = urlsplit(amqp_url)
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TcpProxy("127.0.0.1", address.port or 5672))
        through_proxy = address._replace(netloc=f"guest:guest@127.0.0.1:{proxy.port}").geturl()
        url = database()
        intake = await stack.enter_async_context(WritingService("intake", url))
        mdt = await stack.enter_async_context(Ledger("mdt", url))
        mdt.slow_seconds = 0.005
        rabbit = OverRabbit(through_proxy, [intake], [mdt])
        await rabbit.start()
        for version in range(1, 6):
            for resource in range(20):
                await intake.write(f"t{resource}", version)
            before_the_cut = proxy.accepted
            proxy.cut()
            await until(lambda before=before_the_cut: has_come_back(proxy, before), deadline_seconds=20)
        await until(lambda: has_effects(mdt, 100), deadline_seconds=40)
        effects = await mdt.effects()
        for resource in range(20):
            own = [subject for subject in effects if subject.startswith(f"Task/t{resource}/")]
            assert own == [f"Task/t{resource}/_history/{version}" for version in range(1, 6)]
        await rabbit.stop()


async def test_of_several_workers_one_is_active_and_another_takes_over(loop: Loop) -> None:
    calls = list[str]()

    async def note(event: Any) -> Any:
        calls.append(event.subject)
        return await loop.mdt.on_event(event)

    subscriber = Subscriber("mdt", ("#",), loop.mdt.pool, note)
    second = Consumer(subscriber, loop.url, loop.publisher, loop.rabbit.topology, SETTINGS)
    stop = asyncio.Event()
    await loop.intake.write("t1", 1)
    await until(lambda: has_effects(loop.mdt, 1))
    standing_by = asyncio.create_task(second.run(stop))
    for number in range(2, 30):
        await loop.intake.write("t1", number)
    await until(lambda: has_effects(loop.mdt, 29))
    assert calls == []
    await loop.rabbit.kill()
    async with Publisher(loop.url, name="relay") as publisher:
        await asyncio.wait_for(publisher.wait_ready(), 20)
        relay_stop = asyncio.Event()
        relay = asyncio.create_task(
            Relay(loop.intake.url, publisher, loop.rabbit.topology, "intake").run(relay_stop)
        )
        await loop.intake.write("t1", 30)
        await until(lambda: has_effects(loop.mdt, 30), deadline_seconds=20)
        relay_stop.set()
        await relay
    assert "Task/t1/_history/30" in calls
    stop.set()
    await standing_by
    await loop.rabbit.start()


class DatabaseThatGoesAway:
    """A pool that refuses connections while `away`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.away = False
        self.refused = 0

    def connection(self, timeout: float | None = None) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        if self.away:
            self.refused += 1
            raise psycopg.OperationalError("the database is away")
        return self._ledger.pool.connection(timeout)


async def test_while_the_consumers_database_is_away_no_attempt_is_counted(loop: Loop) -> None:
    await loop.rabbit.stop()
    pool = DatabaseThatGoesAway(loop.mdt)

    async def handle(event: Any) -> Any:
        async with pool.connection():
            pass
        return await loop.mdt.on_event(event)

    loop.mdt.subscriber = Subscriber("mdt", ("#",), pool, handle)
    await loop.rabbit.start()
    await loop.intake.write("t1", 1)
    await until(lambda: has_effects(loop.mdt, 1))
    pool.away = True
    await loop.intake.write("t1", 2)
    await until(lambda: pool.refused > 8, deadline_seconds=30)
    pool.away = False
    await until(lambda: has_effects(loop.mdt, 2), deadline_seconds=30)
    assert await loop.mdt.value("SELECT count(*) FROM dead_letter") == 0


@pytest.mark.parametrize(
    ("error", "is_counted"), [(psycopg.errors.AdminShutdown, False), (psycopg.errors.QueryCanceled, True)]
)
async def test_a_lost_connection_is_no_attempt_and_a_statement_that_fails_is_one(
    loop: Loop, error: type[psycopg.OperationalError], is_counted: bool
) -> None:
    await loop.rabbit.stop()
    failures = [error("in the middle of the handler") for _ in range(SETTINGS.max_attempts + 1)]

    async def handle(event: Any) -> Any:
        if failures:
            raise failures.pop()
        return await loop.mdt.on_event(event)

    loop.mdt.subscriber = Subscriber("mdt", ("#",), loop.mdt.pool, handle)
    await loop.rabbit.start()
    await loop.intake.write("t1", 1)

    async def settled() -> bool:
        return len(await loop.mdt.effects()) + await loop.mdt.value("SELECT count(*) FROM dead_letter") == 1

    await until(settled, deadline_seconds=30)
    assert bool(await loop.mdt.value("SELECT count(*) FROM dead_letter")) is is_counted


async def test_an_older_delivery_that_never_comes_back_does_not_block_its_resource_for_ever(
    loop: Loop,
) -> None:
    """Somebody purged the retry queue: the row says that version 1 waits, but nothing will deliver it."""
    await loop.rabbit.stop()
    await loop.intake.connection.execute(
        "INSERT INTO delivery_attempt (consumer, event_id, attempts, resource, position)"
        " VALUES ('mdt', gen_random_uuid(), 1, 'Task/t1', 1)"
    )
    loop.rabbit.settings = dataclasses.replace(SETTINGS, vanished_seconds=1.0)
    await loop.rabbit.start()
    await loop.intake.write("t1", 2)
    await until(lambda: loop.mdt.value("SELECT count(*) = 2 FROM delivery_attempt"))
    assert await loop.mdt.effects() == []
    await until(lambda: has_effects(loop.mdt, 1))
    await until(lambda: loop.mdt.value("SELECT count(*) = 0 FROM delivery_attempt"))


async def test_a_delivery_that_is_put_off_again_shows_that_it_is_still_on_its_way(loop: Loop) -> None:
    await loop.rabbit.stop()
    await loop.intake.connection.execute(
        "INSERT INTO delivery_attempt (consumer, event_id, attempts, resource, position)"
        " VALUES ('mdt', gen_random_uuid(), 1, 'Task/t1', 1)"
    )
    await loop.rabbit.start()
    await loop.intake.write("t1", 2)
    put_off = "SELECT updated_at FROM delivery_attempt WHERE position = 2"
    first = await until(lambda: loop.mdt.value(put_off))

    async def touched_again() -> bool:
        return await loop.mdt.value(put_off) > first

    await until(touched_again)


async def test_a_consumer_waits_for_its_queue_to_be_declared(
    database: Callable[..., str], amqp_url: str
) -> None:
    topology = Topology([Binding("mdt", ("#",))], delays_seconds=(0.05, 0.1))
    async with AsyncExitStack() as stack:
        mdt = await stack.enter_async_context(Ledger("mdt", database()))
        service = await stack.enter_async_context(Publisher(amqp_url, name="service", prepare=topology.check))
        stop = asyncio.Event()
        consuming = asyncio.create_task(
            Consumer(mdt.subscriber, amqp_url, service, topology, SETTINGS).run(stop)
        )
        connection = await Connection.open(amqp_url, name="admin")
        with pytest.raises(TopologyMissing):
            await topology.check(await connection.channel())
        assert not service.ready
        await topology.declare(await connection.channel())
        await topology.declare(await connection.channel())  # a second admin job changes nothing
        await asyncio.wait_for(service.wait_ready(), 20)
        junk = Message("kanwa.events", "a.B.create", b"junk", "")
        await service.publish(junk)
        await until(lambda: mdt.value("SELECT count(*) FROM dead_letter"), deadline_seconds=20)
        stop.set()
        await consuming
        await connection.close()


def test_a_delay_without_a_retry_queue_is_refused(amqp_url: str) -> None:
    subscriber: Any = None
    with pytest.raises(ValueError, match="no retry queue"):
        Consumer(
            subscriber,
            amqp_url,
            None,  # type: ignore[arg-type]  # refused before it is used
            Topology([], delays_seconds=(1.0,)),
            DeliverySettings(delays_seconds=(2.0,)),
        )
