"""The one commit: resources, versions, search rows and outbox together or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from psycopg.sql import SQL, Identifier

from kanwa_shared.errors import Gone, NotFound, VersionConflict
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.commit import CommitUncertain, ReceivedBefore
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore


@pytest.fixture
async def store(database: Callable[..., str]) -> AsyncIterator[ResourceStore]:
    async with open_pool(database(), max_size=8) as pool:
        yield ResourceStore(pool)


def changes() -> ChangeSet:
    return ChangeSet(datetime.now(UTC))


def a_patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": "Aoki"}], **members}


async def outbox(store: ResourceStore) -> list[tuple[Any, ...]]:
    async with store.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT kind, resource_type, resource_id, version, interaction FROM outbox ORDER BY id"
        )
        return await cursor.fetchall()


async def count(store: ResourceStore, table: str) -> int:
    async with store.pool.connection() as connection:
        cursor = await connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table)))
        row = await cursor.fetchone()
        assert row is not None
        return row[0]


async def test_a_created_resource_is_read_found_and_announced(store: ResourceStore) -> None:
    made = changes()
    id = made.create(a_patient())
    await store.commit(made)
    assert (await store.read("Patient", id)).version == 1
    assert [found.id for found in await store.find("Patient", family="aok")] == [id]
    assert await outbox(store) == [("event", "Patient", id, 1, "create")]


async def test_every_version_stays_readable_after_update_and_deletion(store: ResourceStore) -> None:
    first = changes()
    id = first.create(a_patient())
    await store.commit(first)
    second = changes()
    second.update(await store.read("Patient", id), a_patient(active=True))
    await store.commit(second)
    third = changes()
    third.delete(await store.read("Patient", id))
    await store.commit(third)
    with pytest.raises(Gone):
        await store.read("Patient", id)
    assert (await store.read_version("Patient", id, 2)).tree["active"] is True
    with pytest.raises(Gone):
        await store.read_version("Patient", id, 3)
    assert await store.find("Patient", family="aoki") == []
    assert [row[3:] for row in await outbox(store)] == [(1, "create"), (2, "update"), (3, "delete")]


async def test_an_update_over_an_outdated_version_writes_nothing(store: ResourceStore) -> None:
    first = changes()
    id = first.create(a_patient())
    await store.commit(first)
    read = await store.read("Patient", id)
    winner, loser = changes(), changes()
    winner.update(read, a_patient(active=True))
    loser.update(read, a_patient(active=False))
    loser_patient = loser.create(a_patient())
    await store.commit(winner)
    with pytest.raises(VersionConflict):
        await store.commit(loser)
    with pytest.raises(NotFound):
        await store.read("Patient", loser_patient)
    assert (await store.read("Patient", id)).tree["active"] is True
    assert len(await outbox(store)) == 2


async def test_of_many_rivals_over_one_version_exactly_one_wins(store: ResourceStore) -> None:
    first = changes()
    id = first.create(a_patient())
    await store.commit(first)
    read = await store.read("Patient", id)

    async def rival(number: int) -> bool:
        mine = changes()
        mine.update(read, a_patient(identifier=[{"value": str(number)}]))
        try:
            await store.commit(mine)
        except VersionConflict:
            return False
        return True

    outcomes = await asyncio.gather(*(rival(number) for number in range(16)))
    assert outcomes.count(True) == 1
    assert (await store.read("Patient", id)).version == 2


async def test_a_failing_statement_takes_the_resources_with_it(store: ResourceStore) -> None:
    made = changes()
    id = made.create(a_patient())
    made.statement("INSERT INTO inbox (consumer, event_id, received_at) VALUES ('a', %s, now())", (uuid4(),))
    made.statement("SELECT 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        await store.commit(made)
    with pytest.raises(NotFound):
        await store.read("Patient", id)
    assert await outbox(store) == []
    assert await count(store, "inbox") == 0


async def test_a_received_event_has_its_effect_once(store: ResourceStore) -> None:
    event_id = str(uuid4())

    def effect() -> ChangeSet:
        made = changes()
        made.mark_received("intake", event_id)
        made.create(a_patient())
        return made

    await store.commit(effect())
    with pytest.raises(ReceivedBefore):
        await store.commit(effect())
    assert await count(store, "resource") == 1


def an_event(id: str, version: int, family: str) -> Event:
    body = b'{"resourceType":"Patient","id":"%s","name":[{"family":"%s"}]}' % (id.encode(), family.encode())
    return Event.of(
        id=str(uuid4()), service="intake", resource_type="Patient", resource_id=id, version=version,
        interaction="create" if version == 1 else "update", time=datetime.now(UTC), sequence=version, body=body,
    )  # fmt: skip


async def test_a_replica_keeps_the_newest_version_and_never_the_older(store: ResourceStore) -> None:
    newer, older = changes(), changes()
    newer.replica(an_event("p1", 3, "Newer"))
    older.replica(an_event("p1", 2, "Older"))
    await store.commit(newer)
    with pytest.raises(VersionConflict):
        await store.commit(older)
    assert (await store.read("Patient", "p1")).version == 3
    assert [found.id for found in await store.find("Patient", family="newer")] == ["p1"]
    assert await store.find("Patient", family="older") == []
    assert await outbox(store) == []


async def test_a_hand_over_waits_in_the_outbox_for_its_owner(store: ResourceStore) -> None:
    made = changes()
    made.hand_over({"resourceType": "Observation", "status": "final", "code": {"text": "pain"}}, id="o1")
    await store.commit(made)
    async with store.pool.connection() as connection:
        cursor = await connection.execute("SELECT kind, target, payload::jsonb ->> 'id' FROM outbox")
        assert await cursor.fetchall() == [("handover", "outcomes", "o1")]


async def test_a_resource_written_twice_in_one_change_set_gets_one_version(store: ResourceStore) -> None:
    made = changes()
    id = made.create(a_patient())
    created = made.stored("Patient", id)
    assert created is not None
    made.update(created, a_patient(active=True))
    await store.commit(made)
    read = await store.read("Patient", id)
    assert (read.version, read.tree["active"]) == (1, True)
    assert await outbox(store) == [("event", "Patient", id, 1, "create")]


async def test_a_connection_that_is_lost_in_a_commit_leaves_it_open_whether_it_was_written(
    store: ResourceStore,
) -> None:
    made = changes()
    made.create(a_patient())
    made.statement("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(CommitUncertain):
        await store.commit(made)
