"""Creations that come at once share a transaction, and each still stands or falls by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from kanwa_shared.errors import DomainError, NotFound, VersionConflict
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.commit import CommitUncertain, commit
from kanwa_shared.store.group_commit import TOGETHER_MOST, may_go_together
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore
from kanwa_shared.store.stored import StoredResource
from tests.support.waiting import until


@pytest.fixture
async def store(database: Callable[..., str]) -> AsyncIterator[ResourceStore]:
    async with open_pool(database(), max_size=8) as pool:
        yield ResourceStore(pool)


def creation(*ids: str, chosen: bool = False) -> ChangeSet:
    made = ChangeSet(datetime.now(UTC))
    for id in ids:
        made.create({"resourceType": "Patient"}, id=id, chosen=chosen)
    return made


async def rows(store: ResourceStore, sql: psycopg.sql.SQL) -> list[tuple[Any, ...]]:
    async with store.pool.connection() as connection:
        return await (await connection.execute(sql)).fetchall()


async def test_creations_at_once_are_all_there_and_share_transactions(store: ResourceStore) -> None:
    ids = [str(uuid4()) for _ in range(100)]
    await asyncio.gather(*(store.commit(creation(id)) for id in ids))
    found = await store.get_many([("Patient", id) for id in ids])
    assert len(found) == 100
    events = await rows(store, psycopg.sql.SQL("SELECT resource_id FROM outbox ORDER BY id"))
    assert sorted(id for (id,) in events) == sorted(ids)
    transactions = await rows(store, psycopg.sql.SQL("SELECT DISTINCT xmin::text FROM resource"))
    assert 100 / TOGETHER_MOST <= len(transactions) < 50


async def test_a_creation_alone_does_not_wait_for_others(store: ResourceStore) -> None:
    for number in range(3):
        await asyncio.wait_for(store.commit(creation(f"p{number}")), 5)
    assert len(await rows(store, psycopg.sql.SQL("SELECT DISTINCT xmin::text FROM resource"))) == 3


async def test_a_refused_creation_does_not_take_its_neighbours_along(store: ResourceStore) -> None:
    await store.commit(creation("taken"))
    others = [str(uuid4()) for _ in range(30)]
    outcomes = await asyncio.gather(
        *(store.commit(creation(id)) for id in [*others[:15], "taken", *others[15:]]), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [VersionConflict]
    assert isinstance(outcomes[15], VersionConflict)
    assert len(await store.get_many([("Patient", id) for id in others])) == 30


async def test_of_two_creations_of_one_id_in_a_batch_one_is_refused(store: ResourceStore) -> None:
    # A batch is sent in the event loop's next round, so these are one.
    ids = ["a", "b", "c", "same", "same", "d"]
    outcomes = await asyncio.gather(*(store.commit(creation(id)) for id in ids), return_exceptions=True)
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 1
    assert len(await store.get_many([("Patient", id) for id in set(ids)])) == 5


async def test_creations_of_the_same_chosen_ids_in_opposite_orders_never_deadlock(
    database: Callable[..., str], postgres_server_url: str
) -> None:
    """As two API processes do whose clients PUT the same new resources, the one from the end, and in Bundles."""
    url = database()
    async with open_pool(url, max_size=4) as one, open_pool(url, max_size=4) as other:
        stores = ResourceStore(one), ResourceStore(other)
        for round_number in range(20):
            ids = [f"{round_number}-{place:02}" for place in range(TOGETHER_MOST)]
            outcomes = await asyncio.gather(
                *(stores[0].commit(creation(id, chosen=True)) for id in ids),
                *(stores[1].commit(creation(id, chosen=True)) for id in reversed(ids)),
                *(
                    store.commit(creation(*reversed(ids[place:]), chosen=True))
                    for store in stores
                    for place in (0, 8)
                ),
                return_exceptions=True,
            )
            assert {type(outcome) for outcome in outcomes if outcome is not None} == {VersionConflict}
            assert len(await stores[0].get_many([("Patient", id) for id in ids])) == len(ids)
    async with await psycopg.AsyncConnection.connect(postgres_server_url, autocommit=True) as elsewhere:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]

        async def all_have_gone() -> bool:
            cursor = await elsewhere.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            return await cursor.fetchone() == (0,)

        await until(all_have_gone, what="the end of the connections, which report their deadlocks with it")
        cursor = await elsewhere.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = %s", (name,))
        assert await cursor.fetchone() == (0,)


async def test_a_lost_database_is_said_to_everyone_and_the_next_creations_go_on(
    store: ResourceStore, postgres_server_url: str
) -> None:
    await store.commit(creation("before"))
    async with (
        await psycopg.AsyncConnection.connect(postgres_server_url, autocommit=True) as elsewhere,
        store.pool.connection() as own,
    ):
        # Whoever wants to write a resource waits for this lock, so the batches are under way when they are cut.
        async with own.transaction():
            await own.execute("LOCK TABLE resource IN EXCLUSIVE MODE")
            writing = [asyncio.ensure_future(store.commit(creation(f"cut{number}"))) for number in range(12)]

            async def cut() -> bool:
                cursor = await elsewhere.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s "
                    "AND wait_event_type = 'Lock' AND query LIKE '%%commit_changes%%'",
                    (own.info.dbname,),
                )
                row = await cursor.fetchone()
                return row is not None and row[0] > 0

            await until(cut, what="a commit under way")
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
    there = await store.get_many([("Patient", f"cut{number}") for number in range(12)])
    for number, outcome in enumerate(outcomes):
        assert (outcome is None) == (("Patient", f"cut{number}") in there)
        assert outcome is None or isinstance(outcome, CommitUncertain)
    assert any(outcome is not None for outcome in outcomes)
    await asyncio.wait_for(store.commit(creation("after")), 10)
    assert (await store.read("Patient", "after")).version == 1


async def test_a_caller_that_gives_up_does_not_hold_up_the_others(store: ResourceStore) -> None:
    writing = [asyncio.ensure_future(store.commit(creation(f"p{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    writing[7].cancel()
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 19


def a_stored(**members: Any) -> StoredResource:
    body = b'{"resourceType":"Patient","id":"p"}'
    return StoredResource("Patient", "p", 3, datetime.now(UTC), members.get("interaction", "update"), body)


def test_only_sets_that_create_and_read_nothing_go_together() -> None:
    assert may_go_together(creation("p"))
    updating = creation("q")
    updating.update(a_stored(), {"resourceType": "Patient", "id": "p"})
    receiving = creation("p")
    receiving.mark_received("mdt", str(uuid4()))
    stating = creation("p")
    stating.statement("SELECT 1")
    assert not any(map(may_go_together, (updating, receiving, stating)))
    assert may_go_together(creation("a", "b"))
    assert not may_go_together(creation("a", chosen=True)), "it may wait for another commit"


async def test_a_creation_that_waits_for_another_commit_holds_up_nobody(store: ResourceStore) -> None:
    waits = psycopg.sql.SQL(
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%commit_changes%'"
    )
    async with store.pool.connection() as other, other.transaction(force_rollback=True):
        await commit(other, creation("taken", chosen=True))
        waiting = asyncio.create_task(store.commit(creation("taken", chosen=True)))
        await until(lambda: rows(store, waits), what="a commit that waits for the other")
        await asyncio.gather(*(store.commit(creation(f"p{number}")) for number in range(20)))
        assert not waiting.done()
    await waiting


async def test_a_set_that_writes_one_id_twice_is_refused_before_it_is_sent(store: ResourceStore) -> None:
    made = creation("p")
    with pytest.raises(DomainError):
        made.create({"resourceType": "Patient"}, id="p")
    with pytest.raises(NotFound):
        await store.read("Patient", "p")
