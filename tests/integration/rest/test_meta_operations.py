"""$meta, $meta-add and $meta-delete."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.fhir_server import FhirServer, fhir_server

PROFILE = "http://x.example/StructureDefinition/a"
RED = {"system": "http://x.example/tags", "code": "red"}
BLUE = {"code": "blue"}
SECRET = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


@pytest.fixture
async def server(database: Callable[..., str]) -> AsyncIterator[FhirServer]:
    async with fhir_server(database) as running:
        yield running


def in_parameters(**meta: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def meta_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()["parameter"][0]["valueMeta"]


async def test_labels_are_added_and_taken_as_new_versions_that_searches_see(server: FhirServer) -> None:
    fhir = server.fhir
    text = b'{"resourceType":"Patient","id":"p","meta":{"tag":[{"code":"blue"}]},"extension":[{"url":"http://x.example/d","valueDecimal":1.50}]}'
    await fhir.put("Patient/p", content=text)
    added = meta_of(
        await fhir.post("Patient/p/$meta-add", json=in_parameters(tag=[RED, BLUE], profile=[PROFILE]))
    )
    assert added["tag"] == [BLUE, RED], "what is there already is not added again"
    assert added["versionId"] == "2"
    assert (await fhir.get("Patient", params={"_tag": "red"})).json()["total"] == 1
    assert b"1.50" in (await fhir.get("Patient/p")).content
    again = meta_of(await fhir.post("Patient/p/$meta-add", json=in_parameters(tag=[RED])))
    assert again["versionId"] == "2", "nothing new is no new version"
    taken = meta_of(await fhir.post("Patient/p/$meta-delete", json=in_parameters(tag=[RED, BLUE])))
    assert ("tag" in taken, taken["profile"], taken["versionId"]) == (False, [PROFILE], "3")
    assert meta_of(await fhir.get("Patient/p/$meta")) == taken


async def test_the_server_tells_what_is_used_by_types_of_every_service(server: FhirServer) -> None:
    fhir = server.fhir
    await fhir.put("Patient/p", json={"resourceType": "Patient", "id": "p", "meta": {"tag": [RED]}})
    await fhir.put(
        "Location/l",
        json={"resourceType": "Location", "id": "l", "meta": {"security": [SECRET], "tag": [BLUE]}},
    )
    assert meta_of(await fhir.get("Patient/$meta")) == {"tag": [RED]}
    assert meta_of(await fhir.get("Location/$meta")) == {"security": [SECRET], "tag": [BLUE]}
    whole = meta_of(await fhir.get("$meta"))
    assert whole["security"] == [SECRET]
    assert sorted(tag["code"] for tag in whole["tag"]) == ["blue", "red"]
    server.away.add("outcomes")
    answer = await fhir.get("$meta")
    assert answer.status_code == 503
    assert "outcomes" in answer.json()["issue"][0]["diagnostics"]


async def test_a_change_needs_post_a_meta_and_a_resource_that_is_there(server: FhirServer) -> None:
    fhir = server.fhir
    await fhir.put("Patient/p", json={"resourceType": "Patient", "id": "p"})
    assert (await fhir.get("Patient/p/$meta-add")).status_code == 400
    assert (await fhir.post("Patient/p/$meta-add", json={"resourceType": "Parameters"})).status_code == 400
    assert (await fhir.post("Patient/q/$meta-add", json=in_parameters(tag=[RED]))).status_code == 404
    assert (await fhir.post("Patient/$meta-add", json=in_parameters(tag=[RED]))).status_code == 404
    assert (await fhir.get("$everything")).status_code == 404
    published = await fhir.post("CodeSystem/ir-procedure/$meta-add", json=in_parameters(tag=[RED]))
    assert published.status_code == 403, "the catalogue is read only"


async def test_a_profile_that_is_added_judges_the_resource_as_a_write_would(server: FhirServer) -> None:
    fhir = server.fhir
    plan = {"resourceType": "ServiceRequest", "id": "s", "status": "draft", "intent": "plan",
            "subject": {"display": "x"}}  # fmt: skip
    assert (await fhir.put("ServiceRequest/s", json=plan)).status_code == 201
    claim = in_parameters(profile=["https://kanwa.example/fhir/StructureDefinition/referral"])
    refused = await fhir.post("ServiceRequest/s/$meta-add", json=claim)
    assert refused.status_code == 422, refused.text
    assert "ServiceRequest.code" in [
        path for issue in refused.json()["issue"] for path in issue["expression"]
    ]
    assert (await fhir.get("ServiceRequest/s")).headers["etag"] == 'W/"1"'


@pytest.mark.parametrize("operation", ["$meta-add", "$meta-delete"])
async def test_a_change_of_the_meta_minds_if_match(server: FhirServer, operation: str) -> None:
    fhir = server.fhir
    url = f"Patient/p/{operation}"
    await fhir.put("Patient/p", json={"resourceType": "Patient", "id": "p", "meta": {"tag": [BLUE]}})
    changing = in_parameters(tag=[RED] if operation == "$meta-add" else [BLUE])
    for meta in (changing, in_parameters(tag=[BLUE] if operation == "$meta-add" else [RED])):
        stale = await fhir.post(url, json=meta, headers={"if-match": 'W/"7"'})
        assert stale.status_code == 412, stale.text
    assert (await fhir.get("Patient/p")).headers["etag"] == 'W/"1"'
    current = meta_of(await fhir.post(url, json=changing, headers={"if-match": 'W/"1"'}))
    assert current["versionId"] == "2"
