"""Resources and their index rows in a database, written without the store: searches are tested alone."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from kanwa_shared.fhir.search import index

Tree = dict[str, Any]
_VALUE_COLUMNS = {
    "references": "resource_reference",
    "dates": "resource_date",
    "quantities": "resource_quantity",
    "strings": "resource_string",
}


async def write(
    connection: AsyncConnection[TupleRow], trees: Iterable[Tree], *, at: datetime | None = None
) -> None:
    """Write the next version of each resource; `at` is its last_updated, else the database's clock says."""
    async with connection.transaction():
        for tree in trees:
            await _write(connection, tree, at)


async def _write(connection: AsyncConnection[TupleRow], tree: Tree, at: datetime | None) -> None:
    rows = index(tree)
    key = (tree["resourceType"], tree["id"])
    result = await connection.execute(
        "INSERT INTO resource VALUES (%s, %s, 1, coalesce(%s, clock_timestamp()), false, false, %s)"
        " ON CONFLICT (resource_type, id) DO UPDATE SET version = resource.version + 1,"
        " tokens = excluded.tokens, last_updated = excluded.last_updated RETURNING version, last_updated",
        (*key, at, rows.tokens),
    )
    version, last_updated = await _one(result)
    body = msgspec.json.encode(tree).decode()
    await connection.execute(
        "INSERT INTO resource_version VALUES (%s, %s, %s, %s, %s, %s)",
        (*key, version, last_updated, "create" if version == 1 else "update", body),
    )
    for name, table in _VALUE_COLUMNS.items():
        if version > 1:
            await connection.execute(_forget(table), key)
        for row in getattr(rows, name):
            values = ", ".join(["%s"] * (len(row) + 2))
            await connection.execute(f"INSERT INTO {table} VALUES ({values})", (*key, *row))  # noqa: S608  # the tests' own names


async def _one(result: Any) -> TupleRow:
    row = await result.fetchone()
    assert row is not None
    return row


async def delete(connection: AsyncConnection[TupleRow], resource_type: str, id: str) -> None:
    """Mark a resource as deleted, as the store does: its index rows go."""
    async with connection.transaction():
        await connection.execute(
            "UPDATE resource SET deleted = true, version = version + 1, tokens = '{}'"
            " WHERE resource_type = %s AND id = %s",
            (resource_type, id),
        )
        await connection.execute(
            "INSERT INTO resource_version"
            " SELECT resource_type, id, version, now(), 'delete', NULL FROM resource"
            " WHERE resource_type = %s AND id = %s",
            (resource_type, id),
        )
        for table in _VALUE_COLUMNS.values():
            await connection.execute(_forget(table), (resource_type, id))


def _forget(table: str) -> str:
    return f"DELETE FROM {table} WHERE resource_type = %s AND id = %s"  # noqa: S608  # the tests' own names
