"""The newest version of each resource, and which referrals an event touches."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from kanwa_mdt.domain.fact import Fact
from kanwa_shared.fhir.json_text import dumps, parse

Connection = AsyncConnection[Any]

_STEP_TYPES: Final = ("Task/%", "Appointment/%", "Procedure/%", "CarePlan/%")
_COLUMNS: Final = "reference, version, time, patient, links, content"


async def keep(connection: Connection, facts: Sequence[Fact]) -> None:
    """Write facts; one that is older than what is there changes nothing."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO fact (reference, version, time, patient, links, content)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (reference) DO UPDATE SET version = excluded.version, time = excluded.time,"
            " patient = excluded.patient, links = excluded.links, content = excluded.content"
            " WHERE fact.version < excluded.version",
            [_values(fact) for fact in sorted(facts, key=lambda fact: fact.reference)],
        )


async def find(connection: Connection, references: Iterable[str]) -> dict[str, Fact]:
    """Facts by reference; those that are not known are left out."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM fact WHERE reference = ANY(%s)",  # noqa: S608  # a fixed text
        (sorted(references),),
    )
    return {row[0]: _fact(row) for row in await cursor.fetchall()}


async def requests_of_steps(connection: Connection, references: Iterable[str]) -> dict[str, list[str]]:
    """The ServiceRequests that each of these Tasks, Appointments, Procedures or CarePlans names."""
    found = await find(connection, references)
    return {ref: [r for r in sorted(f.links) if _is_referral(r)] for ref, f in found.items()}


async def requests_of_patients(connection: Connection, patients: Iterable[str]) -> dict[str, list[str]]:
    """The ServiceRequests of each patient."""
    cursor = await connection.execute(
        "SELECT patient, array_agg(reference ORDER BY reference) FROM fact"
        " WHERE patient = ANY(%s) AND reference LIKE 'ServiceRequest/%%' GROUP BY patient",
        (sorted(patients),),
    )
    return {row[0]: list(row[1]) for row in await cursor.fetchall()}


async def siblings(connection: Connection, requests: Iterable[str], patients: Iterable[str]) -> set[str]:
    """These ServiceRequests, and all of these patients and of the patients that those are for."""
    wanted = set(requests)
    cursor = await connection.execute(
        "SELECT reference FROM fact WHERE reference LIKE 'ServiceRequest/%%' AND patient = ANY("
        " %s::text[] ||"
        " ARRAY(SELECT patient FROM fact WHERE reference = ANY(%s::text[]) AND patient IS NOT NULL))",
        (sorted(patients), sorted(wanted)),
    )
    return wanted | {row[0] for row in await cursor.fetchall()}


async def around(connection: Connection, requests: Iterable[str]) -> dict[str, Fact]:
    """Everything that may belong to these referrals: theirs, their patients', and what names their steps."""
    wanted = sorted(requests)
    # Asked for first: of arrays that it knows PostgreSQL can tell that they are short, and takes the indexes.
    cursor = await connection.execute(
        "SELECT array(SELECT patient FROM fact"
        "  WHERE reference = ANY(%(requests)s::text[]) AND patient IS NOT NULL),"
        " array(SELECT reference FROM fact"
        "  WHERE links && %(requests)s::text[] AND reference LIKE ANY(%(steps)s))",
        {"requests": wanted, "steps": list(_STEP_TYPES)},
    )
    short: tuple[list[str], list[str]] = await cursor.fetchone() or ([], [])
    patients, steps = short
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM fact"  # noqa: S608  # a fixed text
        " WHERE reference = ANY(%s) OR patient = ANY(%s) OR links && %s::text[]",
        (wanted, patients, [*wanted, *steps]),
    )
    return {row[0]: _fact(row) for row in await cursor.fetchall()}


async def named_like(connection: Connection, resource_types: Sequence[str], limit: int) -> list[Fact]:
    """Facts of these types that were not deleted, in the order of their references."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM fact WHERE reference LIKE ANY(%s) AND content IS NOT NULL"  # noqa: S608  # a fixed text
        " ORDER BY reference LIMIT %s",
        ([f"{name}/%" for name in resource_types], limit),
    )
    return [_fact(row) for row in await cursor.fetchall()]


def _is_referral(reference: str) -> bool:
    return reference.startswith("ServiceRequest/")


def _values(fact: Fact) -> tuple[Any, ...]:
    content = None if fact.content is None else dumps(fact.content).decode()
    return fact.reference, fact.version, fact.time, fact.patient, sorted(fact.links), content


def _fact(row: tuple[Any, ...]) -> Fact:
    content = None if row[5] is None else parse(row[5].encode())
    return Fact(row[0], row[1], row[2], row[3], frozenset(row[4]), content)
