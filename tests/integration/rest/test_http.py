"""HTTP as a whole: every method on every path, formats, content codings, preferences."""

import gzip
import json

import httpx
import pytest

from kanwa_shared.rest.app import ROUTES
from kanwa_shared.settings import BaseServiceSettings
from tests.support.rest import BASE, JSON, a_patient, issue

PATHS = sorted({path for _, path, _ in ROUTES} | {"/fhir", "/fhir/", "/health", "/ready", "/metrics"})
BODY = b'{"resourceType":"Patient","multipleBirthInteger":2,"name":[{"family":"Kanwa"}]}'
LIMIT = BaseServiceSettings.model_fields["max_body_bytes"].default


def filled(path: str, id: str) -> str:
    names = {
        "{resource_type}": "Patient",
        "{id}": id,
        "{operation}": "validate",
        "{version}": "1",
        "{job}": "none",
    }
    for name, value in names.items():
        path = path.replace(name, value)
    return BASE.removesuffix("/fhir") + path


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_says_what_it_allows_and_refuses_the_rest(
    client: httpx.AsyncClient, path: str
) -> None:
    id = await a_patient(client)
    url = filled(path, id)
    told = await client.request("OPTIONS", url)
    assert (told.status_code, told.content) == (204, b"")
    allowed = set(told.headers["allow"].split(", "))
    served = {method for method, known, _ in ROUTES if known == path} or {"GET", "POST"} & allowed
    assert served <= allowed
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "LINK"} - allowed:
        refused = await client.request(method, url)
        assert (refused.status_code, refused.headers["allow"]) == (405, told.headers["allow"]), method
        if method != "HEAD":
            assert issue(refused)["code"] == "not-supported"


@pytest.mark.parametrize(
    "path",
    [
        "metadata",
        "Patient/{id}",
        "Patient",
        "Patient/{id}/_history",
        "Patient/_history",
        "_history",
        "Patient/none",
    ],
)
async def test_head_is_a_get_without_its_body(client: httpx.AsyncClient, path: str) -> None:
    url = path.format(id=await a_patient(client))
    got, head = await client.get(url, headers={"accept-encoding": "identity"}), await client.head(url)
    assert (head.status_code, head.content) == (got.status_code, b"")
    for name in ("etag", "last-modified", "content-type", "content-length"):
        assert head.headers.get(name) == got.headers.get(name)


async def test_head_changes_nothing(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    for name in ("$meta-add", "$book"):
        assert (await client.head(f"Patient/{id}/{name}")).status_code in {400, 404}
    assert (await client.head(f"Patient/{id}", headers={"if-none-match": "1"})).status_code == 304
    assert (await client.get(f"Patient/{id}/_history")).json()["total"] == 1


@pytest.mark.parametrize(
    ("accept", "query", "status"),
    [
        ("*/*", "", 200),
        ("application/fhir+json; fhirVersion=4.0", "", 200),
        ("application/json;q=0.5, text/html", "", 200),
        ("application/fhir+xml, application/fhir+json;q=0.1", "", 200),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "", 200),
        ("application/fhir+json;q=0", "", 406),
        ("application/fhir+json;q=0.000, text/html", "", 406),
        ("application/fhir+xml", "", 406),
        ("application/fhir+json; fhirVersion=5.0", "", 406),
        ("application/fhir+xml", "?_format=json", 200),
        ("*/*", "?_format=application/fhir+json", 200),
        ("*/*", "?_format=application/fhir%2Bjson;fhirVersion=4.0", 200),
        ("*/*", "?_format=xml", 406),
        ("*/*", "?_format=ttl", 406),
    ],
)
async def test_the_format_is_negotiated(
    client: httpx.AsyncClient, accept: str, query: str, status: int
) -> None:
    id = await a_patient(client)
    for path in (f"Patient/{id}", "Patient", f"Patient/{id}/_history", "metadata"):
        answer = await client.get(path + query, headers={"accept": accept})
        assert answer.status_code == status
        if status == 406:
            assert "XML" in issue(answer)["diagnostics"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/fhir+json; charset=utf-8; fhirVersion=4.0", 201),
        ("application/fhir+json; fhirVersion=3.0", 415),
        ("application/fhir+xml", 415),
        ("application/json; charset=latin-1", 415),
    ],
)
async def test_the_format_of_a_body_is_looked_at(
    client: httpx.AsyncClient, content_type: str, status: int
) -> None:
    answer = await client.post("Patient", content=BODY, headers={"content-type": content_type})
    assert answer.status_code == status


async def test_pretty_is_for_people_and_loses_no_digit(client: httpx.AsyncClient) -> None:
    body = b'{"resourceType":"Basic","code":{"text":"x"},"extension":[{"url":"http://a.example","valueDecimal":1.50}]}'
    created = await client.post("Basic?_pretty=true", content=body, headers=JSON)
    assert b'\n  "resourceType": "Basic"' in created.content
    assert b"1.50\n" in created.content
    plain = await client.get(f"Basic/{created.json()['id']}?_pretty=false")
    assert b"\n" not in plain.content
    assert plain.json() == created.json()


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("br", False),
    ],
)
async def test_a_large_answer_is_packed_for_who_accepts_it(
    client: httpx.AsyncClient, accepted: str, packed: bool
) -> None:
    for _ in range(20):
        await a_patient(client, BODY)
    async with client.stream("GET", "Patient", headers={"accept-encoding": accepted}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert int(answer.headers["content-length"]) == len(raw)
    bundle = json.loads(gzip.decompress(raw) if packed else raw)
    assert bundle["total"] == 20
    if packed:
        assert answer.headers["vary"] == "accept-encoding"
        small = await client.get(
            f"Patient/{bundle['entry'][0]['resource']['id']}", headers={"accept-encoding": "gzip"}
        )
        assert "content-encoding" not in small.headers


async def test_a_packed_body_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "Patient", content=gzip.compress(BODY), headers={**JSON, "content-encoding": "gzip"}
    )
    assert (answer.status_code, answer.json()["name"]) == (201, [{"family": "Kanwa"}])


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (gzip.compress(b" " * (LIMIT + 1)), "gzip", 413, "too-long"),
        (BODY, "gzip", 400, "structure"),
        (gzip.compress(BODY)[:-9], "gzip", 400, "structure"),
        (gzip.compress(BODY) + b"more", "gzip", 400, "structure"),
        (BODY, "br", 415, "not-supported"),
        (gzip.compress(gzip.compress(BODY)), "gzip, gzip", 415, "not-supported"),
    ],
    ids=["bomb", "plain", "cut", "more", "brotli", "twice"],
)
async def test_a_packed_body_that_cannot_be_read_is_refused(
    client: httpx.AsyncClient, body: bytes, coding: str, status: int, code: str
) -> None:
    answer = await client.post("Patient", content=body, headers={**JSON, "content-encoding": coding})
    assert (answer.status_code, issue(answer)["code"]) == (status, code)
    assert (await client.get("Patient")).json()["total"] == 0


@pytest.mark.parametrize(
    ("prefer", "shown"), [("", None), ("return=minimal", None), ("return=OperationOutcome", "deleted")]
)
async def test_prefer_decides_what_a_deletion_answers(
    client: httpx.AsyncClient, prefer: str, shown: str | None
) -> None:
    id = await a_patient(client)
    answer = await client.delete(f"Patient/{id}", headers={"prefer": prefer})
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.status_code == (200 if shown else 204)
    assert bool(answer.content) == bool(shown)
    if shown:
        assert shown in issue(answer)["diagnostics"]


@pytest.mark.parametrize("prefer", ["return=minimal", "return=OperationOutcome", "return=representation"])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_prefer_decides_what_a_change_answers(
    client: httpx.AsyncClient, method: str, prefer: str
) -> None:
    id = await a_patient(client)
    body = b'{"resourceType":"Patient","id":"%s"}' % id.encode()
    answer = await client.request(method, f"Patient/{id}", content=body, headers={**JSON, "prefer": prefer})
    assert answer.status_code == 200
    expected = {"return=minimal": None, "return=OperationOutcome": "OperationOutcome"}.get(prefer, "Patient")
    assert (answer.json()["resourceType"] if answer.content else None) == expected
