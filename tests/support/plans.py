"""Which tables were read from end to end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection


@asynccontextmanager
async def reading_whole(connection: AsyncConnection[Any], *tables: str) -> AsyncGenerator[set[str]]:
    """A transaction; afterwards the set holds those of `tables` that it scanned without an index."""
    found: set[str] = set()
    async with connection.transaction():
        before = await _scans(connection, tables)
        yield found
        after = await _scans(connection, tables)
    found.update(table for table in after if after[table] != before.get(table, 0))


async def _scans(connection: AsyncConnection[Any], tables: tuple[str, ...]) -> dict[str, int]:
    # What this session has not passed on yet: earlier transactions' counts may be among it.
    cursor = await connection.execute(
        "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname = ANY(%s)", (list(tables),)
    )
    return dict(await cursor.fetchall())
