"""PATCH: the same way as an update, in the forms that known clients send."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from kanwa_intake.service import definition
from kanwa_intake.settings import IntakeSettings
from kanwa_shared.rest.app import create_app
from tests.support.rest import BASE, JSON, a_patient, issue

JSON_PATCH = {"content-type": "application/json-patch+json; charset=UTF-8"}


@pytest.fixture
async def intake(database: Callable[..., str]) -> AsyncIterator[httpx.AsyncClient]:
    """Intake with its rules."""
    settings = IntakeSettings.load(database_url=database(*_migrations()), auth_mode="open", base_url=BASE)
    app = create_app(definition, settings, peers={})
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"{BASE}/") as opened,
    ):
        yield opened


def _migrations() -> list[Any]:
    return [definition.migrations] if definition.migrations else []


A_TASK = {"resourceType": "Task", "status": "requested", "intent": "order", "extension": [
    {"url": "http://a.example/inr", "valueDecimal": 0}]}  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json-patch+json", b'[{"op":"add","path":"/active","value":true}]'),
        ("application/json", b'[{"op":"add","path":"/active","value":true}]'),
        ("application/merge-patch+json", b'{"active":true}'),
        ("application/json", b'{"active":true}'),
        ("application/json", b'{"resourceType":"Patient","active":true}'),
        ("application/fhir+json", b'{"active":true}'),
        (
            "application/fhir+json",
            b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},'
            b'{"name":"path","valueString":"Patient.active"},'
            b'{"name":"value","valueBoolean":true}]}]}',
        ),
    ],
)
async def test_each_kind_of_patch_makes_the_next_version(
    client: httpx.AsyncClient, content_type: str, body: bytes
) -> None:
    before = (
        b'{"resourceType":"Patient","active":false,"birthDate":"1950-01-01",'
        b'"_birthDate":{"extension":[{"url":"http://a.example","valueDecimal":1.10}]}}'
    )
    id = await a_patient(client, before)
    for version, url in enumerate([f"Patient/{id}", "Patient?birthdate=1950-01-01"], start=2):
        answer = await client.patch(url, content=body, headers={"content-type": content_type})
        assert (answer.status_code, answer.headers["etag"]) == (200, f'W/"{version}"'), answer.text
        assert answer.headers["location"] == f"{BASE}/Patient/{id}/_history/{version}"
    stored = await client.get(f"Patient/{id}")
    assert stored.content == answer.content
    assert stored.json()["active"] is True
    assert b'"valueDecimal":1.10' in stored.content


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"[]", 415),
        ("application/xml-patch+xml", b"<diff/>", 415),
        ("application/json-patch+json", b"{}", 400),
        ("application/json-patch+json", b"[{]", 400),
        ("application/json-patch+json", b'[{"op":"add","path":"/gender","value":"banana"}]', 400),
        ("application/json-patch+json", b'[{"op":"add","path":"/nme","value":"x"}]', 400),
        ("application/json-patch+json", b'[{"op":"replace","path":"/resourceType","value":"Basic"}]', 400),
        ("application/json-patch+json", b'[{"op":"replace","path":"/id","value":"other"}]', 422),
        ("application/json-patch+json", b'[{"op":"remove","path":"/none"}]', 422),
        ("application/json-patch+json", b'[{"op":"test","path":"/active","value":true}]', 409),
        ("application/json", b'{"id":"other"}', 422),
        ("application/json", b'{"active":"true"}', 400),
        ("application/json", b"7", 400),
        ("application/json", b"", 400),
    ],
)
async def test_a_patch_that_cannot_be_done_is_refused_and_writes_nothing(
    client: httpx.AsyncClient, content_type: str, body: bytes, status: int
) -> None:
    id = await a_patient(client)
    answer = await client.patch(f"Patient/{id}", content=body, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert issue(answer)["diagnostics"]
    assert (await client.get(f"Patient/{id}")).headers["etag"] == 'W/"1"'


async def test_a_patch_that_grows_without_end_is_refused(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    deeper = [{"op": "add", "path": "/x", "value": 1}] + [{"op": "copy", "from": "", "path": "/x"}] * 900
    answer = await client.patch(f"Patient/{id}", json=deeper, headers=JSON_PATCH)
    assert (answer.status_code, issue(answer)["code"]) == (400, "too-costly")


async def test_a_patch_needs_the_resource_to_be_there(client: httpx.AsyncClient) -> None:
    assert (await client.patch("Patient/none", content=b"[]", headers=JSON_PATCH)).status_code == 404
    assert (await client.patch("Patient?family=none", content=b"[]", headers=JSON_PATCH)).status_code == 404
    assert (await client.patch("Patient", content=b"[]", headers=JSON_PATCH)).status_code == 400
    id = await a_patient(client)
    await client.delete(f"Patient/{id}")
    assert (await client.patch(f"Patient/{id}", content=b"[]", headers=JSON_PATCH)).status_code == 410
    for _ in range(2):
        await a_patient(client, b'{"resourceType":"Patient","name":[{"family":"Twin"}]}')
    several = await client.patch("Patient?family=twin", content=b"[]", headers=JSON_PATCH)
    assert (several.status_code, issue(several)["code"]) == (412, "multiple-matches")


async def test_a_state_table_judges_what_a_patch_makes(intake: httpx.AsyncClient) -> None:
    created = await intake.post("Task", json=A_TASK, headers=JSON)
    url = f"Task/{created.json()['id']}"
    skipped = await intake.patch(url, json=[{"op": "replace", "path": "/status", "value": "ready"}],
                                 headers=JSON_PATCH)  # fmt: skip
    assert (skipped.status_code, issue(skipped)["code"]) == (422, "business-rule")
    rejected = await intake.patch(url, json={"status": "rejected"}, headers=JSON)
    assert rejected.status_code == 422
    assert issue(rejected)["expression"] == ["Task.statusReason"]
    received = await intake.patch(url, json={"status": "received"}, headers=JSON)
    assert (received.status_code, received.json()["status"]) == (200, "received")


async def test_a_profile_that_is_claimed_judges_what_a_patch_makes(intake: httpx.AsyncClient) -> None:
    request = {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "plan",
        "subject": {"display": "x"},
    }
    created = await intake.post("ServiceRequest", json=request, headers=JSON)
    claim = {"meta": {"profile": ["https://kanwa.example/fhir/StructureDefinition/referral"]}}
    answer = await intake.patch(f"ServiceRequest/{created.json()['id']}", json=claim, headers=JSON)
    assert answer.status_code == 422
    assert "ServiceRequest.code" in [path for found in answer.json()["issue"] for path in found["expression"]]


async def test_what_kanwa_publishes_cannot_be_patched(intake: httpx.AsyncClient) -> None:
    answer = await intake.patch("CodeSystem/ir-procedure", json={"status": "retired"}, headers=JSON)
    assert answer.status_code == 403
