"""$validate says what a write would be told, and writes nothing."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tests.support.fhir_server import FhirServer, fhir_server

REFERRAL = "https://kanwa.example/fhir/StructureDefinition/referral"
FAULTY: dict[str, Any] = {"resourceType": "Patient", "gender": "banana", "birthDate": "1950-02-30", "nme": 1}


@pytest.fixture
async def server(database: Callable[..., str]) -> AsyncIterator[FhirServer]:
    async with fhir_server(database) as running:
        yield running


@pytest.fixture
def fhir(server: FhirServer) -> httpx.AsyncClient:
    return server.fhir


async def issues(answer: httpx.Response, status: int = 200) -> list[dict[str, Any]]:
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    return answer.json()["issue"]


def parameters(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(listed)}


@pytest.mark.parametrize("body", [FAULTY, parameters({"name": "resource", "resource": FAULTY})])
async def test_all_faults_are_told_at_once_with_status_200(
    fhir: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    found = await issues(await fhir.post("Patient/$validate", json=body))
    named = {path for issue in found for path in issue["expression"]}
    assert {"Patient.gender", "Patient.birthDate", "Patient.nme"} <= named
    assert all(issue["severity"] == "error" for issue in found)


async def test_a_resource_without_fault_is_told_so_and_not_stored(fhir: httpx.AsyncClient) -> None:
    found = await issues(await fhir.post("Patient/$validate?mode=create", json={"resourceType": "Patient"}))
    assert [issue["severity"] for issue in found] == ["information"]
    assert (await fhir.get("Patient")).json()["total"] == 0


@pytest.mark.parametrize("resource_type", ["Slot", "Observation", "Basic", "Parameters"])
async def test_every_service_validates_its_own_types(fhir: httpx.AsyncClient, resource_type: str) -> None:
    body = {"resourceType": resource_type, "banana": 1}
    found = await issues(await fhir.post(f"{resource_type}/$validate", json=body))
    assert f"{resource_type}.banana" in {path for issue in found for path in issue["expression"]}


async def test_a_body_that_is_no_json_or_another_type_is_a_fault_of_the_resource(
    fhir: httpx.AsyncClient,
) -> None:
    assert (await issues(await fhir.post("Patient/$validate", content=b'{"a":1,')))[0]["severity"] == "error"
    twice = b'{"resourceType":"Patient","active":true,"active":false}'
    assert (await issues(await fhir.post("Patient/$validate", content=twice)))[0]["severity"] == "error"
    other = await issues(await fhir.post("Patient/$validate", json={"resourceType": "Basic"}))
    assert other[0]["expression"] == ["resourceType"]


async def test_a_profile_that_was_asked_for_is_judged(fhir: httpx.AsyncClient) -> None:
    request = {
        "resourceType": "ServiceRequest", "status": "draft", "intent": "plan", "subject": {"reference": "Patient/p"},
    }  # fmt: skip
    plain = await issues(await fhir.post("ServiceRequest/$validate", json=request))
    assert plain[0]["severity"] == "information"
    asked = parameters({"name": "resource", "resource": request}, {"name": "profile", "valueUri": REFERRAL})
    for answer in (
        await fhir.post("ServiceRequest/$validate", json=asked),
        await fhir.post("ServiceRequest/$validate", params={"profile": REFERRAL}, json=request),
    ):
        assert "ServiceRequest.code" in {path for one in await issues(answer) for path in one["expression"]}
    base = "http://hl7.org/fhir/StructureDefinition/ServiceRequest"
    answer = await fhir.post("ServiceRequest/$validate", params={"profile": base}, json=request)
    assert (await issues(answer))[0]["severity"] == "information"
    unknown = await fhir.post(
        "ServiceRequest/$validate", params={"profile": "http://x.example/p"}, json=request
    )
    assert (await issues(unknown))[0]["code"] == "not-found"


async def test_a_mode_asks_the_rules_as_well_and_commits_nothing(fhir: httpx.AsyncClient) -> None:
    pain = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "72514-3"}]},
        "subject": {"reference": "Patient/p"},
        "valueInteger": 11,
    }
    content = await issues(await fhir.post("Observation/$validate", json=pain))
    as_create = await issues(await fhir.post("Observation/$validate?mode=create", json=pain))
    refused = await issues(await fhir.post("Observation", json=pain), 422)
    assert content[0]["severity"] == "information"
    assert as_create == refused, "the same words as the write itself"
    accepted = await fhir.post("Observation/$validate?mode=create", json={**pain, "valueInteger": 3})
    assert (await issues(accepted))[0]["severity"] == "information"
    assert (await fhir.get("Observation")).json()["total"] == 0


async def test_what_is_stored_can_be_judged_and_its_deletion_asked_about(fhir: httpx.AsyncClient) -> None:
    await fhir.put("Patient/p", json={"resourceType": "Patient", "id": "p"})
    assert (await issues(await fhir.get("Patient/p/$validate")))[0]["severity"] == "information"
    assert (await issues(await fhir.post("Patient/p/$validate?mode=delete")))[0]["severity"] == "information"
    assert (await fhir.get("Patient/p")).status_code == 200
    changed = {"resourceType": "Patient", "id": "q"}
    asked = await issues(await fhir.post("Patient/p/$validate?mode=update", json=changed))
    assert asked[0]["expression"] == ["Patient.id"]
    assert (await issues(await fhir.get("Patient/none/$validate"), 404))[0]["code"] == "not-found"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("Patient/$validate", None),
        ("Patient/$validate?mode=banana", {"resourceType": "Patient"}),
        ("Patient/$validate?mode=delete", {"resourceType": "Patient"}),
        ("Patient/$validate?mode=profile", {"resourceType": "Patient"}),
        ("Patient/$validate?colour=red", {"resourceType": "Patient"}),
        ("Patient/$validate", parameters({"name": "mode", "valueCode": "create"})),
        ("Patient/$validate", parameters({"name": "mode", "valueBanana": "create"})),
    ],
)
async def test_a_call_that_cannot_be_carried_out_is_400(
    fhir: httpx.AsyncClient, path: str, body: dict[str, Any] | None
) -> None:
    await issues(await (fhir.post(path) if body is None else fhir.post(path, json=body)), 400)
