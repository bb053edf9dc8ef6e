"""What is settled goes after its time; what waits stays, however old it is."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from kanwa_shared.messaging.outbox import give_sequence, mark_published
from kanwa_shared.messaging.retention import messaging_rows, prune
from kanwa_shared.store.pool import open_pool
from tests.support.messaging import WritingService

THIRTY, NINETY = timedelta(days=30), timedelta(days=90)


@pytest.fixture
async def intake(database: Callable[..., str]) -> AsyncIterator[WritingService]:
    async with WritingService("intake", database()) as service:
        yield service


@pytest.fixture
async def pool(intake: WritingService) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with open_pool(intake.url, max_size=2) as opened:
        yield opened


async def left(intake: WritingService) -> list[str]:
    cursor = await intake.connection.execute("SELECT resource_id FROM outbox ORDER BY id")
    return [row[0] for row in await cursor.fetchall()]


async def test_published_rows_go_after_the_window_and_unpublished_ones_never(
    intake: WritingService, pool: AsyncConnectionPool[Any]
) -> None:
    for name in ("old", "old-and-waiting", "new"):
        await intake.write(name, 1)
    await give_sequence(intake.connection)
    await mark_published(intake.connection, [1, 3])
    await intake.connection.execute(
        "UPDATE outbox SET occurred_at = now() - interval '400 days',"
        " published_at = CASE WHEN resource_id = 'old' THEN now() - interval '31 days' ELSE published_at END"
    )
    assert await prune(pool, messaging_rows(THIRTY, NINETY)) == 1
    assert await left(intake) == ["old-and-waiting", "new"]


async def test_numbering_goes_on_after_everything_was_deleted(
    intake: WritingService, pool: AsyncConnectionPool[Any]
) -> None:
    await intake.write("a", 1)
    await give_sequence(intake.connection)
    await intake.connection.execute("UPDATE outbox SET published_at = now() - interval '31 days'")
    await prune(pool, messaging_rows(THIRTY, NINETY))
    await intake.write("b", 1)
    await give_sequence(intake.connection)
    assert await intake.sequences() == [2]


async def test_a_received_event_is_remembered_longer_than_it_can_be_fetched(
    intake: WritingService, pool: AsyncConnectionPool[Any]
) -> None:
    await intake.connection.execute(
        "INSERT INTO inbox (consumer, event_id, received_at)"
        " SELECT 'mdt', gen_random_uuid(), now() - days * interval '1 day' FROM unnest(ARRAY[1, 60, 91, 200]) AS days"
    )
    assert await prune(pool, messaging_rows(THIRTY, NINETY)) == 2


async def test_open_dead_letters_stay_and_resolved_ones_go(
    intake: WritingService, pool: AsyncConnectionPool[Any]
) -> None:
    await intake.connection.execute(
        "INSERT INTO dead_letter (consumer, event_id, reason, attempts, envelope, died_at, replayed_at, resolved_at)"
        " SELECT 'mdt', gen_random_uuid(), kind, 5, '{}', now() - interval '1 year',"
        " now() - interval '1 year', CASE WHEN kind = 'resolved' THEN now() - interval '91 days' END"
        " FROM unnest(ARRAY['open', 'resolved']) AS kind"
    )
    await prune(pool, messaging_rows(THIRTY, NINETY))
    cursor = await intake.connection.execute("SELECT reason FROM dead_letter")
    assert await cursor.fetchall() == [("open",)]
