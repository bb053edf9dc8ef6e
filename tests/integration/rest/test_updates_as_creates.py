"""The same new resources, put by many clients at once under their own ids: one of each, and no fault is seen."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from kanwa_shared.rest.app import create_app
from kanwa_shared.rest.service import ServiceDefinition
from kanwa_shared.settings import BaseServiceSettings
from tests.support.rest import BASE, JSON

IDS = [f"p{number:02}" for number in range(16)]


@pytest.fixture
async def processes(database: Callable[..., str]) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two applications over one database, as two API processes are."""
    url = database()
    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []
        for _ in range(2):
            settings = BaseServiceSettings.load(database_url=url, auth_mode="open", base_url=BASE)
            app = create_app(ServiceDefinition("intake"), settings, peers={})
            await stack.enter_async_context(app.router.lifespan_context(app))
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                base_url=f"{BASE}/",
                headers=JSON,
            )
            clients.append(await stack.enter_async_context(client))
        yield clients


def a_patient(id: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id}


def in_a_transaction(ids: list[str]) -> dict[str, Any]:
    puts = [{"request": {"method": "PUT", "url": f"Patient/{id}"}, "resource": a_patient(id)} for id in ids]
    fresh = {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient"}}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [fresh, *puts]}


async def test_puts_and_transactions_of_the_same_new_ids_in_opposite_orders_all_succeed(
    processes: list[httpx.AsyncClient],
) -> None:
    one, other = processes
    answers = await asyncio.gather(
        *(one.put(f"Patient/{id}", json=a_patient(id)) for id in IDS),
        *(other.put(f"Patient/{id}", json=a_patient(id)) for id in reversed(IDS)),
        one.post("", json=in_a_transaction(IDS)),
        other.post("", json=in_a_transaction(IDS[::-1])),
        *(
            client.post("Patient", json={"resourceType": "Patient"})
            for client in processes
            for _ in range(16)
        ),
    )
    assert Counter(answer.status_code for answer in answers).keys() <= {200, 201}, [
        answer.text for answer in answers if answer.status_code > 201
    ]
    for id in IDS:
        history = (await one.get(f"Patient/{id}/_history")).json()["entry"]
        written = [int(entry["resource"]["meta"]["versionId"]) for entry in history]
        assert written == [4, 3, 2, 1], "four writers, four versions"
