import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from psycopg import AsyncConnection

from kanwa_shared.messaging.outbox import (
    BodyMissing,
    delete_published,
    events_after,
    give_sequence,
    mark_published,
    outbox_status,
    waiting_events,
    waiting_hand_overs,
)
from tests.support.messaging import WritingService, scalar, write_version
from tests.support.waiting import until


@pytest.fixture
async def intake(database: Callable[..., str]) -> AsyncIterator[WritingService]:
    async with WritingService("intake", database()) as service:
        yield service


async def connect(service: WritingService) -> AsyncConnection:
    return await AsyncConnection.connect(service.url, autocommit=True)


async def test_sequences_follow_commits_without_a_gap_while_many_commit(intake: WritingService) -> None:
    """Writers commit in any order, some roll back; two sequencers number at the same time."""
    writers, versions = 6, 20
    dice = random.Random(7)
    done = asyncio.Event()

    async def writer(number: int) -> None:
        connection = await connect(intake)
        async with connection:
            for version in range(1, versions + 1):
                async with connection.transaction():
                    await write_version(connection, f"w{number}", version)
                    await asyncio.sleep(dice.uniform(0, 0.005))

    async def aborter() -> None:
        connection = await connect(intake)
        async with connection:
            for number in range(20):
                await connection.execute("BEGIN")
                await write_version(connection, f"never{number}", 1)
                await asyncio.sleep(0.002)
                await connection.execute("ROLLBACK")

    async def sequencer() -> None:
        connection = await connect(intake)
        async with connection:
            while not done.is_set():
                await give_sequence(connection)
                await asyncio.sleep(0)

    sequencers = [asyncio.create_task(sequencer()) for _ in range(2)]
    await asyncio.gather(aborter(), *(writer(number) for number in range(writers)))
    done.set()
    await asyncio.gather(*sequencers)
    await give_sequence(intake.connection)
    sequences = await intake.sequences()
    assert sorted(sequences) == list(range(1, writers * versions + 1))
    events = await events_after(intake.connection, "intake", 0, 1000)
    for number in range(writers):
        own = [event.version for event in events if event.resource_id == f"w{number}"]
        assert own == list(range(1, versions + 1))


async def test_a_late_commit_with_a_smaller_id_gets_the_next_sequence(intake: WritingService) -> None:
    late = await connect(intake)
    async with late:
        await late.execute("BEGIN")
        await write_version(late, "late", 1)
        await intake.write("early", 1)
        assert await give_sequence(intake.connection) == 1
        await late.execute("COMMIT")
        assert await give_sequence(intake.connection) == 1
    events = await events_after(intake.connection, "intake", 0)
    assert [(event.sequence, event.resource_id) for event in events] == [(1, "early"), (2, "late")]


async def test_a_second_sequencer_waits_and_numbers_nothing_twice(intake: WritingService) -> None:
    for number in range(5):
        await intake.write(f"t{number}", 1)
    first, second = await connect(intake), await connect(intake)
    async with first, second:
        async with first.transaction():
            await first.execute("SELECT last FROM outbox_sequence FOR UPDATE")
            waiting = asyncio.create_task(give_sequence(second))
            await until(
                lambda: scalar(
                    intake.connection,
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'outbox'",
                )
            )
            await first.execute("UPDATE outbox SET sequence = id WHERE id <= 3")
            await first.execute("UPDATE outbox_sequence SET last = 3")
        assert await waiting == 2
    assert await intake.sequences() == [1, 2, 3, 4, 5]


async def test_an_idle_outbox_is_numbered_without_a_write(intake: WritingService) -> None:
    reader = await connect(intake)
    async with reader:
        await reader.execute("SET default_transaction_read_only = on")
        assert await give_sequence(reader) == 0


async def test_hand_overs_have_no_sequence_and_are_read_by_target(intake: WritingService) -> None:
    await intake.hand_over("scheduling", "p1", resource_type="Procedure")
    await intake.hand_over("outcomes", "o1", resource_type="Observation")
    await intake.write("t1", 1)
    await give_sequence(intake.connection)
    assert await intake.sequences() == [1]
    rows = await waiting_hand_overs(
        intake.connection, without_ids=[], without_targets=["scheduling"], limit=10
    )
    assert [row.resource_id for row in rows] == ["o1"]
    assert [row.resource_id for row in await waiting_events(intake.connection, 0, 10)] == ["t1"]


async def test_status_counts_what_waits(intake: WritingService) -> None:
    for number in range(3):
        await intake.write(f"t{number}", 1)
    await give_sequence(intake.connection)
    rows = await waiting_events(intake.connection, 0, 10)
    await mark_published(intake.connection, [rows[0].id])
    status = await outbox_status(intake.connection)
    assert (status.depth, status.failing, status.last_sequence) == (2, 0, 3)
    assert status.oldest_age_seconds > 0


async def test_retention_deletes_only_what_was_published_long_ago(intake: WritingService) -> None:
    for number in range(3):
        await intake.write(f"t{number}", 1)
    await give_sequence(intake.connection)
    rows = await waiting_events(intake.connection, 0, 10)
    await mark_published(intake.connection, [row.id for row in rows[:2]])
    await intake.connection.execute(
        "UPDATE outbox SET published_at = now() - interval '8 days' WHERE sequence = 1"
    )
    assert await delete_published(intake.connection, older_than=timedelta(days=7)) == 1
    assert [event.sequence for event in await events_after(intake.connection, "intake", 0)] == [2, 3]
    await intake.write("t9", 1)
    await give_sequence(intake.connection)
    assert (await intake.sequences())[-1] == 4


async def test_an_event_whose_text_is_gone_is_not_announced_as_a_deletion(intake: WritingService) -> None:
    await intake.write("t1", 1)
    await give_sequence(intake.connection)
    await intake.connection.execute("DELETE FROM resource_version")
    with pytest.raises(BodyMissing):
        await events_after(intake.connection, "intake", 0)
