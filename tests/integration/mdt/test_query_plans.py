"""What the board reads for one event and for one page: its own rows, not whole tables."""

from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from kanwa_mdt.application.project import project
from kanwa_mdt.store import cases, log
from kanwa_shared.messaging.envelope import EventHandler
from tests.support.mdt_cases import EventSource, Referral, whole_loop
from tests.support.plans import reading_whole

Pool = AsyncConnectionPool[Any]
#: Cases beside the one, each with all its facts and log rows. Below that a scan of everything may be the cheaper way.
OTHERS = 2000


@pytest.fixture
async def filled(pool: Pool, handler: EventHandler) -> tuple[Pool, Referral]:
    """A board with one referral through its loop and the facts and log rows of many others."""
    referral = Referral(EventSource(), "first")
    for event in whole_loop(referral):
        await handler(event)
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO fact SELECT reference || '-' || n, version, time, patient || '-' || n,"
            " ARRAY(SELECT link || '-' || n FROM unnest(links) AS link), content FROM fact, generate_series(1, %s) n",
            (OTHERS,),
        )
        await connection.execute(
            "INSERT INTO event_log (position, event_id, source, sequence, type, resource, version, time, patient,"
            " links, requests, stages, sites, envelope)"
            " SELECT position + 1000 * n, gen_random_uuid(), source, sequence + 1000 * n, type, resource || '-' || n,"
            " version, time, patient || '-' || n, ARRAY(SELECT link || '-' || n FROM unnest(links) AS link), requests,"
            " stages, sites, envelope FROM event_log, generate_series(1, %s) n",
            (OTHERS,),
        )
    async with pool.connection() as connection:
        await connection.execute("ANALYZE")
    return pool, referral


async def test_an_event_is_projected_by_index(filled: tuple[Pool, Referral]) -> None:
    pool, referral = filled
    event = EventSource().told(referral.service_request())
    async with pool.connection() as connection:
        async with reading_whole(connection, "fact", "event_log") as found:
            await project(connection, "test", [event])
        assert found == set()


async def test_a_timeline_is_read_by_index(filled: tuple[Pool, Referral]) -> None:
    pool, _ = filled
    async with pool.connection() as connection:
        case = await cases.find(connection, "first")
        assert case is not None
        async with reading_whole(connection, "event_log") as found:
            assert await log.read_timeline(connection, case.members, 100) != []
        assert found == set()
