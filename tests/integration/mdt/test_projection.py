"""Events in a real database: one commit for inbox, log and read models; any order; rebuilt from the log."""

import asyncio
import random
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from kanwa_mdt.domain.case import written
from kanwa_mdt.domain.fold import Facts, cases, fold
from kanwa_mdt.service import MdtSettings, event_handler, rebuild, retention
from kanwa_shared.messaging.envelope import Ack, Event, EventHandler
from kanwa_shared.messaging.retention import prune
from tests.support.mdt_cases import EventSource, Referral, people, whole_loop

Pool = AsyncConnectionPool[Any]


def story() -> list[Event]:
    """Two patients, three referrals, one of which moves to the other patient; a deletion; the people."""
    source = EventSource()
    first, second = Referral(source, "first"), Referral(source, "second", "nephrostomy", priority="urgent")
    third = Referral(source, "third", "emergency-embolization", family="Dietz", priority="stat", baseline="0")
    events = [*people(source), *whole_loop(first), *second.refer(missing=True), *third.refer()]
    moved = second.service_request(subject={"reference": first.patient})
    return [
        *events,
        source.told(moved),
        *third.book(),
        *third.begin(),
        source.deleted("Observation/second-baseline"),
    ]


async def rows(pool: Pool, query: str) -> list[tuple[Any, ...]]:
    async with pool.connection() as connection:
        return await (await connection.execute(query)).fetchall()  # type: ignore[arg-type]  # fixed texts


async def read_models(pool: Pool) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    return (
        await rows(pool, "SELECT * FROM referral_case ORDER BY service_request"),
        await rows(pool, "SELECT * FROM fact ORDER BY reference"),
    )


def expected(events: list[Event]) -> dict[str, str]:
    facts: Facts = {}
    for event in events:
        facts = fold(facts, event)
    return {key: written(case) for key, case in cases(facts).items()}


async def documents(pool: Pool) -> dict[str, str]:
    return dict(await rows(pool, "SELECT service_request, document FROM referral_case"))


async def test_one_after_the_other_ends_as_the_pure_fold_does(pool: Pool, handler: EventHandler) -> None:
    events = story()
    for event in events:
        assert await handler(event) == Ack()
    assert await documents(pool) == expected(events)


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_and_repetition_at_once_ends_as_the_pure_fold_does(
    pool: Pool, handler: EventHandler, seed: int
) -> None:
    events, chance = story(), random.Random(seed)
    delivered = events + chance.sample(events, len(events) // 2)
    chance.shuffle(delivered)
    size = chance.choice([1, 3, len(delivered)])
    for start in range(0, len(delivered), size):
        await asyncio.gather(*(handler(event) for event in delivered[start : start + size]))
    assert await documents(pool) == expected(events)


async def test_a_procedure_that_arrives_last_takes_its_measurements_from_the_patients_other_referral(
    pool: Pool, handler: EventHandler
) -> None:
    source = EventSource()
    first, other = Referral(source, "first"), Referral(source, "other")
    events = [*whole_loop(first), source.told(other.service_request(subject={"reference": first.patient}))]
    late = [event for event in events if event.resource_type == "Procedure"]
    for event in (*(event for event in events if event not in late), *late):
        await handler(event)
    assert await documents(pool) == expected(events)


async def test_the_log_has_each_event_once_without_a_gap(pool: Pool, handler: EventHandler) -> None:
    events = story()
    await asyncio.gather(*(handler(event) for event in events + events))
    log = await rows(pool, "SELECT position, event_id::text, envelope FROM event_log ORDER BY position")
    assert [row[0] for row in log] == list(range(1, len(events) + 1))
    assert {row[1] for row in log} == {event.id for event in events}
    by_id = {event.id: event for event in events}
    assert all(row[2].encode() == by_id[row[1]].to_cloudevent() for row in log)
    assert await rows(pool, "SELECT count(*) FROM inbox") == [(len(events),)]


async def test_two_processes_append_to_one_log(pool: Pool, handler: EventHandler) -> None:
    other, events = event_handler(pool, None), story()
    await asyncio.gather(*(take(event) for event in events for take in (handler, other)))
    positions = await rows(pool, "SELECT position FROM event_log ORDER BY position")
    assert positions == [(n,) for n in range(1, len(events) + 1)]
    assert await documents(pool) == expected(events)


async def test_rebuilt_from_the_log_the_read_models_are_equal_byte_for_byte(
    pool: Pool, handler: EventHandler
) -> None:
    events = story()
    random.Random(7).shuffle(events)
    await asyncio.gather(*(handler(event) for event in events))
    before = await read_models(pool)
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM fact WHERE reference LIKE 'Task/%'")
        await connection.execute("UPDATE referral_case SET document = '{}', stage = 'closed'")
    assert await rebuild(pool) == len(events)
    assert await read_models(pool) == before


async def test_a_log_whose_replaced_versions_are_gone_rebuilds_the_same(
    pool: Pool, handler: EventHandler, settings: MdtSettings
) -> None:
    events = story()
    for event in events:
        await handler(event)
    before = await read_models(pool)
    resources = {event.resource for event in events}
    await rows(pool, "UPDATE event_log SET time = now() - interval '366 days' RETURNING 1")
    assert await prune(pool, retention(settings)) == len(events) - len(resources)
    assert await rebuild(pool) == len(resources)
    assert await read_models(pool) == before


async def test_the_log_keeps_every_version_within_its_retention(
    pool: Pool, handler: EventHandler, settings: MdtSettings
) -> None:
    for event in story():
        await handler(event)
    await rows(pool, "UPDATE event_log SET time = now() RETURNING 1")
    assert await prune(pool, retention(settings)) == 0


async def test_what_the_log_keeps_is_not_read_again_when_replaced_versions_go(
    pool: Pool, handler: EventHandler, settings: MdtSettings
) -> None:
    for event in story():
        await handler(event)
    await rows(pool, "UPDATE event_log SET time = now() - interval '366 days' RETURNING 1")
    assert await prune(pool, retention(settings)) > 0
    async with pool.connection() as connection, connection.transaction():
        before = await log_rows_read(connection)
        for step in retention(settings):
            assert await step(connection) == 0
        assert await log_rows_read(connection) == before


async def log_rows_read(connection: AsyncConnection[Any]) -> int:
    cursor = await connection.execute(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'event_log'"
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def test_a_version_that_was_kept_goes_when_a_newer_one_comes(
    pool: Pool, handler: EventHandler, settings: MdtSettings
) -> None:
    source = EventSource()
    patient = {"resourceType": "Patient", "id": "p"}
    await handler(source.told(patient))
    await rows(pool, "UPDATE event_log SET time = now() - interval '366 days' RETURNING 1")
    assert await prune(pool, retention(settings)) == 0
    await handler(source.told(patient))
    await rows(pool, "UPDATE event_log SET time = now() WHERE version = 2 RETURNING 1")
    assert await prune(pool, retention(settings)) == 1
    assert await rows(pool, "SELECT version FROM event_log") == [(2,)]


async def test_a_row_by_a_clock_that_was_wrong_holds_up_no_other(
    pool: Pool, handler: EventHandler, settings: MdtSettings
) -> None:
    source = EventSource()
    for id in ("ahead", "p", "p"):
        await handler(source.told({"resourceType": "Patient", "id": id}))
    await rows(pool, "UPDATE event_log SET time = now() - interval '366 days' RETURNING 1")
    await rows(pool, "UPDATE event_log SET time = '2099-01-01Z' WHERE resource = 'Patient/ahead' RETURNING 1")
    assert await prune(pool, retention(settings)) == 1


async def test_events_that_arrive_during_a_rebuild_are_not_lost(pool: Pool, handler: EventHandler) -> None:
    events = story()
    half = len(events) // 2
    for event in events[:half]:
        await handler(event)
    await asyncio.gather(rebuild(pool), *(handler(event) for event in events[half:]))
    assert await documents(pool) == expected(events)


async def test_an_event_that_fails_takes_nothing_with_it(pool: Pool, handler: EventHandler) -> None:
    source = EventSource()
    good = list(Referral(source, "good").refer())
    broken = Event.of(
        id="5c6f6d2e-0f0b-4a39-9f43-0d4f5a1f6a11",
        service="intake",
        resource_type="Task",
        resource_id="broken",
        version=1,
        interaction="create",
        time=source.now,
        sequence=99,
        body=b'{"resourceType": "Task", "resourceType": "Task"}',
    )
    results = await asyncio.gather(
        *(handler(event) for event in (*good[:3], broken, *good[3:])), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results].count(True) == 1
    log = await rows(pool, "SELECT event_id::text FROM event_log ORDER BY position")
    assert {row[0] for row in log} == {event.id for event in good}
    assert await rows(pool, "SELECT count(*) FROM inbox") == [(len(good),)]
    assert set(await documents(pool)) == {"good"}


async def test_the_log_says_which_referral_stage_and_site_an_event_is_about(
    pool: Pool, handler: EventHandler
) -> None:
    referral = Referral(EventSource(), "a")
    for event in [*referral.refer(), *referral.decide(), *referral.book()]:
        await handler(event)
    query = "SELECT patient, requests, stages, sites FROM event_log WHERE resource = 'Appointment/a-visit'"
    assert await rows(pool, query) == [
        ("Patient/a-patient", ["ServiceRequest/a"], ["booked"], ["Location/suite-central-angio-ct"])
    ]
