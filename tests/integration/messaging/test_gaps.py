"""A consumer notices what it did not receive, and fetches it; what is late, waiting or not its own is not missing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import structlog
from prometheus_client import REGISTRY

from kanwa_shared.messaging import gaps
from kanwa_shared.messaging.attempts import drop_letter
from kanwa_shared.messaging.consumer import Consumer
from kanwa_shared.messaging.deliveries import DeliverySettings
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.messaging.gaps import Gaps, GapSettings
from kanwa_shared.messaging.outbox import (
    BodyMissing,
    events_after,
    give_sequence,
    mark_published,
    sequences_so_far,
)
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay
from kanwa_shared.messaging.source_log import ResourceGone, SourceLogUnavailable, SourcePage
from kanwa_shared.messaging.topology import Topology
from tests.support.logs import logged
from tests.support.messaging import DELAYS_SECONDS, SETTINGS, Ledger, WritingService
from tests.support.waiting import until

AT_ONCE = GapSettings(check_seconds=0.1, grace_seconds=0.0, standby_grace_seconds=0.0)
OVERDUE_SECONDS = 60.0


class OutboxLogs:
    """The log of one writing service, read where it stands."""

    def __init__(self, service: WritingService) -> None:
        self._service = service
        self.sources = (service.name,)
        self.away = False
        self.gives_heads_only = False
        self.pages = 0

    async def page(self, source: str, after: int, limit: int, *, with_resources: bool) -> SourcePage:
        if self.away or (with_resources and self.gives_heads_only):
            raise SourceLogUnavailable("status 503")
        self.pages += 1
        async with self._service.another() as connection:
            reached = await sequences_so_far(connection)
            try:
                events = await events_after(connection, source, after, limit, with_resources=with_resources)
            except BodyMissing:
                raise ResourceGone("status 410") from None
        return SourcePage(events, reached.last, reached.published)


def counted(name: str, consumer: str) -> float:
    return REGISTRY.get_sample_value(f"{name}_total", {"consumer": consumer, "source": "intake"}) or 0.0


class Walk:
    """Gaps of one ledger over one outbox, without a broker: the test says what was delivered and what waits."""

    def __init__(self, intake: WritingService, ledger: Ledger) -> None:
        self.intake, self.ledger = intake, ledger
        self.logs = OutboxLogs(intake)
        self.queue_is_empty = True
        self.fetched: list[str] = []
        self.gaps = Gaps(
            ledger.subscriber, self.logs, self._deliver, self._is_empty, OVERDUE_SECONDS, AT_ONCE
        )

    async def published(self, *names: str, resource_type: str = "Task") -> None:
        """Commit and publish one version of each."""
        for name in names:
            await self.intake.write(name, 1, resource_type=resource_type)
        await give_sequence(self.intake.connection)
        cursor = await self.intake.connection.execute("SELECT id FROM outbox WHERE published_at IS NULL")
        await mark_published(self.intake.connection, [row[0] for row in await cursor.fetchall()])

    async def received(self, *sequences: int) -> None:
        """The broker delivers these, and they take effect."""
        for event in await events_after(self.intake.connection, "intake", 0):
            if event.sequence in sequences:
                self.gaps.delivered(event)
                await self.ledger.on_event(event)

    async def waits(self, sequence: int, *, since_seconds: float = 0.0) -> None:
        """It failed once, so long ago, and waits for another attempt."""
        await self.intake.connection.execute(
            "INSERT INTO delivery_attempt (consumer, event_id, attempts, updated_at)"
            " SELECT %s, event_id, 1, now() - %s * interval '1 second' FROM outbox WHERE sequence = %s"
            " ON CONFLICT (consumer, event_id) DO UPDATE SET updated_at = excluded.updated_at",
            (self.ledger.name, since_seconds, sequence),
        )

    async def position(self) -> int | None:
        return await self.ledger.value("SELECT sequence FROM source_position WHERE source = 'intake'")

    async def _deliver(self, event: Event) -> None:
        self.fetched.append(event.resource_id)
        await self.ledger.on_event(event)

    async def _is_empty(self) -> bool:
        return self.queue_is_empty


@asynccontextmanager
async def walking(database: Callable[..., str], name: str, patterns: tuple[str, ...]) -> AsyncIterator[Walk]:
    async with AsyncExitStack() as stack:
        url = database()
        intake = await stack.enter_async_context(WritingService("intake", url))
        yield Walk(intake, await stack.enter_async_context(Ledger(name, url, patterns)))


@pytest.fixture
async def walk(database: Callable[..., str], request: pytest.FixtureRequest) -> AsyncIterator[Walk]:
    # A name of its own, so that counters are the test's own as well.
    async with walking(database, f"mdt-{request.node.name}"[:60], ("#",)) as made:
        yield made


async def test_an_event_that_was_skipped_is_fetched_with_its_resource(walk: Walk) -> None:
    await walk.gaps.check("intake")
    await walk.published("a", "b", "c")
    await walk.received(1, 3)
    await walk.gaps.check("intake")
    assert walk.fetched == ["b"]
    body = await walk.ledger.value("SELECT body FROM effect WHERE subject = 'Task/b/_history/1'")
    assert '"id": "b"' in body
    assert counted("kanwa_event_gaps", walk.ledger.name) == 1
    assert counted("kanwa_events_fetched", walk.ledger.name) == 1
    await walk.gaps.check("intake")
    assert walk.fetched == ["b"]
    assert await walk.position() == 3


async def test_what_a_new_consumer_catches_up_with_is_no_gap(walk: Walk) -> None:
    await walk.published("a", "b")
    await walk.gaps.check("intake")
    assert walk.fetched == ["a", "b"]
    assert counted("kanwa_event_gaps", walk.ledger.name) == 0
    await walk.published("c")
    await walk.gaps.check("intake")
    assert walk.fetched == ["a", "b", "c"]
    assert counted("kanwa_event_gaps", walk.ledger.name) == 1


async def test_an_event_that_can_not_be_fetched_yet_is_counted_once(walk: Walk) -> None:
    await walk.gaps.check("intake")
    await walk.published("a")
    walk.logs.gives_heads_only = True
    for _ in range(3):
        with pytest.raises(SourceLogUnavailable):
            await walk.gaps.check("intake")
    walk.logs.gives_heads_only = False
    await walk.gaps.check("intake")
    assert walk.fetched == ["a"]
    assert counted("kanwa_event_gaps", walk.ledger.name) == 1


async def test_the_last_event_is_missed_too(walk: Walk) -> None:
    await walk.published("a", "b")
    await walk.received(1)
    await walk.gaps.check("intake")
    assert walk.fetched == ["b"]


async def test_an_event_that_is_still_in_the_queue_is_late_and_not_missing(walk: Walk) -> None:
    walk.queue_is_empty = False
    await walk.published("a", "b", "c")
    await walk.received(1)
    await walk.gaps.check("intake")
    assert walk.fetched == []
    assert await walk.position() == 1
    # What comes after shows that it was not late: it will not come any more.
    await walk.received(3)
    await walk.gaps.check("intake")
    assert walk.fetched == ["b"]


async def test_an_event_that_is_worked_on_is_not_missing_however_long_it_takes(walk: Walk) -> None:
    await walk.published("a", "b", "c")
    events = await events_after(walk.intake.connection, "intake", 0)
    await walk.received(1, 3)
    walk.gaps.delivered(events[1])
    await walk.gaps.check("intake")
    assert walk.fetched == []
    assert await walk.position() == 1
    # Its worker says that it is done, but nothing of it is there.
    walk.gaps.settled(events[1])
    await walk.gaps.check("intake")
    assert walk.fetched == ["b"]


async def test_a_process_that_stands_by_leaves_time_to_the_one_that_is_fed(walk: Walk) -> None:
    await walk.published("a", "b")
    standing_by = Gaps(
        walk.ledger.subscriber,
        walk.logs,
        walk.gaps._deliver,
        walk.gaps._queue_is_empty,
        OVERDUE_SECONDS,
        GapSettings(0.1, grace_seconds=0.0, standby_grace_seconds=60.0),
    )
    # Another process works on both, which nobody can see here.
    for _ in range(3):
        await standing_by.check("intake")
    assert walk.fetched == []
    # Fed, it is the only one that is.
    first = (await events_after(walk.intake.connection, "intake", 0))[0]
    standing_by.delivered(first)
    await standing_by.check("intake")
    assert walk.fetched == ["b"]


async def test_an_event_that_the_broker_has_not_confirmed_is_not_missing(walk: Walk) -> None:
    await walk.published("a")
    await walk.received(1)
    await walk.intake.write("b", 1)
    await give_sequence(walk.intake.connection)
    await walk.gaps.check("intake")
    assert walk.fetched == []
    assert await walk.position() == 1


async def test_what_must_be_missing_for_a_while_is_not_fetched_at_the_first_look(walk: Walk) -> None:
    walk.gaps = Gaps(
        walk.ledger.subscriber,
        walk.logs,
        walk.gaps._deliver,
        walk.gaps._queue_is_empty,
        OVERDUE_SECONDS,
        GapSettings(0.1, 60.0),
    )
    await walk.published("a")
    for _ in range(3):
        await walk.gaps.check("intake")
    assert walk.fetched == []


async def test_what_waits_for_another_attempt_or_was_given_up_is_not_missing(walk: Walk) -> None:
    await walk.published("a", "b", "c")
    await walk.waits(2)
    await walk.intake.connection.execute(
        "INSERT INTO dead_letter (consumer, event_id, reason, attempts, envelope)"
        " SELECT %s, event_id, 'never', 5, '{}' FROM outbox WHERE sequence = 1",
        (walk.ledger.name,),
    )
    await walk.received(3)
    await walk.gaps.check("intake")
    assert walk.fetched == []
    # What waits may still get lost: the position must not pass it before it is settled.
    assert await walk.position() == 1
    await walk.received(2)
    await walk.gaps.check("intake")
    assert await walk.position() == 3


async def test_what_was_given_up_and_dropped_is_not_fetched_again(walk: Walk) -> None:
    await walk.published("a", "b", "c")
    await walk.received(1, 3)
    cursor = await walk.intake.connection.execute(
        "INSERT INTO dead_letter (consumer, event_id, reason, attempts, envelope)"
        " SELECT %s, event_id, 'never', 5, '{}' FROM outbox WHERE sequence = 2 RETURNING id",
        (walk.ledger.name,),
    )
    (letter_id,) = await cursor.fetchone() or (0,)
    assert await drop_letter(walk.intake.connection, letter_id)
    await walk.gaps.check("intake")
    assert walk.fetched == []
    assert await walk.position() == 3


async def test_what_waits_and_should_have_come_back_by_now_is_missing(walk: Walk) -> None:
    """The retry queue was purged, or the connection went before the retry's copy was in it."""
    await walk.published("a", "b", "c")
    await walk.received(1, 3)
    await walk.waits(2, since_seconds=OVERDUE_SECONDS - 20)
    await walk.gaps.check("intake")
    assert walk.fetched == []
    await walk.waits(2, since_seconds=OVERDUE_SECONDS + 20)
    await walk.gaps.check("intake")
    assert walk.fetched == ["b"]
    await walk.gaps.check("intake")
    assert await walk.position() == 3


async def test_what_is_waited_for_no_more_is_fetched(walk: Walk) -> None:
    """Its row is deleted so that its successors go on: it must not be forgotten with it."""
    await walk.published("a", "b", "c")
    await walk.waits(2)
    await walk.received(1, 3)
    await walk.gaps.check("intake")
    await walk.intake.connection.execute("DELETE FROM delivery_attempt")
    await walk.gaps.check("intake")
    assert walk.fetched == ["b"]


async def test_a_consumer_misses_only_what_it_is_bound_to(database: Callable[..., str]) -> None:
    async with walking(database, "gaps-scheduling", ("intake.Task.*",)) as walk:
        await walk.published("g1", "g2", resource_type="Goal")
        await walk.published("t1", "t2")
        await walk.received(4)
        await walk.gaps.check("intake")
        assert walk.fetched == ["t1"]
        await walk.gaps.check("intake")
        assert await walk.position() == 4


async def test_a_long_absence_is_made_good_in_order(walk: Walk) -> None:
    for version in range(1, 4):
        for resource in range(60):
            await walk.intake.write(f"t{resource}", version)
    await walk.published("last")
    await walk.gaps.check("intake")
    effects = await walk.ledger.effects()
    assert len(effects) == 181
    for resource in range(60):
        own = [subject[-1] for subject in effects if subject.startswith(f"Task/t{resource}/")]
        assert own == ["1", "2", "3"]


async def test_what_the_source_has_deleted_is_counted_and_not_waited_for(walk: Walk) -> None:
    await walk.published("a")
    await walk.received(1)
    await walk.gaps.check("intake")
    await walk.published("b", "c", "d")
    await walk.received(4)
    await walk.intake.connection.execute("DELETE FROM outbox WHERE sequence IN (2, 3)")
    await walk.gaps.check("intake")
    assert walk.fetched == []
    assert await walk.position() == 4
    assert counted("kanwa_events_beyond_retention", walk.ledger.name) == 2


async def test_a_missing_event_whose_version_is_gone_is_given_up_and_the_others_are_fetched(
    walk: Walk,
) -> None:
    await walk.published("a", "b", "c", "d")
    await walk.received(4)
    await walk.intake.connection.execute("DELETE FROM resource_version WHERE id = 'b'")
    await walk.gaps.check("intake")
    assert walk.fetched == ["a", "c"]
    assert counted("kanwa_events_given_up", walk.ledger.name) == 1
    await walk.gaps.check("intake")
    assert await walk.position() == 4
    assert counted("kanwa_events_given_up", walk.ledger.name) == 1


async def restored(walk: Walk, last: int) -> None:
    """The source's database is as it was when it had numbered up to `last`."""
    await walk.intake.connection.execute("DELETE FROM outbox WHERE sequence > %s", (last,))
    await walk.intake.connection.execute("UPDATE outbox_sequence SET last = %s", (last,))


async def test_after_a_restore_of_the_source_its_new_events_are_looked_at(walk: Walk) -> None:
    await walk.published("a", "b")
    await walk.received(1, 2)
    await walk.gaps.check("intake")
    await restored(walk, 1)
    await walk.gaps.check("intake")
    assert counted("kanwa_source_logs_went_back", walk.ledger.name) == 1
    await walk.published("c")
    await walk.gaps.check("intake")
    assert walk.fetched == ["c"]
    assert counted("kanwa_source_logs_went_back", walk.ledger.name) == 1


async def test_after_a_restore_of_the_source_numbers_from_before_make_nothing_missing(walk: Walk) -> None:
    await walk.published("a", "b", "c", "d")
    await walk.received(1, 2, 3, 4)
    await walk.gaps.check("intake")
    await restored(walk, 1)
    await walk.gaps.check("intake")
    # In the queue behind something else; 4 was delivered, but that was another 4.
    walk.queue_is_empty = False
    await walk.published("e")
    await walk.gaps.check("intake")
    assert walk.fetched == []


async def test_a_restored_source_that_has_numbered_past_the_position_is_walked_along_again(
    walk: Walk,
) -> None:
    await walk.published("a", "b", "c")
    await walk.received(1, 2, 3)
    await walk.gaps.check("intake")
    assert await walk.position() == 3
    await restored(walk, 1)
    await walk.published("d", "e", "f")
    await walk.received(4)
    await walk.gaps.check("intake")
    assert counted("kanwa_source_logs_went_back", walk.ledger.name) == 1
    await walk.gaps.check("intake")
    assert walk.fetched == ["d", "e"]
    await walk.gaps.check("intake")
    assert await walk.position() == 4
    assert counted("kanwa_source_logs_went_back", walk.ledger.name) == 1


async def test_a_restore_of_the_source_is_noticed_before_anything_was_compared(walk: Walk) -> None:
    await walk.published("a", "b", "c")
    await walk.received(1, 2, 3)
    await restored(walk, 1)
    await walk.gaps.check("intake")
    assert counted("kanwa_source_logs_went_back", walk.ledger.name) == 1


async def test_the_log_says_which_source_could_not_be_asked_and_why(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The module's own may be bound to what another test set up.
    monkeypatch.setattr(gaps, "_log", structlog.get_logger())
    walk.logs.away = True
    with logged() as lines:
        looking = asyncio.create_task(walk.gaps.run())
        (line, *_) = await until(lambda: [x for x in lines() if x["event"] == "source_log_not_compared"])
        looking.cancel()
    said = {"consumer": walk.ledger.name, "source": "intake", "reason": "status 503"}
    assert said.items() <= line.items()
    assert "withheld" not in line


async def test_a_source_that_stays_away_is_logged_once_in_a_minute(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "_log", structlog.get_logger())
    walk.logs.away = True
    with logged() as lines:
        looking = asyncio.create_task(walk.gaps.run())
        await until(lambda: counted("kanwa_gap_checks_failed", walk.ledger.name) >= 3)
        looking.cancel()
    assert [line["event"] for line in lines()] == ["source_log_not_compared"]


async def test_over_a_real_broker_a_jump_in_sequence_is_made_good(
    database: Callable[..., str], amqp_url: str
) -> None:
    async with AsyncExitStack() as stack:
        url = database()
        intake = await stack.enter_async_context(WritingService("intake", url))
        mdt = await stack.enter_async_context(Ledger("mdt", url))
        topology = Topology([mdt.subscriber.binding], delays_seconds=DELAYS_SECONDS)
        # Nobody is bound to what is published here: events go and arrive nowhere.
        nowhere = Topology([], prefix="nowhere")
        logs = OutboxLogs(intake)
        stop = asyncio.Event()
        publishers = [
            await stack.enter_async_context(Publisher(amqp_url, name="test", prepare=there.declare))
            for there in (topology, nowhere)
        ]
        for publisher in publishers:
            await asyncio.wait_for(publisher.wait_ready(), 20)
        consumer = Consumer(
            mdt.subscriber, amqp_url, publishers[0], topology, SETTINGS, logs=logs,
            # Only the jump can be the reason to look.
            gap_settings=GapSettings(check_seconds=600, grace_seconds=0.2),
        )  # fmt: skip
        consuming = asyncio.create_task(consumer.run(stop))
        for publisher, there, name in (
            (publishers[0], topology, "before"),
            (publishers[1], nowhere, "lost"),
            (publishers[0], topology, "after"),
        ):
            await intake.write(name, 1)
            end = asyncio.Event()
            relaying = asyncio.create_task(Relay(url, publisher, there, "intake").run(end))
            await until(lambda: _all_published(intake))
            end.set()
            await relaying
        await until(lambda: _has(mdt, 3), what="the lost event")
        assert sorted(await mdt.effects()) == [f"Task/{n}/_history/1" for n in ("after", "before", "lost")]
        stop.set()
        await consuming


async def test_over_a_real_broker_an_event_whose_retry_does_not_come_back_is_fetched(
    database: Callable[..., str], amqp_url: str
) -> None:
    async with AsyncExitStack() as stack:
        url = database()
        intake = await stack.enter_async_context(WritingService("intake", url))
        mdt = await stack.enter_async_context(Ledger("mdt", url))
        # A delay that no test waits for: what comes back did not come from the retry queue.
        topology = Topology([mdt.subscriber.binding], delays_seconds=(0.2, 600.0))
        settings = DeliverySettings(delays_seconds=(600.0, 0.2), vanished_seconds=5.0)
        publisher = await stack.enter_async_context(
            Publisher(amqp_url, name="test", prepare=topology.declare)
        )
        await asyncio.wait_for(publisher.wait_ready(), 20)
        stop = asyncio.Event()
        mdt.script["Task/t/_history/1"] = ["retry"]
        consumer = Consumer(
            mdt.subscriber, amqp_url, publisher, topology, settings,
            logs=OutboxLogs(intake), gap_settings=AT_ONCE,
        )  # fmt: skip
        tasks = [
            asyncio.create_task(consumer.run(stop)),
            asyncio.create_task(Relay(url, publisher, topology, "intake").run(stop)),
        ]
        await intake.write("t", 1)
        await until(lambda: mdt.value("SELECT count(*) FROM delivery_attempt"))
        await intake.write("other", 1)
        await until(lambda: _has(mdt, 2), what="the event that waited")
        assert sorted(await mdt.effects()) == ["Task/other/_history/1", "Task/t/_history/1"]
        assert await mdt.value("SELECT count(*) FROM delivery_attempt") == 0
        stop.set()
        await asyncio.gather(*tasks)


async def test_over_a_real_broker_what_a_slow_handler_works_on_is_not_missing(
    database: Callable[..., str], amqp_url: str
) -> None:
    async with AsyncExitStack() as stack:
        url = database()
        intake = await stack.enter_async_context(WritingService("intake", url))
        mdt = await stack.enter_async_context(Ledger("mdt", url))
        topology = Topology([mdt.subscriber.binding], delays_seconds=DELAYS_SECONDS)
        publisher = await stack.enter_async_context(
            Publisher(amqp_url, name="test", prepare=topology.declare)
        )
        await asyncio.wait_for(publisher.wait_ready(), 20)
        stop, logs = asyncio.Event(), OutboxLogs(intake)
        consumer = Consumer(
            mdt.subscriber, amqp_url, publisher, topology, SETTINGS, logs=logs, gap_settings=AT_ONCE
        )
        tasks = [
            asyncio.create_task(consumer.run(stop)),
            asyncio.create_task(Relay(url, publisher, topology, "intake").run(stop)),
        ]
        mdt.slow_seconds, before = 600.0, counted("kanwa_event_gaps", "mdt")
        await intake.write("t", 1)
        await until(lambda: mdt.running == 1)
        await until(lambda: _all_published(intake))
        pages = logs.pages
        await until(lambda: logs.pages >= pages + 5, what="looks at the log")
        assert counted("kanwa_event_gaps", "mdt") == before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _all_published(intake: WritingService) -> bool:
    return await intake.unpublished() == 0


async def _has(ledger: Ledger, number: int) -> bool:
    return len(await ledger.effects()) == number
