"""The FHIR interactions over one service, as any R4 client meets them."""

import asyncio
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.rest import BASE, JSON, a_patient, issue


async def test_a_created_resource_has_location_etag_and_its_exact_text(client: httpx.AsyncClient) -> None:
    body = (
        b'{"resourceType":"Observation2"}'.replace(b"Observation2", b"Basic")[:-1]
        + b',"code":{"text":"x"},"extension":[{"url":"http://x.example/d","valueDecimal":1.50}],'
        b'"created":"2026-11-25","_created":{"id":"a"}}'
    )
    answer = await client.post("Basic", content=body, headers=JSON)
    assert answer.status_code == 201, answer.text
    id = answer.json()["id"]
    assert answer.headers["location"] == f"{BASE}/Basic/{id}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert "last-modified" in answer.headers
    read = await client.get(f"Basic/{id}")
    assert b'"valueDecimal":1.50' in read.content
    assert b'"_created":{"id":"a"}' in read.content


@pytest.mark.parametrize(
    ("prefer", "shows"),
    [
        ("return=minimal", b""),
        ("return=OperationOutcome", b"OperationOutcome"),
        ("return=presentation", b"Patient"),
    ],
)
async def test_prefer_decides_what_a_create_answers(
    client: httpx.AsyncClient, prefer: str, shows: bytes
) -> None:
    headers = {**JSON, "prefer": prefer}
    answer = await client.post("Patient", content=b'{"resourceType":"Patient"}', headers=headers)
    assert answer.status_code == 201
    assert shows in answer.content
    assert bool(answer.content) == bool(shows)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("Patient", b"{", JSON, 400),
        ("Patient", b'{"resourceType":"Observation"}', JSON, 400),
        ("Patient", b'{"resourceType":"Patient","gender":"banana"}', JSON, 400),
        ("Patient", b'{"resourceType":"Patient","id":1}', JSON, 400),
        ("Patient", b'{"resourceType":"Patient","active":true,"active":false}', JSON, 400),
        ("Patient", b'{"resourceType":"Patient"}', {"content-type": "text/xml"}, 415),
        ("Patient", b'{"resourceType":"Patient"}', {**JSON, "accept": "application/fhir+xml"}, 406),
        ("Patients", b'{"resourceType":"Patients"}', JSON, 404),
        ("Observation", b'{"resourceType":"Observation"}', JSON, 404),
    ],
    ids=[
        "broken",
        "other type",
        "binding",
        "id type",
        "twice",
        "media",
        "accept",
        "unknown type",
        "foreign type",
    ],
)
async def test_bad_input_is_refused_with_an_outcome(
    client: httpx.AsyncClient, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert issue(answer)["diagnostics"]


async def test_all_faults_are_told_at_once(client: httpx.AsyncClient) -> None:
    body = b'{"resourceType":"Patient","gender":"banana","birthDate":"1950-02-30","nme":1}'
    answer = await client.post("Patient", content=body, headers=JSON)
    named = {path for found in answer.json()["issue"] for path in found["expression"]}
    assert {"Patient.gender", "Patient.birthDate", "Patient.nme"} <= named


async def test_an_unknown_id_is_404_and_a_deleted_one_410(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    assert (await client.get("Patient/none")).status_code == 404
    assert (await client.delete(f"Patient/{id}")).status_code == 204
    gone = await client.get(f"Patient/{id}")
    assert (gone.status_code, issue(gone)["code"]) == (410, "deleted")
    assert (await client.delete(f"Patient/{id}")).status_code == 204


async def test_a_client_that_has_the_version_gets_304(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    for given in ('W/"1"', "1"):
        answer = await client.get(f"Patient/{id}", headers={"if-none-match": given})
        assert answer.status_code == 304
    assert (await client.get(f"Patient/{id}", headers={"if-none-match": 'W/"2"'})).status_code == 200


async def test_put_makes_the_next_version_or_the_first(client: httpx.AsyncClient) -> None:
    body = b'{"resourceType":"Patient","id":"mine","active":true}'
    first = await client.put("Patient/mine", content=body, headers=JSON)
    second = await client.put("Patient/mine", content=body, headers=JSON)
    assert (first.status_code, first.headers["etag"]) == (201, 'W/"1"')
    assert (second.status_code, second.headers["etag"]) == (200, 'W/"2"')


async def test_put_with_another_id_in_the_body_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.put("Patient/a", content=b'{"resourceType":"Patient","id":"b"}', headers=JSON)
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Patient.id"]


async def test_of_many_updates_over_one_version_one_wins(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    body = b'{"resourceType":"Patient","id":"%s"}' % id.encode()
    headers = {**JSON, "if-match": 'W/"1"'}
    answers = await asyncio.gather(
        *(client.put(f"Patient/{id}", content=body, headers=headers) for _ in range(12))
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [412] * 11
    assert (await client.get(f"Patient/{id}/_history")).json()["total"] == 2


async def test_history_pages_from_the_newest_and_shows_each_version_once(client: httpx.AsyncClient) -> None:
    body = b'{"resourceType":"Patient","id":"h"}'
    for _ in range(5):
        await client.put("Patient/h", content=body, headers=JSON)
    await client.delete("Patient/h")
    seen: list[str] = []
    url = "Patient/h/_history?_count=2"
    while url:
        page = (await client.get(url)).json()
        assert page["total"] == 6
        seen += [entry["response"]["etag"] for entry in page["entry"]]
        links = {link["relation"]: link["url"] for link in page["link"]}
        url = links.get("next", "")
    assert seen == [f'W/"{version}"' for version in range(6, 0, -1)]


async def test_vread_shows_an_old_version(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    body = b'{"resourceType":"Patient","id":"%s","active":true}' % id.encode()
    await client.put(f"Patient/{id}", content=body, headers=JSON)
    assert "active" not in (await client.get(f"Patient/{id}/_history/1")).json()
    assert (await client.get(f"Patient/{id}/_history/9")).status_code == 404
    assert (await client.get(f"Patient/{id}/_history/x")).status_code == 404


async def test_a_search_reads_what_was_just_written(client: httpx.AsyncClient) -> None:
    id = await a_patient(client, b'{"resourceType":"Patient","name":[{"family":"Aoki"}]}')
    found = (await client.get("Patient", params={"family": "aoki"})).json()
    posted = await client.post("Patient/_search", data={"family": "aoki"})
    assert [entry["resource"]["id"] for entry in found["entry"]] == [id]
    assert found["total"] == 1
    assert posted.json()["total"] == 1
    assert found["link"][0]["url"].startswith(BASE)


async def test_a_posted_search_may_stand_in_the_url_alone(client: httpx.AsyncClient) -> None:
    id = await a_patient(client, b'{"resourceType":"Patient","name":[{"family":"Aoki"}]}')
    posted = await client.post("Patient/_search?family=aoki")
    assert [entry["resource"]["id"] for entry in posted.json()["entry"]] == [id]
    assert (await client.post("Patient/_search", content=b"{}", headers=JSON)).status_code == 415


async def test_a_form_of_very_many_fields_is_refused(client: httpx.AsyncClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.post("Patient/_search", content=b"family=a&" * 100 + b"family=a", headers=form)
    assert (answer.status_code, issue(answer)["code"]) == (400, "too-costly")


async def test_an_unknown_parameter_is_refused_unless_the_client_is_lenient(
    client: httpx.AsyncClient,
) -> None:
    strict = await client.get("Patient", params={"colour": "red"})
    lenient = await client.get("Patient", params={"colour": "red"}, headers={"prefer": "handling=lenient"})
    assert (strict.status_code, issue(strict)["code"]) == (400, "not-supported")
    assert lenient.status_code == 200
    assert lenient.json()["entry"][-1]["search"] == {"mode": "outcome"}
    assert "colour" not in lenient.json()["link"][0]["url"]


async def test_a_parameter_without_a_value_is_ignored_in_searches_alone(client: httpx.AsyncClient) -> None:
    found = await client.get("Patient", params={"name": ""})
    assert found.status_code == 200
    assert found.json()["entry"][-1]["search"] == {"mode": "outcome"}
    assert found.json()["link"][0]["url"] == f"{BASE}/Patient"
    assert (await client.delete("Patient", params={"name": ""})).status_code == 400


def a_transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def post(resource: dict[str, Any], full_url: str | None = None, **request: str) -> dict[str, Any]:
    entry = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"], **request}}
    return {**entry, "fullUrl": full_url} if full_url else entry


PATIENT_URL = "urn:uuid:6f2b4f6e-7f0e-4f5c-9c43-0a4f6f1c8d11"


@pytest.mark.parametrize("base", ["", "/"])
async def test_a_transaction_points_its_references_at_what_it_creates(
    client: httpx.AsyncClient, base: str
) -> None:
    condition = {"resourceType": "Condition", "subject": {"reference": PATIENT_URL}}
    bundle = a_transaction(post(condition), post({"resourceType": "Patient"}, PATIENT_URL))
    answer = await client.post(f"{BASE}{base}", json=bundle, headers=JSON)
    assert answer.status_code == 200, answer.text
    written, patient = answer.json()["entry"]
    assert written["response"]["status"] == "201 Created"
    id = patient["response"]["location"].split("/")[-3]
    assert written["resource"]["subject"]["reference"] == f"Patient/{id}"


async def test_a_transaction_with_one_bad_entry_writes_nothing(client: httpx.AsyncClient) -> None:
    bundle = a_transaction(
        post({"resourceType": "Patient", "name": [{"family": "Half"}]}),
        post({"resourceType": "Patient", "gender": "banana"}),
    )
    answer = await client.post("", json=bundle, headers=JSON)
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Bundle.entry[1].resource.gender"]
    assert (await client.get("Patient", params={"family": "half"})).json()["total"] == 0


async def test_a_transaction_with_a_reference_to_an_entry_that_it_lacks_is_refused(
    client: httpx.AsyncClient,
) -> None:
    condition = {"resourceType": "Condition", "subject": {"reference": PATIENT_URL}}
    answer = await client.post("", json=a_transaction(post(condition)), headers=JSON)
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Bundle.entry[0].resource"]


async def test_an_update_in_a_transaction_is_refused_unless_its_id_is_that_of_its_url(
    client: httpx.AsyncClient,
) -> None:
    update = {"resource": {"resourceType": "Patient"}, "request": {"method": "PUT", "url": "Patient/given"}}
    answer = await client.post("", json=a_transaction(update), headers=JSON)
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Bundle.entry[0].resource.id"]
    assert (await client.get("Patient/given")).status_code == 404


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_an_entry_whose_url_is_none_is_refused(client: httpx.AsyncClient, kind: str) -> None:
    entry = {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "http://["}}
    answer = await client.post("", json=a_transaction(entry) | {"type": kind}, headers=JSON)
    if kind == "transaction":
        assert answer.status_code == 400
        assert issue(answer)["expression"] == ["Bundle.entry[0].request.url"]
    else:
        assert answer.json()["entry"][0]["response"]["status"].startswith("400"), "each entry on its own"


async def test_if_none_exist_finds_the_resource_that_is_there(client: httpx.AsyncClient) -> None:
    patient = {"resourceType": "Patient", "identifier": [{"system": "http://h.example", "value": "1"}]}
    bundle = a_transaction(post(patient, ifNoneExist="identifier=http://h.example|1"))
    first = (await client.post("", json=bundle, headers=JSON)).json()["entry"][0]["response"]
    second = (await client.post("", json=bundle, headers=JSON)).json()["entry"][0]["response"]
    assert (first["status"], second["status"]) == ("201 Created", "200 OK")
    assert first["location"] == second["location"]


async def test_a_condition_on_a_foreign_type_is_refused_before_anything_is_written(
    client: httpx.AsyncClient,
) -> None:
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    bundle = a_transaction(
        post({"resourceType": "Patient", "name": [{"family": "Nobody"}]}),
        post(observation, ifNoneExist="code=x"),
    )
    answer = await client.post("", json=bundle, headers=JSON)
    assert answer.status_code == 422
    assert issue(answer)["expression"] == ["Bundle.entry[1].request"]
    assert (await client.get("Patient", params={"family": "nobody"})).json()["total"] == 0


async def test_a_foreign_entry_is_promised_with_its_id(client: httpx.AsyncClient) -> None:
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    answer = await client.post("", json=a_transaction(post(observation)), headers=JSON)
    response = answer.json()["entry"][0]["response"]
    assert response["status"] == "201 Created"
    assert "/Observation/" in response["location"]
    assert "on its way" in response["outcome"]["issue"][0]["diagnostics"]


async def test_a_batch_answers_each_entry_on_its_own(client: httpx.AsyncClient) -> None:
    bundle = a_transaction(
        post({"resourceType": "Patient"}), post({"resourceType": "Basic", "code": {"text": "x"}})
    )
    bundle["type"] = "batch"
    bundle["entry"].append({"request": {"method": "GET", "url": "Patient/none"}})
    answer = await client.post("", json=bundle, headers=JSON)
    assert answer.status_code == 200, answer.text
    statuses = [entry["response"]["status"].split()[0] for entry in answer.json()["entry"]]
    assert statuses == ["201", "201", "404"]


async def test_an_operation_that_is_not_offered_is_refused_with_an_outcome(client: httpx.AsyncClient) -> None:
    answer = await client.post("Patient/$match", json={}, headers=JSON)
    assert (answer.status_code, issue(answer)["code"]) == (404, "not-supported")


async def test_of_many_conditional_creates_at_once_one_writes(client: httpx.AsyncClient) -> None:
    body = b'{"resourceType":"Patient","identifier":[{"system":"http://h.example","value":"7"}]}'
    headers = {**JSON, "if-none-exist": "identifier=http://h.example|7"}
    answers = await asyncio.gather(
        *(client.post("Patient", content=body, headers=headers) for _ in range(16))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_condition_that_matches_several_resources_is_412(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await a_patient(client, b'{"resourceType":"Patient","name":[{"family":"Twin"}]}')
    headers = {**JSON, "if-none-exist": "family=twin"}
    answer = await client.post("Patient", content=b'{"resourceType":"Patient"}', headers=headers)
    assert (answer.status_code, issue(answer)["code"]) == (412, "multiple-matches")


PATIENT_7 = b'{"resourceType":"Patient","identifier":[{"system":"http://h.example","value":"7"}]}'


async def test_a_post_with_a_search_in_its_url_is_a_conditional_create(client: httpx.AsyncClient) -> None:
    url = "Patient?identifier=http://h.example%7C7&_format=json"
    first = await client.post(url, content=PATIENT_7, headers=JSON)
    second = await client.post(url, content=PATIENT_7, headers=JSON)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    plain = await client.post("Patient?_format=json", content=PATIENT_7, headers=JSON)
    assert plain.status_code == 201


@pytest.mark.parametrize("condition", ["", "_count=5", "_summary=count", "_sort=family"])
async def test_a_condition_that_asks_nothing_of_a_resource_is_refused(
    client: httpx.AsyncClient, condition: str
) -> None:
    id = await a_patient(client)
    created = await client.post("Patient", content=PATIENT_7, headers={**JSON, "if-none-exist": condition})
    updated = await client.put(f"Patient?{condition}", content=PATIENT_7, headers=JSON)
    deleted = await client.delete(f"Patient?{condition}")
    assert [answer.status_code for answer in (created, updated, deleted)] == [400] * 3
    assert issue(deleted)["code"] == "required"
    assert (await client.get("Patient")).json()["total"] == 1
    assert (await client.get(f"Patient/{id}")).headers["etag"] == 'W/"1"'


async def test_a_conditional_update_creates_then_updates_the_one_match(client: httpx.AsyncClient) -> None:
    url = "Patient?identifier=http://h.example%7C7"
    created = await client.put(url, content=PATIENT_7, headers=JSON)
    updated = await client.put(url, content=PATIENT_7[:-1] + b',"active":true}', headers=JSON)
    assert (created.status_code, updated.status_code) == (201, 200)
    assert updated.json()["id"] == created.json()["id"]
    assert updated.headers["etag"] == 'W/"2"'
    stale = await client.put(url, content=PATIENT_7, headers={**JSON, "if-match": 'W/"1"'})
    other_id = await client.put(url, content=PATIENT_7[:-1] + b',"id":"other"}', headers=JSON)
    assert (stale.status_code, other_id.status_code) == (412, 400)
    assert (await client.get("Patient/other")).status_code == 404


async def test_a_conditional_update_without_a_match_creates_under_the_id_of_the_body(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.put(
        "Patient?identifier=http://h.example%7C7", content=PATIENT_7[:-1] + b',"id":"mine"}', headers=JSON
    )
    assert (answer.status_code, answer.json()["id"]) == (201, "mine")


async def test_a_conditional_delete_takes_one_match_and_refuses_two(client: httpx.AsyncClient) -> None:
    first, _ = await a_patient(client, PATIENT_7), await a_patient(client, PATIENT_7)
    url = "Patient?identifier=http://h.example%7C7"
    refused = await client.delete(url)
    assert (refused.status_code, issue(refused)["code"]) == (412, "multiple-matches")
    assert (await client.put(url, content=PATIENT_7, headers=JSON)).status_code == 412
    assert (await client.get(url)).json()["total"] == 2
    await client.delete(f"Patient/{first}")
    assert (await client.delete(url, headers={"if-match": 'W/"9"'})).status_code == 412
    assert [(await client.delete(url)).status_code for _ in range(2)] == [204, 204]
    assert (await client.get(url)).json()["total"] == 0


def fail_commits(database_url: str, *, first: int) -> None:
    """Let that many commits fail with 40001, at COMMIT and not before; nextval is not rolled back."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE failed")
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF nextval('failed') <= {first} THEN RAISE EXCEPTION 'forced' USING ERRCODE = '40001'; END IF;"
            " RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON resource_version DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION fail()"
        )


A_CONDITIONAL_TRANSACTION: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "fullUrl": "urn:uuid:0c0ffee0-0000-4000-8000-000000000001",
            "resource": {
                "resourceType": "Patient",
                "identifier": [{"system": "http://h.example", "value": "7"}],
            },
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=http://h.example|7"},
        },
        {
            "resource": {
                "resourceType": "Basic",
                "code": {"text": "x"},
                "subject": {"reference": "urn:uuid:0c0ffee0-0000-4000-8000-000000000001"},
            },
            "request": {"method": "POST", "url": "Basic"},
        },
    ],
}


async def test_a_transaction_whose_commit_fails_now_and_then_is_true_when_it_says_200(
    client: httpx.AsyncClient, database_url: str
) -> None:
    fail_commits(database_url, first=3)
    answer = await client.post("", json=A_CONDITIONAL_TRANSACTION, headers=JSON)
    assert answer.status_code == 200, answer.text
    written = [entry["response"]["location"] for entry in answer.json()["entry"]]
    for location in written:
        assert (await client.get(location)).status_code == 200
    patient = "/".join(written[0].split("/")[-4:-2])
    assert answer.json()["entry"][1]["resource"]["subject"]["reference"] == patient
    assert (await client.get("Patient")).json()["total"] == 1


async def test_a_transaction_whose_commit_keeps_failing_is_409_and_writes_nothing(
    client: httpx.AsyncClient, database_url: str
) -> None:
    fail_commits(database_url, first=1000)
    answer = await client.post("", json=A_CONDITIONAL_TRANSACTION, headers=JSON)
    assert (answer.status_code, issue(answer)["code"]) == (409, "conflict")
    for resource_type in ("Patient", "Basic"):
        assert (await client.get(resource_type)).json()["total"] == 0


async def test_a_body_nested_too_deep_is_refused(client: httpx.AsyncClient) -> None:
    nested = (
        b'{"resourceType":"Basic","extension":' + b'[{"url":"u","extension":' * 40 + b"[]" + b"}]" * 40 + b"}"
    )
    answer = await client.post("Basic", content=nested, headers=JSON)
    assert answer.status_code == 400
    assert issue(answer)["diagnostics"]


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault_of_the_server(
    client: httpx.AsyncClient,
) -> None:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    sent: list[Any] = []
    pieces = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(pieces)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", httpx.URL(BASE).netloc), (b"content-type", b"application/fhir+json")]
    scope = {"type": "http", "method": "POST", "path": "/fhir/Patient", "raw_path": b"/fhir/Patient"}
    scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"}
    await transport.app(scope | {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}, receive, send)
    assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [499]
