"""history of a type and of the whole server: each version once, the newest first, whatever is written meanwhile."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.fhir_server import FhirServer, fhir_server
from tests.support.rest import BASE, JSON, a_patient, issue


@pytest.fixture
async def server(database: Callable[..., str]) -> AsyncIterator[FhirServer]:
    async with fhir_server(database) as running:
        yield running


def names(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    """Reference and ETag of every entry."""
    assert bundle["type"] == "history"
    return [
        ("/".join(entry["fullUrl"].split("/")[-2:]), entry["response"]["etag"])
        for entry in bundle.get("entry", [])
    ]


def link(bundle: dict[str, Any], relation: str) -> str | None:
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), None)


async def pages(client: httpx.AsyncClient, url: str) -> AsyncIterator[dict[str, Any]]:
    following: str | None = url
    while following:
        answer = await client.get(following)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield page
        following = link(page, "next")


async def test_a_types_history_shows_every_version_once_while_others_write(client: httpx.AsyncClient) -> None:
    written: list[tuple[str, str]] = []
    for number in range(5):
        body = b'{"resourceType":"Patient","id":"p%d"}' % number
        for version in (1, 2):
            await client.put(f"Patient/p{number}", content=body, headers=JSON)
            written.append((f"Patient/p{number}", f'W/"{version}"'))
    await client.delete("Patient/p0")
    written.append(("Patient/p0", 'W/"3"'))
    await client.put(
        "Basic/b", content=b'{"resourceType":"Basic","id":"b","code":{"text":"x"}}', headers=JSON
    )
    seen: list[tuple[str, str]] = []
    totals: list[int] = []
    async for page in pages(client, "Patient/_history?_count=3"):
        seen += names(page)
        totals.append(page["total"])
        await a_patient(client)  # newer than the first page, so on none of them
    assert seen == written[::-1]
    assert totals[0] == len(written)


async def test_versions_of_one_moment_are_shown_once_each(
    client: httpx.AsyncClient, database_url: str
) -> None:
    for number in range(7):
        await a_patient(client, b'{"resourceType":"Patient","id":"%d"}' % number)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE resource_version SET last_updated = '2026-01-01T00:00:00.123Z'")
    for path in ("Patient/_history?_count=2", "_history?_count=3"):
        seen = [name async for page in pages(client, path) for name in names(page)]
        assert len(seen) == 7
        assert len(set(seen)) == 7


TIMES = [("a", 1, "2026-01-01"), ("a", 2, "2026-01-03"), ("b", 1, "2026-01-02"), ("b", 2, "2026-01-05")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_since=2026-01-03", {("a", 2), ("b", 2)}),
        ("_since=2026-01-03T12:00:00%2B09:00", {("a", 2), ("b", 2)}),
        ("_since=2026-01-03T12:00:00Z", {("b", 2)}),
        ("_at=2026-01-01", {("a", 1)}),
        ("_at=2026-01-02", {("a", 1), ("b", 1)}),
        ("_at=2026-01-03", {("a", 1), ("a", 2), ("b", 1)}),
        ("_at=2026-01-04T10:00:00Z", {("a", 2), ("b", 1)}),
        ("_at=2026-02", {("a", 2), ("b", 2)}),
        ("_at=2025", set[tuple[str, int]]()),
        ("_at=2026&_since=2026-01-05", {("b", 2)}),
    ],
)
@pytest.mark.parametrize("path", ["Patient/_history", "_history", "Patient/a/_history"])
async def test_since_and_at_choose_versions_by_when_they_were_current(
    client: httpx.AsyncClient, database_url: str, path: str, query: str, expected: set[tuple[str, int]]
) -> None:
    for id, _, _ in TIMES:
        body = b'{"resourceType":"Patient","id":"%s"}' % id.encode()
        await client.put(f"Patient/{id}", content=body, headers=JSON)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for id, version, day in TIMES:
            connection.execute(
                "UPDATE resource_version SET last_updated = %s WHERE id = %s AND version = %s",
                (f"{day}T06:00:00Z", id, version),
            )
    found = (await client.get(f"{path}?{query}")).json()
    wanted = {one for one in expected if path != "Patient/a/_history" or one[0] == "a"}
    assert {(reference.split("/")[1], int(etag[3:-1])) for reference, etag in names(found)} == wanted
    assert found["total"] == len(wanted)


@pytest.mark.parametrize(
    "query",
    [
        "_since=soon",
        "_at=2026-13",
        "_count=x",
        "_cursor=x",
        "_cursor=2026-99-01T00:00:00Z/Patient/a/1",
        "_sort=_id",
    ],
)
@pytest.mark.parametrize("path", ["Patient/_history", "_history"])
async def test_a_parameter_that_cannot_be_read_is_refused(
    client: httpx.AsyncClient, path: str, query: str
) -> None:
    answer = await client.get(f"{path}?{query}")
    assert answer.status_code == 400
    assert issue(answer)["diagnostics"]


async def test_the_servers_history_joins_all_services_by_time(server: FhirServer) -> None:
    resources: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": "p"},
        {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}},
        {"resourceType": "Device", "id": "d"},
    ]
    written: list[tuple[str, str]] = []
    for version in (1, 2, 3):
        for one in resources:
            answer = await server.fhir.put(f"{one['resourceType']}/{one['id']}", json=one)
            assert answer.is_success, answer.text
            written.append((f"{one['resourceType']}/{one['id']}", f'W/"{version}"'))
    whole = (await server.fhir.get("_history")).json()
    own = [name for name in names(whole) if name in written]
    assert sorted(own) == sorted(written)
    times = [entry["response"]["lastModified"] for entry in whole["entry"]]
    assert times == sorted(times, reverse=True)
    paged = [name async for page in pages(server.fhir, "_history?_count=2") for name in names(page)]
    assert paged == names(whole)
    assert whole["total"] == len(paged)


@pytest.mark.parametrize("count", [9, 10, 11])
@pytest.mark.parametrize("path", ["_history", "Observation/_history"])
async def test_a_page_of_the_largest_size_leads_to_the_next_one(
    database: Callable[..., str], path: str, count: int
) -> None:
    observation = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}
    async with fhir_server(database, page_size_max=10) as server:
        for number in range(12):
            changed = {**observation, "note": [{"text": str(number)}]}
            assert (await server.fhir.put("Observation/o", json=changed)).is_success
        read = [page async for page in pages(server.fhir, f"{path}?_count={count}")]
    sizes = [len(page["entry"]) for page in read]
    assert sizes == [min(count, 10), 12 - min(count, 10)]
    assert len({name for page in read for name in names(page)}) == 12


async def test_a_service_that_is_away_makes_the_servers_history_unavailable(server: FhirServer) -> None:
    server.away.add("outcomes")
    answer = await server.fhir.get("_history")
    assert (answer.status_code, issue(answer)["code"]) == (503, "transient")


async def test_an_empty_history_is_a_bundle_without_entries(client: httpx.AsyncClient) -> None:
    bundle = (await client.get("Patient/_history")).json()
    assert (bundle["total"], names(bundle), link(bundle, "self")) == (0, [], f"{BASE}/Patient/_history")
    assert (await client.get("Patients/_history")).status_code == 404
