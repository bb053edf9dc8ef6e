"""kanwa's profiles over HTTP: published, read only, named in the CapabilityStatement, and judged where claimed."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from kanwa_intake.service import definition
from kanwa_intake.settings import IntakeSettings
from kanwa_shared.profiles import profile_resources
from kanwa_shared.rest.app import create_app
from kanwa_shared.rest.fixed import publish_fixed

BASE = "http://kanwa.test/fhir"
JSON = {"content-type": "application/fhir+json"}
REFERRAL = "https://kanwa.example/fhir/StructureDefinition/referral"


@pytest.fixture
async def client(database: Callable[..., str]) -> AsyncIterator[httpx.AsyncClient]:
    settings = IntakeSettings.load(
        database_url=database(), auth_mode="open", base_url=BASE, handover_wait_seconds=0.1
    )
    peers: dict[Any, httpx.AsyncClient] = {}
    app = create_app(definition, settings, peers=peers)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"{BASE}/") as opened,
    ):
        await publish_fixed(app.state.engine)
        peers["intake"] = opened
        yield opened


def a_request(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "meta": {"profile": [REFERRAL]},
        "status": "draft",
        "intent": "order",
        "code": {"text": "drain ascites"},
        "subject": {"reference": "Patient/p"},
        **more,
    }


async def test_every_profile_is_found_by_its_url_and_named_in_the_capability_statement(
    client: httpx.AsyncClient,
) -> None:
    stated = (await client.get("metadata")).json()["rest"][0]["resource"]
    named = {url for resource in stated for url in resource.get("supportedProfile", [])}
    for profile in profile_resources():
        found = (await client.get("StructureDefinition", params={"url": profile["url"]})).json()
        assert [entry["resource"]["id"] for entry in found["entry"]] == [profile["id"]]
        owned_here = profile["type"] in {resource["type"] for resource in stated}
        assert (profile["url"] in named) == owned_here
    assert REFERRAL in named


async def test_a_published_profile_cannot_be_written_or_deleted(client: httpx.AsyncClient) -> None:
    profile = (await client.get("StructureDefinition/referral")).json()
    assert (await client.put("StructureDefinition/referral", json=profile, headers=JSON)).status_code == 403
    assert (await client.delete("StructureDefinition/referral")).status_code == 403


async def test_a_resource_that_claims_a_profile_and_lacks_what_it_asks_is_answered_422(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.post("ServiceRequest", json=a_request(), headers=JSON)).status_code == 201
    refused = await client.post("ServiceRequest", json=a_request(intent="plan", code=None), headers=JSON)
    assert refused.status_code == 400, "a fault of base R4 is said first"
    lacking = a_request(intent="plan")
    del lacking["code"]
    refused = await client.post("ServiceRequest", json=lacking, headers=JSON)
    assert refused.status_code == 422
    issues = refused.json()["issue"]
    assert [(issue["code"], issue["expression"]) for issue in issues] == [
        ("invariant", ["ServiceRequest"]),
        ("required", ["ServiceRequest.code"]),
    ]
    assert all(REFERRAL in issue["diagnostics"] for issue in issues)


async def test_a_claim_in_a_transaction_is_judged_before_anything_is_written(
    client: httpx.AsyncClient,
) -> None:
    entries = [
        {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
        {"resource": a_request(intent="plan"), "request": {"method": "POST", "url": "ServiceRequest"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = await client.post("", json=bundle, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource"]
    assert (await client.get("Patient")).json()["total"] == 0
