"""Patient/[id]/$everything gives the whole record of one patient, whoever owns its parts, and nothing else."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from kanwa_shared.fhir.search.compartment import patient_compartment
from kanwa_shared.fhir.search.definitions import parameters_of
from tests.support.fhir_server import FhirServer, fhir_server
from tests.support.signed_in import authorization_server, bearer, protected_settings

P, Q = {"reference": "Patient/p"}, {"reference": "Patient/q"}
OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
DEVICE: dict[str, Any] = {"resourceType": "Device"}
RECORD: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "Organization/o"}},
    {"resourceType": "Condition", "id": "c", "subject": P, "asserter": {"reference": "Practitioner/d"}},
    {"resourceType": "Task", "id": "t", "status": "draft", "intent": "order", "for": P},
    {**OBSERVATION, "id": "early", "subject": P, "effectiveDateTime": "2026-01-10", "valueQuantity": {"value": 1.5}},
    {**OBSERVATION, "id": "late", "subject": P, "effectiveDateTime": "2026-03-10"},
    {**DEVICE, "id": "stent", "patient": P, "location": {"reference": "Location/theatre"}},
    {"resourceType": "RelatedPerson", "id": "r", "patient": P},
]  # fmt: skip
SUPPORT: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "o", "name": "O"},
    {"resourceType": "Practitioner", "id": "d"},
    {"resourceType": "Location", "id": "theatre"},
]
FOREIGN: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "q"},
    {**OBSERVATION, "id": "hers", "subject": Q},
    {**DEVICE, "id": "hers", "patient": Q},
    {"resourceType": "Practitioner", "id": "stranger"},
]


async def fill(fhir: httpx.AsyncClient) -> None:
    mention = {**OBSERVATION, "id": "mention", "subject": P, "device": {"reference": "Device/hers"},
               "derivedFrom": [{"reference": "Observation/hers"}]}  # fmt: skip
    for resource in [*RECORD, *SUPPORT, *FOREIGN, mention]:
        answer = await fhir.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
        assert answer.status_code == 201, answer.text


@pytest.fixture
async def server(database: Callable[..., str]) -> AsyncIterator[FhirServer]:
    async with fhir_server(database) as running:
        await fill(running.fhir)
        yield running


def references(*resources: dict[str, Any]) -> set[str]:
    return {f"{one['resourceType']}/{one['id']}" for one in resources}


def entries(bundle: dict[str, Any]) -> list[str]:
    return [entry["fullUrl"].split("/fhir/")[1] for entry in bundle.get("entry", []) if "fullUrl" in entry]


async def read(fhir: httpx.AsyncClient, query: str = "") -> dict[str, Any]:
    answer = await fhir.get("Patient/p/$everything" + query)
    assert answer.status_code == 200, answer.text
    return answer.json()


WHOLE = references(*RECORD, *SUPPORT) | {"Observation/mention"}


async def test_the_record_is_whole_across_services_and_has_nobody_elses(server: FhirServer) -> None:
    answer = await server.fhir.get("Patient/p/$everything")
    bundle = answer.json()
    assert sorted(entries(bundle)) == sorted(WHOLE)
    assert (bundle["type"], bundle["total"]) == ("searchset", len(WHOLE))
    modes = {entry["fullUrl"].split("/fhir/")[1]: entry["search"]["mode"] for entry in bundle["entry"]}
    assert {one for one, mode in modes.items() if mode == "include"} == references(*SUPPORT)
    assert (await server.fhir.get("Observation/early")).content in answer.content
    posted = await server.fhir.post("Patient/p/$everything", json={"resourceType": "Parameters"})
    assert sorted(entries(posted.json())) == sorted(WHOLE)


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_pages_show_each_resource_once(server: FhirServer, count: int) -> None:
    seen: list[str] = []
    url = f"http://localhost/fhir/Patient/p/$everything?_count={count}"
    while url:
        page = (await server.fhir.get(url)).json()
        assert len(entries(page)) <= count
        seen += entries(page)
        url = {link["relation"]: link["url"] for link in page["link"]}.get("next", "")
    assert sorted(seen) == sorted(WHOLE)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?_type=Observation,Practitioner&start=2026-02",
         {"Observation/late", "Observation/mention", "Practitioner/d"}),
        ("?_type=Condition&_type=Device", {"Condition/c", "Device/stent"}),
        ("?_type=Patient&start=2026-02", {"Patient/p"}),
        ("?_type=Observation&start=2026-02", {"Observation/late", "Observation/mention"}),
        ("?_type=Observation&end=2026-01-10", {"Observation/early", "Observation/mention"}),
        ("?_type=Observation,Condition&start=2026-01-11&end=2026-02-28", {"Condition/c", "Observation/mention"}),
    ],
)  # fmt: skip
async def test_a_part_of_the_record_can_be_asked_for(
    server: FhirServer, query: str, expected: set[str]
) -> None:
    assert set(entries(await read(server.fhir, query))) == expected


async def test_what_changed_since_an_instant_is_asked_for_with_since(server: FhirServer) -> None:
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    assert entries(await read(server.fhir, f"?_since={moment}")) == []
    await server.fhir.put("Condition/c", json={**RECORD[1], "recordedDate": "2026-11-25"})
    await server.fhir.put("Location/theatre", json={**SUPPORT[2], "name": "2"})
    assert set(entries(await read(server.fhir, f"?_since={moment}"))) == {"Condition/c", "Location/theatre"}


@pytest.mark.parametrize("away", ["scheduling", "outcomes"])
async def test_without_one_service_there_is_no_answer_rather_than_a_part(
    server: FhirServer, away: str
) -> None:
    server.away.add(away)
    answer = await server.fhir.get("Patient/p/$everything")
    assert answer.status_code == 503
    assert away in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("Patient/none/$everything", 404),
        ("Patient/p/$everything?colour=red", 400),
        ("Patient/p/$everything?_type=Banana", 400),
        ("Patient/p/$everything?_count=0", 400),
        ("Patient/p/$everything?_since=yesterday", 400),
        ("Patient/p/$everything?start=soon", 400),
        ("Patient/p/$everything?_cursor=elsewhere/1", 400),
        ("Observation/early/$everything", 404),
    ],
)
async def test_what_cannot_be_answered_is_refused(server: FhirServer, path: str, status: int) -> None:
    answer = await server.fhir.get(path)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


async def test_a_deleted_patient_is_gone(server: FhirServer) -> None:
    await server.fhir.delete("Patient/q")
    assert (await server.fhir.get("Patient/q/$everything")).status_code == 410


async def test_types_that_the_token_may_not_read_are_left_out_and_named(
    database: Callable[..., str], tmp_path: Path
) -> None:
    authorization = authorization_server(tmp_path)
    async with fhir_server(database, **protected_settings(authorization)) as server:
        server.fhir.headers.update(bearer(authorization, "system/*.cruds"))
        await fill(server.fhir)
        server.fhir.headers.update(
            bearer(authorization, "system/Patient.rs system/Condition.rs system/Location.r")
        )
        bundle = await read(server.fhir)
        assert set(entries(bundle)) == {"Patient/p", "Condition/c", "Location/theatre"}
        outcome = bundle["entry"][-1]
        assert outcome["search"]["mode"] == "outcome"
        assert "Observation" in outcome["resource"]["issue"][0]["diagnostics"]
        asked = {"part": "members", "patient": "p", "types": ["Observation", "Condition"], "limit": 9}
        answer = await server.fhir.post("$record", json=asked)
        assert [held["resource_type"] for held in answer.json()] == ["Condition"], "no way past the scopes"
        assert (await server.fhir.post("$record", json={})).status_code == 400


def test_every_type_that_can_point_to_a_patient_by_a_parameter_named_so_is_in_the_compartment() -> None:
    named = {
        resource_type
        for resource_type in patient_compartment()
        for code in ("patient", "subject")
        if code in parameters_of(resource_type)
    }
    assert {"Observation", "Procedure", "Task", "ServiceRequest"} <= named
    assert all(rows for rows in patient_compartment().values())
