"""What triage finds out about a patient, over a real PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kanwa_intake.settings import IntakeSettings
from kanwa_intake.store.triage_facts import gather_facts
from kanwa_shared.clinical import codes
from kanwa_shared.rest.service import Context
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
BASE = "https://kanwa.test/fhir"
HERE = "Patient/p1"
ELSEWHERE = "https://ehr.example/fhir/Patient/p1"


@pytest.fixture
async def store(database: Callable[..., str]) -> AsyncIterator[ResourceStore]:
    async with open_pool(database(), max_size=2) as pool:
        yield ResourceStore(pool, base_url=BASE)


def context(store: ResourceStore) -> Context:
    settings = IntakeSettings.load(database_url="postgresql://unused", auth_mode="open", base_url=BASE)
    return Context(store, ChangeSet(NOW), NOW, None, settings)


def measured(subject: str, loinc: str = codes.INR) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": codes.loinc(loinc),
        "subject": {"reference": subject},
    }


def requested(subject: str, status: str = "active") -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": status,
        "intent": "order",
        "subject": {"reference": subject},
    }


async def facts_about(store: ResourceStore, subject: str, *stored: dict[str, Any]) -> list[str]:
    changes = ChangeSet(NOW)
    for number, tree in enumerate(stored):
        changes.create(tree, id=f"r{number}")
    await store.commit(changes)
    facts = await gather_facts("ServiceRequest/new", requested(subject), context(store))
    return sorted(at for at, _ in (*facts.observations, *facts.active_requests))


async def test_only_what_triage_reads_of_this_patient_is_found(store: ResourceStore) -> None:
    found = await facts_about(
        store,
        HERE,
        measured(HERE),
        measured(HERE, "8867-4"),
        measured("Patient/p2"),
        requested(HERE),
        requested(HERE, "revoked"),
        requested("Patient/p2"),
    )
    assert found == ["Observation/r0", "ServiceRequest/r3"]


async def test_a_patient_of_another_server_is_found_by_the_url(store: ResourceStore) -> None:
    found = await facts_about(
        store, ELSEWHERE, measured(ELSEWHERE), requested(ELSEWHERE), measured(HERE), requested(HERE)
    )
    assert found == ["Observation/r0", "ServiceRequest/r1"]


async def test_an_absolute_reference_to_this_server_names_the_same_patient(store: ResourceStore) -> None:
    absolute = f"{BASE}/{HERE}"
    found = await facts_about(store, HERE, measured(absolute), requested(f"{HERE}/_history/2"))
    assert found == ["Observation/r0", "ServiceRequest/r1"]
    assert await facts_about(store, absolute) == found


async def test_what_is_deleted_counts_no_more(store: ResourceStore) -> None:
    assert await facts_about(store, HERE, requested(HERE)) == ["ServiceRequest/r0"]
    changes = ChangeSet(NOW)
    changes.delete(await store.read("ServiceRequest", "r0"))
    await store.commit(changes)
    assert await facts_about(store, HERE) == []


async def test_what_the_same_change_set_writes_is_known_before_it_is_stored(store: ResourceStore) -> None:
    writing = context(store)
    writing.changes.create(measured(f"{BASE}/{HERE}"), id="o1")
    writing.changes.create(measured(ELSEWHERE), id="o2")
    facts = await gather_facts("ServiceRequest/new", requested(HERE), writing)
    assert [at for at, _ in facts.observations] == ["Observation/o1"]


async def test_a_request_without_a_reference_to_its_patient_has_no_facts(store: ResourceStore) -> None:
    tree = requested(HERE) | {"subject": {"display": "A patient"}}
    facts = await gather_facts("ServiceRequest/new", tree, context(store))
    assert (facts.observations, facts.active_requests) == ((), ())
