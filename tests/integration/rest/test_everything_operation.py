"""Patient/[id]/$everything gives the whole record of one patient, whoever owns its parts, and nothing else."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from kanwa_shared.fhir.search.compartment import patient_compartment
from kanwa_shared.fhir.search.definitions import parameters_of
from kanwa_shared.rest.operations.record import RECORD_PATH
from kanwa_shared.rest.peers import url_of
from kanwa_shared.security.authentication import PEER_HEADER
from tests.support.authorization import AuthorizationServer
from tests.support.fhir_server import FhirServer, fhir_server
from tests.support.signed_in import PEER_PASSWORD, authorization_server, bearer, protected_settings
from tests.support.waiting import next_millisecond

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
    moment = await next_millisecond()
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
        ("Patient/p/$everything?_cursor=intake/Task/%00", 400),
        ("Patient/p/$everything?_cursor=intake/Task/a%20b", 400),
        ("Patient/p/$everything?_cursor=intake/Banana/1", 400),
        ("Patient/p%00/$everything", 400),
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
        scopes = "system/Patient.rs system/Condition.rs system/Practitioner.r system/Location.r"
        server.fhir.headers.update(bearer(authorization, scopes))
        bundle = await read(server.fhir)
        seen = {"Patient/p", "Condition/c", "Practitioner/d"}
        assert set(entries(bundle)) == seen, "a Device that is withheld tells no Location"
        outcome = bundle["entry"][-1]
        assert outcome["search"]["mode"] == "outcome"
        assert "Observation" in outcome["resource"]["issue"][0]["diagnostics"]
        cookie = {"cookie": f"kanwa_token={server.fhir.headers.pop('authorization').removeprefix('Bearer ')}"}
        answer = await server.fhir.get("Patient/p/$everything", headers=cookie)
        assert set(entries(answer.json())) == seen, "a browser is asked for in its name as well"


class Peer:
    """Asks one service as another would, with a token of `scopes` and the password that services share."""

    def __init__(self, server: FhirServer, authorization: AuthorizationServer, scopes: str):
        self._client = server.applications["intake"].state.engine.peers["intake"]
        self._headers = bearer(authorization, scopes)

    async def ask(self, content: dict[str, Any], *, password: str | None = PEER_PASSWORD) -> httpx.Response:
        headers = self._headers | ({PEER_HEADER: password} if password is not None else {})
        return await self._client.post(url_of(self._client, RECORD_PATH), json=content, headers=headers)


@pytest.fixture
async def protected(
    database: Callable[..., str], tmp_path: Path
) -> AsyncIterator[tuple[FhirServer, AuthorizationServer]]:
    authorization = authorization_server(tmp_path)
    async with fhir_server(database, **protected_settings(authorization)) as server:
        server.fhir.headers.update(bearer(authorization, "system/*.cruds"))
        await fill(server.fhir)
        yield server, authorization


async def test_what_services_ask_each_other_is_answered_to_them_alone(
    protected: tuple[FhirServer, AuthorizationServer],
) -> None:
    server, authorization = protected
    asked = {"part": "members", "patient": "p", "types": ["Practitioner", "Condition"], "limit": 9}
    peer = Peer(server, authorization, "system/*.cruds")
    assert (await peer.ask(asked)).status_code == 200
    for password in (None, "", PEER_PASSWORD + "x"):
        refused = await peer.ask(asked, password=password)
        assert (refused.status_code, refused.json()["resourceType"]) == (403, "OperationOutcome")
    for name in ("$record", "$export-counts", "$capability"):
        for answer in (await server.fhir.post(name, json=asked), await server.fhir.get(name)):
            assert (answer.status_code, answer.json()["resourceType"]) == (404, "OperationOutcome")


async def test_a_service_gives_another_no_more_than_the_caller_may_read(
    protected: tuple[FhirServer, AuthorizationServer],
) -> None:
    peer = Peer(*protected, "system/Condition.rs system/Organization.r")
    types = ["Practitioner", "Organization", "Condition"]
    members = await peer.ask({"part": "members", "patient": "p", "types": types, "limit": 9})
    assert [held["resource_type"] for held in members.json()] == ["Condition"]
    references = await peer.ask({"part": "references", "patient": "p", "types": types})
    assert references.json() == [], "the Organization is the Patient's, who may not be read"
    peer = Peer(*protected, "system/Patient.rs system/Organization.r")
    references = await peer.ask({"part": "references", "patient": "p", "types": types})
    assert [held["id"] for held in references.json()] == ["o"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"part": "members", "patient": "p", "types": ["Condition"], "limit": 1002},
        {"part": "members", "patient": "p", "types": ["Condition"], "limit": -1},
        {"part": "members", "patient": "p", "types": ["Condition"] * 201},
        {"part": "supporting", "patient": "p", "types": ["Location"], "keys": [["Location", "l"]] * 201},
    ],
)
async def test_a_service_asks_another_for_a_bounded_part(
    protected: tuple[FhirServer, AuthorizationServer], asked: dict[str, Any]
) -> None:
    answer = await Peer(*protected, "system/*.rs").ask(asked)
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


def test_every_type_that_can_point_to_a_patient_by_a_parameter_named_so_is_in_the_compartment() -> None:
    named = {
        resource_type
        for resource_type in patient_compartment()
        for code in ("patient", "subject")
        if code in parameters_of(resource_type)
    }
    assert {"Observation", "Procedure", "Task", "ServiceRequest"} <= named
    assert all(rows for rows in patient_compartment().values())
