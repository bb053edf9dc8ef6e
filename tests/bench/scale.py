"""What a read and a search cost as the store grows: one API process of intake, one request at a time."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, TextIO, cast
from urllib.parse import parse_qsl, quote

import psutil
import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from kanwa.services import migration_folders
from kanwa_shared.fhir.search import execute, parse_search
from kanwa_shared.store.pool import open_pool
from tests.bench.filled_store import MRN, fill, id_of, moment_of, newest
from tests.bench.http_load import Measured, connect, request_bytes
from tests.bench.one_worker import Server, intake_worker

REQUESTS: Final = 60
WARM_UP: Final = 5
_ENOUGH_SECONDS: Final = 20.0

Question = Callable[[Random, int], str]
"""From a source of chance and the size of the store to a path below the FHIR base."""


def _any(kind: str, random: Random, size: int) -> str:
    return id_of(newest(kind, random.randrange(20, size)))


def _patient(random: Random, size: int) -> str:
    return _any("Patient", random, size)


def _day(random: Random, size: int) -> str:
    return moment_of(random.randrange(size)).date().isoformat()


def _month(random: Random, size: int) -> str:
    return moment_of(random.randrange(size)).date().isoformat()[:7]


def _mrn(random: Random, size: int) -> str:
    return quote(f"{MRN}|{newest('Patient', random.randrange(20, size)):08}")


def _middle(size: int) -> str:
    return moment_of(size // 2).date().isoformat()


#: The first five are what the goal of 15 ms is about.
QUESTIONS: Final[dict[str, Question]] = {
    "read by id": lambda random, size: f"ServiceRequest/{_any('ServiceRequest', random, size)}",
    "patient + status, _count=20": lambda random, size: (
        f"ServiceRequest?patient=Patient/{_patient(random, size)}&status=active&_count=20"
    ),
    "date range, one day": lambda random, size: f"ServiceRequest?authored={_day(random, size)}&_count=20",
    "_include": lambda random, size: (
        f"ServiceRequest?patient=Patient/{_patient(random, size)}&_include=ServiceRequest:subject&_count=20"
    ),
    "chain to an identifier": lambda random, size: (
        f"ServiceRequest?patient.identifier={_mrn(random, size)}&_count=20"
    ),
    "date range, half of the store": lambda random, size: (
        f"ServiceRequest?authored=ge{_middle(size)}&_count=20"
    ),
    "date range, half, _total=none": lambda random, size: (
        f"ServiceRequest?authored=ge{_middle(size)}&_count=20&_total=none"
    ),
    "date range, half, newest first": lambda random, size: (
        f"ServiceRequest?authored=ge{_middle(size)}&_sort=-authored&_count=20"
    ),
    "a month, newest first": lambda random, size: (
        f"ServiceRequest?authored={_month(random, size)}&_sort=-authored&_count=20"
    ),
    "status alone (a fifth)": lambda random, size: "ServiceRequest?status=active&_count=20",
    "status and day": lambda random, size: (
        f"ServiceRequest?status=active&authored={_day(random, size)}&_count=20"
    ),
    "all, last updated first": lambda random, size: "ServiceRequest?_sort=-_lastUpdated&_count=20",
    "patient, newest first": lambda random, size: (
        f"ServiceRequest?patient=Patient/{_patient(random, size)}&_sort=-authored&_count=20"
    ),
    "most urgent first": lambda random, size: "ServiceRequest?status=active&_sort=priority&_count=20",
    "tasks of a patient's requests": lambda random, size: (
        f"Task?focus:ServiceRequest.patient=Patient/{_patient(random, size)}&_count=20"
    ),
    "chain of two": lambda random, size: (
        f"Task?focus:ServiceRequest.patient.identifier={_mrn(random, size)}&_count=20"
    ),
    "_has": lambda random, size: (
        f"Patient?_has:ServiceRequest:patient:identifier=o-{newest('ServiceRequest', random.randrange(20, size))}"
    ),
    "_revinclude": lambda random, size: (
        f"ServiceRequest?patient=Patient/{_patient(random, size)}&_revinclude=Task:focus&_count=20"
    ),
    "name": lambda random, size: f"Patient?given=K{newest('Patient', random.randrange(20, size))}",
    "name of a ninth": lambda random, size: "Patient?family=Novak&_count=20",
    "status:not": lambda random, size: "ServiceRequest?status:not=completed&_count=20",
    "_lastUpdated of a day": lambda random, size: (
        f"ServiceRequest?_lastUpdated={_day(random, size)}&_count=20"
    ),
}


def growth(
    database: Callable[..., str], sizes: Sequence[int], *, plans: TextIO | None = None
) -> Iterator[tuple[int, str, Measured]]:
    """Fill a store to each size in turn and ask every question there: size, name and what it took.

    `plans` gets the plan of one search of each kind, as EXPLAIN ANALYZE gives it.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="kanwa-scale-")))
        url = database(*migration_folders("intake"))
        for held, size in pairwise([0, *sizes]):
            fill(url, held, size)
            with intake_worker(url, folder) as server:
                for name, question in QUESTIONS.items():
                    paths = _paths(question, size)
                    yield size, name, asyncio.run(_ask(server, url, paths))
                    if plans is not None and "?" in paths[0]:
                        plans.write(f"== {name}, {size:,}\n{asyncio.run(_explained(url, paths[0]))}\n\n")


def _paths(question: Question, size: int) -> list[str]:
    random = Random(size)
    return [question(random, size) for _ in range(REQUESTS + WARM_UP)]


def _cpu_seconds(server: Server, database_url: str) -> float:
    """CPU time so far of the API process and of the PostgreSQL processes that serve the database."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    times = [psutil.Process(pid).cpu_times() for pid in (server.process, *(row[0] for row in rows))]
    return sum(time.user + time.system for time in times)


async def _ask(server: Server, database_url: str, paths: list[str]) -> Measured:
    headers = server.headers()
    connection = await connect(server.address)
    measured = Measured([], 0.0)
    before = 0.0
    try:
        for position, path in enumerate(paths):
            if position == WARM_UP:
                before = _cpu_seconds(server, database_url)
            answer = await connection.send(
                request_bytes("GET", server.address, f"/fhir/{path}", headers=headers)
            )
            if answer.status != 200:
                measured.failures[answer.status] = measured.failures.get(answer.status, 0) + 1
            if position >= WARM_UP:
                measured.latencies.append(answer.seconds)
                measured.seconds += answer.seconds
            if measured.seconds > _ENOUGH_SECONDS:
                break
    finally:
        connection.close()
    measured.cpu_seconds = _cpu_seconds(server, database_url) - before
    return measured


class _Explaining:
    """A connection that also asks PostgreSQL how it goes about each statement."""

    def __init__(self, connection: AsyncConnection[TupleRow]):
        self._connection = connection
        self.plans: list[str] = []

    async def execute(self, statement: Any, parameters: Any = None, **options: Any) -> Any:
        if statement.as_string().startswith("EXPLAIN"):
            return await self._connection.execute(statement, parameters, **options)
        explaining = sql.SQL("EXPLAIN (ANALYZE, COSTS OFF, BUFFERS, TIMING OFF) {}").format(statement)
        found = await self._connection.execute(explaining, parameters, **options)
        self.plans.append("\n".join(row[0] for row in await found.fetchall()))
        return await self._connection.execute(statement, parameters, **options)


async def _explained(database_url: str, path: str) -> str:
    resource_type, _, query = path.partition("?")
    async with open_pool(database_url, max_size=1) as pool, pool.connection() as connection:
        explaining = _Explaining(connection)
        search = parse_search(resource_type, parse_qsl(query))
        await execute(cast("AsyncConnection[TupleRow]", explaining), search, base_url="http://localhost/fhir")
    return "\n\n".join([f"{path}", *explaining.plans])
