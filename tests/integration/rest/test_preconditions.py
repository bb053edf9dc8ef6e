"""If-Match, If-None-Match and If-Modified-Since, on reads and on every write of one resource."""

import asyncio
from collections import Counter

import httpx
import pytest

from tests.support.rest import JSON, a_patient, issue

ACTIVE = b'{"active":true}'


async def write(client: httpx.AsyncClient, kind: str, id: str, headers: dict[str, str]) -> httpx.Response:
    """One write of the patient, by its id or by its identifier."""
    body = b'{"resourceType":"Patient","id":"%s","identifier":[{"value":"7"}]}' % id.encode()
    if kind.startswith("conditional"):
        method, url = kind.removeprefix("conditional "), "Patient?identifier=7"
    else:
        method, url = kind, f"Patient/{id}"
    content = {"put": body, "patch": ACTIVE, "delete": None}[method]
    return await client.request(method.upper(), url, content=content, headers={**JSON, **headers})


WRITES = ["put", "patch", "delete", "conditional put", "conditional patch", "conditional delete"]


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize(
    ("tag", "goes"),
    [
        ('W/"1"', True),
        ('"1"', True),
        ("1", True),
        ('W/"7", W/"1"', True),
        ("*", True),
        ('W/"2"', False),
        ('W/"0", "x"', False),
        ('W/"99999999999999999999"', False),
    ],
)
async def test_every_write_honours_if_match(
    client: httpx.AsyncClient, kind: str, tag: str, goes: bool
) -> None:
    id = await a_patient(client, b'{"resourceType":"Patient","identifier":[{"value":"7"}]}')
    answer = await write(client, kind, id, {"if-match": tag})
    assert answer.is_success is goes, answer.text
    if not goes:
        assert (answer.status_code, issue(answer)["code"]) == (412, "conflict")
    versions = (await client.get(f"Patient/{id}/_history")).json()["total"]
    assert versions == (2 if goes else 1)


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("tag", ["", 'W/"1', "one", '"1" "2"'])
async def test_an_if_match_that_is_no_etag_is_refused(client: httpx.AsyncClient, kind: str, tag: str) -> None:
    id = await a_patient(client, b'{"resourceType":"Patient","identifier":[{"value":"7"}]}')
    assert (await write(client, kind, id, {"if-match": tag})).status_code == 400
    assert (await client.get(f"Patient/{id}")).headers["etag"] == 'W/"1"'


async def test_if_match_asks_for_a_resource_that_is_there(client: httpx.AsyncClient) -> None:
    assert (await write(client, "put", "none", {"if-match": "*"})).status_code == 412
    assert (await write(client, "put", "none", {"if-match": 'W/"1"'})).status_code == 412
    id = await a_patient(client)
    await client.delete(f"Patient/{id}")
    assert (await write(client, "put", id, {"if-match": "*"})).status_code == 412
    assert (await write(client, "put", id, {"if-match": 'W/"2"'})).status_code == 201


async def test_of_many_puts_that_must_create_one_does(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(write(client, "put", "new", {"if-none-match": "*"}) for _ in range(12)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 412: 11}
    assert (await client.get("Patient/new/_history")).json()["total"] == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": 'W/"1"'}, 304),
        ({"if-none-match": "1"}, 304),
        ({"if-none-match": 'W/"3", "1"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": 'W/"2"'}, 200),
        ({"if-none-match": "nonsense"}, 200),
        ({"if-modified-since": "Thu, 01 Jan 2099 00:00:00 GMT"}, 304),
        ({"if-modified-since": "Thursday, 01-Jan-26 00:00:00 GMT"}, 200),
        ({"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
        ({"if-modified-since": "soon"}, 200),
        ({"if-none-match": 'W/"2"', "if-modified-since": "Thu, 01 Jan 2099 00:00:00 GMT"}, 200),
    ],
)
async def test_a_read_is_304_when_the_client_has_it(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    id = await a_patient(client)
    for path in (f"Patient/{id}", f"Patient/{id}/_history/1"):
        answer = await client.get(path, headers=headers)
        assert answer.status_code == status
        assert answer.headers["etag"] == 'W/"1"'
        assert bool(answer.content) == (status == 200)


async def test_last_modified_given_back_means_not_modified(client: httpx.AsyncClient) -> None:
    id = await a_patient(client)
    given = (await client.get(f"Patient/{id}")).headers["last-modified"]
    assert (await client.get(f"Patient/{id}", headers={"if-modified-since": given})).status_code == 304


async def test_a_conditional_update_takes_no_id_that_another_resource_has(client: httpx.AsyncClient) -> None:
    other = await a_patient(client)
    body = b'{"resourceType":"Patient","id":"%s","identifier":[{"value":"7"}]}' % other.encode()
    answer = await client.put("Patient?identifier=7", content=body, headers=JSON)
    assert (answer.status_code, issue(answer)["code"]) == (409, "duplicate")
    assert (await client.get(f"Patient/{other}")).headers["etag"] == 'W/"1"'
