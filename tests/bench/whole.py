"""A whole deployment under load: every service in its own processes over real servers."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from tests.bench.http_load import Measured, connect, request_bytes, run_load
from tests.bench.referral import referral, referrals
from tests.support.deployment import Deployment

BOARD_DEADLINE_SECONDS = 30.0
DRAINED_DEADLINE_SECONDS = 90.0


@dataclass(slots=True)
class Whole:
    """Measurements by name; `board` are seconds from sending a POST to its event at an SSE client."""

    runs: dict[str, Measured] = field(default_factory=dict)
    board: list[float] = field(default_factory=list)
    events_per_second: float = 0.0
    events: int = 0


async def measure(
    deployment: Deployment, *, requests: int, seconds: float, concurrency: int, board_posts: int
) -> Whole:
    """Follow single referrals to the board while nothing else happens; then post, read, search, transact."""
    intake = deployment.addresses["intake"]
    process = deployment.processes["intake-api"].pid
    database_url = deployment.commands["intake-api"][1]["KANWA_DATABASE_URL"]
    whole = Whole(board=await _to_the_board(deployment, board_posts))
    await _drained(database_url)

    async def load(name: str, prepared: Iterator[bytes]) -> None:
        whole.runs[name] = await run_load(
            intake, prepared, concurrency=concurrency, seconds=seconds, process=process
        )

    posts = [request_bytes("POST", intake, "/fhir/ServiceRequest", body) for body in referrals(requests)]
    started, before = time.perf_counter(), await _published(database_url)
    await load("POST ServiceRequest", iter(posts))
    whole.events = await _drained(database_url) - before
    whole.events_per_second = whole.events / (time.perf_counter() - started)
    ids = await _ids(database_url)
    await load("GET ServiceRequest/id", _each(intake, requests, ids, "/fhir/ServiceRequest/{}"))
    await load(
        "GET Task?focus=…&code=fulfill",
        _each(intake, requests, ids, "/fhir/Task?focus=ServiceRequest/{}&code=fulfill"),
    )
    bundles = (request_bytes("POST", intake, "/fhir", transaction()) for _ in range(max(1, requests // 10)))
    await load("POST transaction (8 entries, 3 handed over)", bundles)
    return whole


def _each(address: str, count: int, ids: list[str], path: str) -> Iterator[bytes]:
    return (
        request_bytes("GET", address, path.format(quote(ids[number % len(ids)]))) for number in range(count)
    )


def transaction() -> bytes:
    """A referral with its dossier: what the EHR knows goes to intake, the measurements to outcomes."""
    patient, practitioner, condition = (f"urn:uuid:{uuid.uuid4()}" for _ in range(3))
    subject = {"reference": patient}

    def entry(full_url: str, resource: dict[str, Any]) -> dict[str, Any]:
        request = {"method": "POST", "url": resource["resourceType"]}
        return {"fullUrl": full_url, "resource": resource, "request": request}

    def measured(code: str, value: float, unit: str) -> dict[str, Any]:
        quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
        return entry(
            f"urn:uuid:{uuid.uuid4()}",
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
                "subject": subject,
                "effectiveDateTime": "2026-11-24T09:00:00+09:00",
                "valueQuantity": quantity,
            },
        )

    request = json.loads(referral("x"))
    request |= {"subject": subject, "requester": {"reference": practitioner}}
    request["reasonReference"] = [{"reference": condition}]
    diagnosis = {"resourceType": "Condition", "subject": subject, "code": {"text": "Malignant ascites"}}
    entries = [
        entry(patient, {"resourceType": "Patient", "active": True, "birthDate": "1960-02-01"}),
        entry(practitioner, {"resourceType": "Practitioner", "active": True}),
        entry(condition, diagnosis),
        entry(
            f"urn:uuid:{uuid.uuid4()}",
            {"resourceType": "Basic", "subject": subject, "code": {"text": "Ceiling of care"}},
        ),
        measured("72514-3", 7, "{score}"),
        measured("6301-6", 1.1, "{INR}"),
        measured("777-3", 180, "10*3/uL"),
        entry(f"urn:uuid:{uuid.uuid4()}", request),
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


async def _to_the_board(deployment: Deployment, count: int) -> list[float]:
    """Post one referral after another, each when the event of the one before has arrived."""
    arrived: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    listening = asyncio.Event()
    reader = asyncio.create_task(_follow(deployment.addresses["mdt"], arrived, listening))
    connection = await connect(deployment.addresses["intake"])
    try:
        async with asyncio.timeout(BOARD_DEADLINE_SECONDS):
            await listening.wait()
        return [await _one_to_the_board(deployment, connection, arrived) for _ in range(count)]
    finally:
        connection.close()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def _one_to_the_board(
    deployment: Deployment, connection: Any, arrived: "asyncio.Queue[tuple[str, float]]"
) -> float:
    body = referral(str(uuid.uuid4()))
    sent = time.perf_counter()
    answer = await connection.send(
        request_bytes("POST", deployment.addresses["intake"], "/fhir/ServiceRequest", body)
    )
    subject = f"ServiceRequest/{json.loads(answer.body)['id']}/_history/1"
    async with asyncio.timeout(BOARD_DEADLINE_SECONDS):
        while True:
            seen, at = await arrived.get()
            if seen == subject:
                return at - sent


async def _follow(
    address: str, arrived: "asyncio.Queue[tuple[str, float]]", listening: asyncio.Event
) -> None:
    async with (
        httpx.AsyncClient(base_url=address, timeout=httpx.Timeout(5, read=None), trust_env=False) as client,
        client.stream("GET", "/events") as answer,
    ):
        async for line in answer.aiter_lines():
            listening.set()
            if line.startswith("data:"):
                arrived.put_nowait((json.loads(line[5:])["subject"], time.perf_counter()))


async def _value(database_url: str, query: str) -> Any:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        row = await (await connection.execute(query)).fetchone()  # type: ignore[arg-type]  # constants below
        assert row is not None
        return row[0]


async def _published(database_url: str) -> int:
    return await _value(database_url, "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL")


async def _drained(database_url: str) -> int:
    """Wait until nothing waits to be published; gives how much was published in all."""
    async with asyncio.timeout(DRAINED_DEADLINE_SECONDS):
        while await _value(database_url, "SELECT count(*) FROM outbox WHERE published_at IS NULL"):  # noqa: ASYNC110  # a table has no event
            await asyncio.sleep(0.1)
    return await _published(database_url)


async def _ids(database_url: str) -> list[str]:
    query = "SELECT array_agg(id) FROM (SELECT id FROM resource WHERE resource_type = 'ServiceRequest' LIMIT 500) x"
    return await _value(database_url, query)
