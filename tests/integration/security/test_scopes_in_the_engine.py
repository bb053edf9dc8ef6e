"""Scopes reach into what one request does at once: a transaction's entries, and what a search brings along."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx
import pytest

from kanwa_shared.rest.app import create_app
from kanwa_shared.rest.capability import CAPABILITY_PATH
from kanwa_shared.rest.peers import url_of
from kanwa_shared.rest.service import ServiceDefinition
from tests.support.authorization import AuthorizationServer, settings_of

BASE = "http://kanwa.example/fhir/"
FHIR = {"content-type": "application/fhir+json"}


@pytest.fixture
async def client(
    database: Callable[..., str], authorization: AuthorizationServer
) -> AsyncGenerator[httpx.AsyncClient]:
    settings = settings_of(
        database_url=database(), auth_jwks_file=authorization.file, max_body_bytes=1_000_000
    )
    app = create_app(ServiceDefinition("intake"), settings, peers={})
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=FHIR) as made:
            yield made


@pytest.fixture
def by(authorization: AuthorizationServer) -> Callable[[str], dict[str, str]]:
    return lambda scope: {"authorization": f"Bearer {authorization.token(scope=scope)}"}


def entry(method: str, url: str, resource: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
    made: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    return {**made, "resource": resource} if resource else made


def transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


PATIENT = {"resourceType": "Patient", "active": True}
FLAG = {
    "resourceType": "Flag",
    "status": "active",
    "code": {"text": "DNR"},
    "subject": {"reference": "Patient/p1"},
}


async def test_a_transaction_with_one_entry_too_many_writes_nothing(
    client: httpx.AsyncClient, by: Any
) -> None:
    bundle = transaction(entry("POST", "Patient", PATIENT), entry("POST", "Flag", FLAG))
    refused = await client.post("", json=bundle, headers=by("system/Patient.crus"))
    assert refused.status_code == 403, refused.text
    assert "system/Flag.c" in refused.json()["issue"][0]["diagnostics"]
    assert (await client.get("Patient", headers=by("system/Patient.rs"))).json()["total"] == 0
    taken = await client.post("", json=bundle, headers=by("system/Patient.c system/Flag.c"))
    assert taken.status_code == 200, taken.text


@pytest.mark.parametrize(
    ("request_entry", "missing"),
    [
        (entry("PUT", "Patient/p1", {**PATIENT, "id": "p1"}), "Patient.u"),
        (entry("DELETE", "Patient/p1"), "Patient.d"),
        (entry("POST", "Patient", PATIENT, ifNoneExist="active=true"), "Patient.s"),
        (
            entry("POST", "Observation", {**FLAG, "resourceType": "Observation", "status": "final"}),
            "Observation.c",
        ),
    ],
    ids=["update", "delete", "conditional create", "hand-over"],
)
async def test_each_kind_of_entry_needs_its_own_permission(
    client: httpx.AsyncClient, by: Any, request_entry: dict[str, Any], missing: str
) -> None:
    refused = await client.post("", json=transaction(request_entry), headers=by("system/Patient.c"))
    assert (refused.status_code, f"system/{missing}" in refused.text) == (403, True), refused.text


async def test_a_search_brings_along_only_what_the_caller_may_read(
    client: httpx.AsyncClient, by: Any
) -> None:
    everything = by("system/*.cruds")
    await client.put("Patient/p1", json={**PATIENT, "id": "p1"}, headers=everything)
    await client.post("Flag", json=FLAG, headers=everything)

    async def found(scope: str) -> list[str]:
        answer = await client.get("Flag?_include=Flag:patient", headers=by(scope))
        return [one["resource"]["resourceType"] for one in answer.json()["entry"]]

    assert await found("system/Flag.rs system/Patient.r") == ["Flag", "Patient"]
    assert await found("system/Flag.rs") == ["Flag"]
    chained = await client.get("Flag?patient:Patient.active=true", headers=by("system/Flag.rs"))
    assert (chained.status_code, "system/Patient.s" in chained.text) == (403, True)


async def test_the_caller_is_written_down_with_what_it_did(
    client: httpx.AsyncClient, by: Any, authorization: AuthorizationServer
) -> None:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x-request-id": "r-1"}
    token = authorization.token(client_id="ehr-north")
    await client.post("Patient", json=PATIENT, headers={"authorization": f"Bearer {token}", **trace})
    app = client._transport.app  # type: ignore[attr-defined]  # the only way from the client to its store
    async with app.state.engine.store.pool.connection() as connection:
        rows = await connection.execute("SELECT actor, traceparent, correlation_id FROM outbox")
        actor, traceparent, correlation = await rows.fetchone()
    assert (actor, correlation) == ("ehr-north", "r-1")
    assert traceparent.startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert "b7ad6b7169203331" not in traceparent


async def test_how_to_get_a_token_is_told_without_one(client: httpx.AsyncClient) -> None:
    document = (await client.get(".well-known/smart-configuration")).json()
    assert document["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert document["token_endpoint"].startswith("https://hospital.example/auth/")
    assert document["grant_types_supported"] == ["client_credentials"]
    assert (await client.get("Patient")).status_code == 401
    assert (await client.get(url_of(client, CAPABILITY_PATH))).status_code == 200


ACTIVE_PATCH = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "replace"},
                {"name": "path", "valueString": "Patient.active"},
                {"name": "value", "valueBoolean": False},
            ],
        }
    ],
}


async def test_a_patch_shows_the_resource_only_to_who_may_read_it(client: httpx.AsyncClient, by: Any) -> None:
    secret = {**PATIENT, "id": "p1", "name": [{"family": "Secret"}]}
    await client.put("Patient/p1", json=secret, headers=by("system/Patient.u"))
    for scope, shown in (("system/Patient.us", False), ("system/Patient.rus", True)):
        answers = [
            await client.patch("Patient/p1", json=ACTIVE_PATCH, headers=by(scope)),
            await client.patch("Patient?family=secret", json=ACTIVE_PATCH, headers=by(scope)),
            await client.post(
                "", json=transaction(entry("PATCH", "Patient/p1", ACTIVE_PATCH)), headers=by(scope)
            ),
        ]
        for answer in answers:
            assert (answer.status_code, "Secret" in answer.text) == (200, shown), answer.text
        assert answers[0].headers["etag"], "what it needs to go on"
    told = await client.patch(
        "Patient/p1",
        json=ACTIVE_PATCH,
        headers={**by("system/Patient.u"), "prefer": "return=OperationOutcome"},
    )
    assert "was updated" in told.json()["issue"][0]["diagnostics"]
