"""`GET /events?after=N` of a service: its own log by sequence, as workers and outside consumers read it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection

from kanwa.services import FHIR_SERVICES, migration_folders
from kanwa_shared.messaging.outbox import give_sequence
from kanwa_shared.messaging.source_log import HttpSourceLogs, ResourceGone, SourceLogUnavailable
from kanwa_shared.rest.app import create_app
from kanwa_shared.security.keys import generate_keys

PASSWORD = "a-password-of-the-workers"  # made up
REFERRAL = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "subject": {"display": "A patient"},
}


@pytest.fixture
def url(database: Callable[..., str]) -> str:
    return database(*migration_folders("intake"))


async def started(url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    definition = FHIR_SERVICES["intake"]
    app: FastAPI = create_app(
        definition,
        definition.settings_class.load(database_url=url, base_url="http://127.0.0.1/fhir", **settings),
    )
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async for opened in started(url, auth_mode="open"):
        yield opened


@pytest.fixture
async def guarded(url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    keys = generate_keys(tmp_path)
    async for opened in started(url, auth_mode="jwt", auth_jwks_file=keys, events_password=PASSWORD):
        yield opened


async def written(client: httpx.AsyncClient, url: str, number: int) -> int:
    """Post referrals and number their events; returns the last sequence."""
    for _ in range(number):
        assert (await client.post("/fhir/ServiceRequest", json=REFERRAL)).status_code == 201
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await give_sequence(connection)
        row = await (await connection.execute("SELECT last FROM outbox_sequence")).fetchone()
    assert row is not None
    return row[0]


async def test_the_log_is_paged_by_sequence_without_a_gap(client: httpx.AsyncClient, url: str) -> None:
    last = await written(client, url, 5)
    seen: list[int] = []
    query: str | None = "/events?after=0&limit=3"
    while query:
        answer = await client.get(query)
        assert answer.headers["content-type"] == "application/cloudevents-batch+json"
        assert answer.headers["kanwa-last-sequence"] == str(last)
        assert answer.headers["kanwa-published-sequence"] == "0"
        page = answer.json()
        assert len(page) <= 3
        seen += [event["sequence"] for event in page]
        query = answer.links.get("next", {}).get("url")
    assert seen == list(range(1, last + 1))


async def test_an_event_carries_its_resource_unless_none_is_asked_for(
    client: httpx.AsyncClient, url: str
) -> None:
    await written(client, url, 1)
    event = (await client.get("/events?after=0")).json()[0]
    resource = await client.get(f"/fhir/{event['subject']}")
    assert event["data"] == resource.json()
    bare = (await client.get("/events/intake?after=0&data=none")).json()[0]
    assert bare == {name: value for name, value in event.items() if name not in {"data", "datacontenttype"}}


async def test_a_page_ends_where_its_text_gets_long(
    client: httpx.AsyncClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = await written(client, url, 4)
    monkeypatch.setattr("kanwa_shared.rest.event_log.PAGE_BYTES", 1)
    answer = await client.get("/events?after=0")
    assert len(answer.json()) == 1
    rest = await client.get("/events?after=1&data=none")
    assert len(rest.json()) == 1
    assert last > 2


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=many", "data=all", "since=3"])
async def test_what_is_not_understood_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/events?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["issue"][0]["diagnostics"]


async def test_a_worker_reads_the_log_with_its_password_and_nothing_else(guarded: httpx.AsyncClient) -> None:
    worker = {"authorization": f"Bearer {PASSWORD}"}
    assert (await guarded.get("/events", headers=worker)).status_code == 200
    for path in ("/fhir/Patient", "/events/intake", "/events/"):
        assert (await guarded.get(path, headers=worker)).status_code in {401, 404}, path
    assert (await guarded.post("/fhir/ServiceRequest", headers=worker, json=REFERRAL)).status_code == 401
    for wrong in ({}, {"authorization": f"Bearer {PASSWORD}x"}):
        assert (await guarded.get("/events", headers=wrong)).status_code == 401


async def test_a_consumer_reads_pages_over_http(
    client: httpx.AsyncClient, guarded: httpx.AsyncClient, url: str
) -> None:
    last = await written(client, url, 2)
    logs = HttpSourceLogs(guarded, {"intake": "http://127.0.0.1/events"}, PASSWORD)
    page = await logs.page("intake", 1, 2, with_resources=True)
    assert [event.sequence for event in page.events] == [2, 3]
    assert all(event.body for event in page.events)
    assert (page.last, page.published) == (last, 0)
    for password in (None, "another-password"):
        with pytest.raises(SourceLogUnavailable, match="401"):
            await HttpSourceLogs(guarded, {"intake": "http://127.0.0.1/events"}, password).page(
                "intake", 0, 1, with_resources=False
            )


async def test_a_consumer_is_told_when_a_version_is_gone(
    client: httpx.AsyncClient, guarded: httpx.AsyncClient, url: str
) -> None:
    await written(client, url, 2)
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("TRUNCATE resource_version")
    logs = HttpSourceLogs(guarded, {"intake": "http://127.0.0.1/events"}, PASSWORD)
    with pytest.raises(ResourceGone):
        await logs.page("intake", 0, 1, with_resources=True)
    assert len((await logs.page("intake", 0, 1, with_resources=False)).events) == 1
