"""Which exports were asked for, by whom, and how far they are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from kanwa_shared.store.pool import Pool

Counts = dict[str, tuple[int, int]]
"""By type: how many resources the export holds, and how many deletions since `since`."""

_COLUMNS: Final[LiteralString] = (
    "id, client_id, request, transaction_time, since, patients_only, types, remarks, counts, expires_at"
)
_INSERT: Final[LiteralString] = f"""
    WITH forgotten AS (DELETE FROM bulk_export WHERE expires_at < now())
    INSERT INTO bulk_export ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, NULL, %s)"""
_FIND: Final[LiteralString] = (
    f"SELECT {_COLUMNS} FROM bulk_export WHERE id = %s AND client_id = %s AND expires_at > now()"
)


@dataclass(frozen=True, slots=True)
class Export:
    """One export: resources of `types` as they were at `transaction_time`, changed since `since` if it is given.

    `patients_only` leaves out what is no patient's. `remarks` are for the client: what is not in it and why.
    `counts` is None until every service has said what it holds.
    """

    id: UUID
    client_id: str
    request: str
    transaction_time: datetime
    since: datetime | None
    patients_only: bool
    types: list[str]
    remarks: list[str]
    counts: Counts | None
    expires_at: datetime


async def remember(pool: Pool, export: Export) -> None:
    """Store a new export, and forget those that have expired."""
    async with pool.connection() as connection:
        await connection.execute(
            _INSERT,
            (export.id, export.client_id, export.request, export.transaction_time, export.since,
             export.patients_only, export.types, export.remarks, export.expires_at),
        )  # fmt: skip


async def find(pool: Pool, id: UUID, client_id: str) -> Export | None:
    """An export of this client; None if there is none, or none any more."""
    async with pool.connection() as connection:
        cursor = await connection.execute(_FIND, (id, client_id))
        row = await cursor.fetchone()
    if row is None:
        return None
    id, client_id, asked, moment, since, patients_only, types, remarks, written, expires_at = row
    counts = (
        {name: (held, deleted) for name, (held, deleted) in written.items()} if written is not None else None
    )
    return Export(id, client_id, asked, moment, since, patients_only, types, remarks, counts, expires_at)


async def complete(pool: Pool, id: UUID, counts: Counts) -> None:
    """Note what it holds; whoever was first keeps its word."""
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE bulk_export SET counts = %s WHERE id = %s AND counts IS NULL", (Jsonb(counts), id)
        )


async def forget(pool: Pool, id: UUID) -> None:
    """Delete it; its files are gone with it."""
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM bulk_export WHERE id = %s", (id,))
