"""What a commit reads: its own rows, not whole tables."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import AsyncConnection

from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.commit import commit
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore
from tests.support.plans import reading_whole

PATIENTS = 2000
TABLES = (
    *("resource", "resource_version", "resource_reference"),
    *("resource_date", "resource_quantity", "resource_string"),
)
#: As many as a hospital has in its first weeks: few enough that reading a whole table looks cheap.
COPIES = (
    "INSERT INTO resource SELECT resource_type, id || '-' || n, version, last_updated, deleted, replica, tokens"
    " FROM resource, generate_series(1, %s) n",
    "INSERT INTO resource_version SELECT resource_type, id || '-' || n, version, last_updated, interaction, body"
    " FROM resource_version, generate_series(1, %s) n",
    "INSERT INTO resource_reference SELECT resource_type, id || '-' || n, param, target_type, target_id"
    " FROM resource_reference, generate_series(1, %s) n",
    "INSERT INTO resource_date (resource_type, id, param, low, high)"
    " SELECT resource_type, id || '-' || n, param, low, high FROM resource_date, generate_series(1, %s) n",
    "INSERT INTO resource_string SELECT resource_type, id || '-' || n, param, normalised, exact"
    " FROM resource_string, generate_series(1, %s) n",
)


def patient(**members: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "name": [{"family": "Aoki"}],
        "birthDate": "1951-04-02",
        "managingOrganization": {"reference": "Organization/one"},
        **members,
    }


@pytest.fixture
async def store(database: Callable[..., str]) -> AsyncIterator[ResourceStore]:
    """A store with some thousand patients."""
    async with open_pool(database(), max_size=2) as pool:
        store = ResourceStore(pool)
        made = ChangeSet(datetime.now(UTC))
        made.create(patient(), id="first")
        await store.commit(made)
        async with pool.connection() as connection:
            for copy in COPIES:
                await connection.execute(copy, (PATIENTS,))
        async with pool.connection() as connection:
            await connection.execute("ANALYZE")
        yield store


async def committed(connection: AsyncConnection[Any], changes: ChangeSet) -> set[str]:
    """The tables that a commit read from end to end."""
    async with reading_whole(connection, *TABLES) as found:
        await commit(connection, changes)
    return found


async def test_an_update_finds_its_rows_by_index(store: ResourceStore) -> None:
    changes = ChangeSet(datetime.now(UTC))
    changes.update(await store.read("Patient", "first"), patient(id="first", active=False))
    async with store.pool.connection() as connection:
        assert await committed(connection, changes) == set()


async def test_a_replica_finds_its_rows_by_index(store: ResourceStore) -> None:
    now = datetime.now(UTC)
    event = Event.of(
        id="018f0000-0000-7000-8000-000000000001",
        service="scheduling",
        resource_type="Patient",
        resource_id="elsewhere",
        version=1,
        interaction="create",
        time=now,
        sequence=1,
        body=dumps(patient(id="elsewhere")),
    )
    changes = ChangeSet(now)
    changes.replica(event)
    async with store.pool.connection() as connection:
        assert await committed(connection, changes) == set()
