"""batch: each entry for itself. transaction: every kind of entry, conditions included, all or nothing."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tests.support.fhir_server import FhirServer, fhir_server
from tests.support.rest import BASE, JSON, a_patient, issue

URN = "urn:uuid:6f2b4f6e-7f0e-4f5c-9c43-0a4f6f1c8d11"


@pytest.fixture
async def server(database: Callable[..., str]) -> AsyncIterator[FhirServer]:
    async with fhir_server(database) as running:
        yield running


def entry(
    method: str, url: str, resource: Any = None, full_url: str | None = None, **request: str
) -> dict[str, Any]:
    written: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    written |= {} if resource is None else {"resource": resource}
    return written | ({} if full_url is None else {"fullUrl": full_url})


def patient(value: str = "7", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": "http://h.example", "value": value}], **more}


def refers_to(reference: str) -> dict[str, Any]:
    return patient(managingOrganization={"reference": reference})


def json_patch(*operations: dict[str, Any]) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


FHIRPATH_PATCH = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "add"},
                {"name": "path", "valueString": "Patient"},
                {"name": "name", "valueString": "active"},
                {"name": "value", "valueBoolean": True},
            ],
        }
    ],
}
ACTIVE = {"op": "add", "path": "/active", "value": True}
SEARCH = "Patient?identifier=http://h.example%7C7"


async def send(
    client: httpx.AsyncClient, kind: str, *entries: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    bundle = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
    return await client.post("", json=bundle, headers={**JSON, **(headers or {})})


def statuses(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [int(one["response"]["status"].split()[0]) for one in answer.json()["entry"]]


async def test_an_invalid_entry_of_a_batch_is_refused_alone(client: httpx.AsyncClient) -> None:
    answer = await send(
        client,
        "batch",
        entry("POST", "Patient", patient()),
        entry("POST", "Patient", {"resourceType": "Patient", "gender": "banana"}),
        {"resource": {"resourceType": "Patient"}},
        entry("POST", "Patient"),
        {"fullUrl": 7, "request": {"method": "GET", "url": "Patient"}},
        entry("GIVE", "Patient"),
        entry("PUT", "Patient/a", {"resourceType": "Patient", "id": "b"}),
        entry("DELETE", "Patient"),
        entry("GET", "Patient/none"),
        entry("GET", "Patients"),
        entry("POST", "Patient", "text"),
        entry("GET", SEARCH),
    )
    assert statuses(answer) == [201, 400, 400, 400, 400, 400, 400, 400, 404, 404, 400, 200]
    entries = answer.json()["entry"]
    assert entries[1]["response"]["outcome"]["issue"][0]["expression"] == ["Patient.gender"]
    assert entries[2]["response"]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[2]"]
    assert entries[-1]["resource"]["total"] == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/Patient",
        "//other.example/Patient",
        "../metrics",
        "Patient/../../ready",
        "\\\\x",
        "http://[",
        "Patient/x#y",
    ],
)
@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_an_entry_asks_nobody_but_this_server(client: httpx.AsyncClient, kind: str, url: str) -> None:
    answer = await send(client, kind, entry("GET", url))
    if kind == "batch":
        assert statuses(answer)[0] in {400, 404}
    else:
        assert answer.status_code == 400 or statuses(answer)[0] == 404


async def test_a_batch_does_conditional_patching_and_calling_entries(client: httpx.AsyncClient) -> None:
    answer = await send(
        client,
        "batch",
        entry("PUT", SEARCH, patient()),
        entry("POST", "Patient", patient(), ifNoneExist="identifier=http://h.example|7"),
        entry("PATCH", SEARCH, json_patch(ACTIVE)),
        entry("PATCH", SEARCH, FHIRPATH_PATCH),
        entry("PATCH", SEARCH, json_patch(ACTIVE), ifMatch='W/"1"'),
        entry(
            "PATCH",
            SEARCH,
            {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "x"},
        ),
        entry("POST", "Patient/$validate", patient()),
        entry("GET", SEARCH),
        entry("DELETE", SEARCH),
        entry("DELETE", SEARCH),
    )
    assert statuses(answer) == [201, 200, 200, 422, 412, 400, 200, 200, 204, 204]


@pytest.mark.parametrize("lost", [httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.WriteError])
async def test_a_batch_says_what_is_not_known_of_a_write_whose_answer_was_lost(
    server: FhirServer, lost: type[httpx.TransportError]
) -> None:
    server.silent["intake"] = lost
    answer = await send(
        server.fhir,
        "batch",
        entry("POST", "Patient", patient("lost")),
        entry("POST", "Patient", patient("twice"), ifNoneExist="identifier=http://h.example|twice"),
        entry("GET", "Patient?identifier=http://h.example%7Clost"),
    )
    del server.silent["intake"]
    assert statuses(answer) == [504, 504, 503]
    said = [one["response"]["outcome"]["issue"][0] for one in answer.json()["entry"]]
    assert [one["code"] for one in said] == ["timeout", "timeout", "transient"]
    assert "may be written or not, so read or search" in said[0]["diagnostics"]
    assert "ifNoneExist keeps it from being written twice" in said[1]["diagnostics"]
    assert "try again" in said[2]["diagnostics"]
    found = await server.fhir.get("Patient?identifier=http://h.example%7Clost")
    assert found.json()["total"] == 1, "the owner had done what it did not answer"


async def test_a_batch_says_that_nothing_was_written_where_an_owner_could_not_be_reached(
    server: FhirServer,
) -> None:
    server.silent["scheduling"] = httpx.ConnectTimeout
    answer = await send(server.fhir, "batch", entry("POST", "Location", {"resourceType": "Location"}))
    assert statuses(answer) == [503]
    said = answer.json()["entry"][0]["response"]["outcome"]["issue"][0]
    assert "nothing was written, try again" in said["diagnostics"]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ifNoneExist", "identifier=x\r\nx-admin: yes"),
        ("ifMatch", 'W/"1"\nx-admin: yes'),
        ("ifMatch", "緩和"),
        ("ifNoneMatch", "*\r\nx-admin: yes"),
    ],
)
async def test_a_condition_that_is_no_one_line_of_a_header_is_refused(
    client: httpx.AsyncClient, kind: str, name: str, value: str
) -> None:
    answer = await send(client, kind, entry("POST", "Patient", patient(), **{name: value}))
    if kind == "batch":
        assert statuses(answer) == [400]
        outcome = answer.json()["entry"][0]["response"]["outcome"]
    else:
        assert answer.status_code == 400
        outcome = answer.json()
    assert outcome["issue"][0]["expression"] == [f"Bundle.entry[0].request.{name}"]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_a_conditional_create_may_search_for_what_is_not_ascii(server: FhirServer, kind: str) -> None:
    for expected in (201, 200):
        created = entry(
            "POST", "Patient", patient("緩和 7%"), ifNoneExist="identifier=http://h.example|緩和 7%25"
        )
        assert statuses(await send(server.fhir, kind, created)) == [expected]


async def test_a_batch_reads_only_what_changed(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    known = entry("GET", f"Patient/{id}", ifNoneMatch='W/"1"')
    answer = await send(client, "batch", known, entry("GET", f"{BASE}/Patient/{id}", ifNoneMatch='W/"2"'))
    assert statuses(answer) == [304, 200]


async def test_a_bundle_that_is_no_batch_is_refused_as_a_whole(client: httpx.AsyncClient) -> None:
    batch = {"resourceType": "Bundle", "type": "batch"}
    for wrong in (
        batch | {"entry": {}},
        batch | {"x": 1},
        {"resourceType": "Bundle"},
        {"resourceType": "Patient"},
    ):
        assert (await client.post("", json=wrong, headers=JSON)).status_code == 400


async def test_a_transaction_updates_patches_and_deletes_by_search(client: httpx.AsyncClient) -> None:
    ids = {
        value: (await client.post("Patient", json=patient(value), headers=JSON)).json()["id"]
        for value in "123"
    }
    answer = await send(
        client,
        "transaction",
        entry("PATCH", "Patient?identifier=http://h.example%7C1", json_patch(ACTIVE), ifMatch='W/"1"'),
        entry("GET", "Patient?active=true"),
        entry("PUT", "Patient?identifier=http://h.example%7C2", patient("2", active=True)),
        entry("PUT", "Patient?identifier=http://h.example%7C4", patient("4"), full_url=URN),
        entry("DELETE", "Patient?identifier=http://h.example%7C3"),
        entry("DELETE", "Patient?identifier=http://h.example%7C5"),
        entry(
            "POST", "Basic", {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": URN}}
        ),
    )
    assert statuses(answer) == [200, 200, 200, 201, 204, 204, 201]
    entries = answer.json()["entry"]
    assert entries[1]["resource"]["total"] == 2, "reads come last"
    assert entries[0]["resource"]["id"] == ids["1"]
    new = "/".join(entries[3]["response"]["location"].split("/")[-4:-2])
    assert entries[6]["resource"]["subject"]["reference"] == new
    assert (await client.get(f"Patient/{ids['3']}")).status_code == 410


async def test_a_patch_in_a_transaction_points_at_what_the_bundle_creates(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    link = {"op": "add", "path": "/managingOrganization", "value": {"reference": URN}}
    answer = await send(
        client,
        "transaction",
        entry("POST", "Organization", {"resourceType": "Organization", "name": "H"}, full_url=URN),
        entry("PATCH", f"Patient/{id}", json_patch(link)),
    )
    assert statuses(answer) == [201, 200]
    organization = "/".join(answer.json()["entry"][0]["response"]["location"].split("/")[-4:-2])
    assert (await client.get(f"Patient/{id}")).json()["managingOrganization"]["reference"] == organization


@pytest.mark.parametrize(
    ("entries", "status", "code"),
    [
        ([entry("PUT", SEARCH, patient())], 412, "multiple-matches"),
        ([entry("DELETE", SEARCH)], 412, "multiple-matches"),
        ([entry("PATCH", SEARCH, json_patch(ACTIVE))], 412, "multiple-matches"),
        ([entry("PATCH", "Patient?family=none", json_patch(ACTIVE))], 404, "not-found"),
        ([entry("PATCH", "Patient/none", json_patch(ACTIVE))], 404, "not-found"),
        ([entry("PATCH", "Patient/one", json_patch({"op": "test", "path": "/active", "value": 1}))], 409, "conflict"),
        ([entry("PATCH", "Patient/one", json_patch(ACTIVE | {"value": "x"}))], 400, "structure"),
        ([entry("PATCH", "Patient/one", patient())], 400, "invalid"),
        ([entry("PUT", "Patient/one", patient(id="one"), ifMatch='W/"7"')], 412, "conflict"),
        ([entry("PUT", "Patient/one", patient(id="one"), ifNoneMatch="*")], 412, "conflict"),
        ([entry("DELETE", "Patient/one", ifMatch='W/"7"')], 412, "conflict"),
        ([entry("PUT", "Patient?family=none", patient(id="one"))], 409, "duplicate"),
        ([entry("PUT", "Patient?family=none&_count=1", patient(id="one"), ifMatch="x")], 400, "value"),
        ([entry("DELETE", "Patient?_count=1")], 400, "required"),
        ([entry("PUT", "Patient", patient())], 400, "required"),
        ([entry("POST", "Patient/$validate", patient())], 422, "not-supported"),
        ([entry("POST", "Patient", patient("9"), ifNoneExist="identifier=9")] * 2, 400, "duplicate"),
        ([entry("PUT", "Patient?identifier=9", patient("9"))] * 2, 400, "duplicate"),
        ([entry("PATCH", "Patient/one", json_patch(ACTIVE)), entry("DELETE", "Patient/one")], 400, "duplicate"),
        ([entry("POST", "Patient", refers_to("Organization?name=none"))], 412, "not-found"),
        ([entry("POST", "Patient", refers_to("Organisation?name=none"))], 400, None),
        ([entry("PATCH", "Observation/x", json_patch(ACTIVE))], 422, "not-supported"),
        ([entry("DELETE", "Observation?code=x")], 422, "not-supported"),
    ],
)  # fmt: skip
async def test_a_transaction_with_an_entry_that_cannot_be_done_writes_nothing(
    client: httpx.AsyncClient, entries: list[dict[str, Any]], status: int, code: str | None
) -> None:
    await client.put("Patient/one", json=patient(id="one"), headers=JSON)
    await client.put("Patient/two", json=patient(id="two"), headers=JSON)
    answer = await send(client, "transaction", entry("POST", "Patient", patient("new")), *entries)
    assert answer.status_code == status, answer.text
    assert code in {None, issue(answer)["code"]}
    assert issue(answer)["expression"][0].startswith("Bundle.entry[")
    total = (await client.get("_history?_count=0")).json()["total"]
    assert total == 2


async def test_a_conditional_reference_becomes_that_of_its_one_match(server: FhirServer) -> None:
    await server.fhir.put(
        "Practitioner/d", json={"resourceType": "Practitioner", "id": "d", "identifier": [{"value": "9"}]}
    )
    asserter = {"reference": "Practitioner?identifier=9"}
    condition = {"resourceType": "Condition", "subject": {"reference": URN}, "asserter": asserter}
    answer = await send(
        server.fhir,
        "transaction",
        entry("POST", "Patient", patient(), full_url=URN, ifNoneExist="identifier=http://h.example|7"),
        entry("POST", "Condition", condition),
    )
    assert statuses(answer) == [201, 201]
    assert answer.json()["entry"][1]["resource"]["asserter"]["reference"] == "Practitioner/d"


@pytest.mark.parametrize(
    ("prefer", "resource", "outcome"),
    [
        ("return=minimal", False, False),
        ("return=OperationOutcome", False, True),
        ("return=representation", True, False),
    ],
)
@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_prefer_decides_what_each_entry_shows(
    client: httpx.AsyncClient, kind: str, prefer: str, resource: bool, outcome: bool
) -> None:
    [one] = (
        await send(client, kind, entry("POST", "Patient", patient()), headers={"prefer": prefer})
    ).json()["entry"]
    assert ("resource" in one and one["resource"]["resourceType"] == "Patient") is resource
    assert ("outcome" in one["response"]) is outcome
