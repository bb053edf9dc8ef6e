"""The cases that the board shows."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from kanwa_mdt.domain.case import ENDED, Case, Stage, read, written

Connection = AsyncConnection[Any]

_OPEN_ORDER: Final = "urgency, due NULLS LAST, service_request"
_ENDED_ORDER: Final = "ended DESC NULLS LAST, service_request"


async def write(connection: Connection, cases: Sequence[Case]) -> None:
    """Write cases as they are now."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO referral_case (service_request, patient, stage, urgency, due, ended, document)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (service_request) DO UPDATE SET patient = excluded.patient, stage = excluded.stage,"
            " urgency = excluded.urgency, due = excluded.due, ended = excluded.ended,"
            " document = excluded.document",
            [_values(case) for case in cases],
        )


async def remove(connection: Connection, service_requests: Iterable[str]) -> None:
    """Remove cases that there is nothing to show of any more, by the ids of their ServiceRequests."""
    ids = sorted(service_requests)
    if ids:
        await connection.execute("DELETE FROM referral_case WHERE service_request = ANY(%s)", (ids,))


async def find(connection: Connection, service_request: str) -> Case | None:
    """The case of a ServiceRequest, by its id."""
    cursor = await connection.execute(
        "SELECT document FROM referral_case WHERE service_request = %s", (service_request,)
    )
    row = await cursor.fetchone()
    return read(row[0]) if row else None


async def column(connection: Connection, stage: Stage, limit: int, offset: int = 0) -> list[Case]:
    """Cases of a stage: the most urgent and then the first due ones first, of ended ones the latest first."""
    order = _ENDED_ORDER if stage in ENDED else _OPEN_ORDER
    cursor = await connection.execute(
        f"SELECT document FROM referral_case WHERE stage = %s ORDER BY {order} LIMIT %s OFFSET %s",  # noqa: S608  # fixed texts
        (stage.value, limit, offset),
    )
    return [read(row[0]) for row in await cursor.fetchall()]


async def counts(connection: Connection) -> dict[Stage, int]:
    """How many cases each stage has; 0 for those without."""
    cursor = await connection.execute("SELECT stage, count(*) FROM referral_case GROUP BY stage")
    found = {Stage(row[0]): int(row[1]) for row in await cursor.fetchall()}
    return {stage: found.get(stage, 0) for stage in Stage}


def _values(case: Case) -> tuple[Any, ...]:
    return (
        case.service_request,
        case.patient.reference,
        case.stage.value,
        case.urgency,
        case.due,
        case.ended,
        written(case),
    )
