"""`_include` and `_revinclude`: one statement for each round, further rounds only for `:iterate`.

https://hl7.org/fhir/R4/search.html#include
"""

from collections.abc import Sequence
from typing import Final

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from kanwa_shared.errors import Issue
from kanwa_shared.fhir.search.conditions import Include
from kanwa_shared.fhir.search.sql import Composed, Statement
from kanwa_shared.store.stored import StoredResource

MAX_INCLUDED: Final = 1000
"""Resources added to one page; a page is one Bundle, and a Bundle must fit into a client's memory."""
MAX_ROUNDS: Final = 10

Key = tuple[str, str]


async def added_resources(
    connection: AsyncConnection[TupleRow], includes: Sequence[Include], matches: Sequence[StoredResource]
) -> tuple[list[StoredResource], list[Issue]]:
    """Resources that `includes` add to `matches`, each once and none that is a match.

    The issues warn when some are left out because there are too many.
    """
    known: set[Key] = {(match.resource_type, match.id) for match in matches}
    added: list[StoredResource] = []
    sources, wanted = list(known), list(includes)
    for _ in range(MAX_ROUNDS):
        if not (sources and wanted):
            break
        room = MAX_INCLUDED - len(added)
        found = await _round(connection, wanted, sources, known, room)
        added += found[:room]
        if len(found) > room:
            return added, [_too_many()]
        sources = [(resource.resource_type, resource.id) for resource in found]
        known.update(sources)
        wanted = [include for include in includes if include.iterate]
    return added, []


def _too_many() -> Issue:
    return Issue(
        "incomplete",
        f"more than {MAX_INCLUDED} resources would be included; ask for fewer matches with _count",
        severity="warning",
    )


async def _round(
    connection: AsyncConnection[TupleRow],
    includes: list[Include],
    sources: list[Key],
    known: set[Key],
    room: int,
) -> list[StoredResource]:
    statement = Statement("")
    held = sorted(known)
    text = sql.SQL(
        """WITH source (type, id) AS (SELECT * FROM unnest({types}, {ids})),
        wanted (resource_type, id) AS ({parts})
        SELECT v.resource_type, v.id, v.version, v.last_updated, v.interaction, v.body
        FROM wanted JOIN resource r USING (resource_type, id)
        JOIN resource_version v USING (resource_type, id, version)
        WHERE NOT r.deleted AND NOT EXISTS (
          SELECT FROM unnest({held_types}, {held_ids}) AS held (type, id)
          WHERE held.type = r.resource_type AND held.id = r.id)
        ORDER BY v.resource_type, v.id LIMIT {limit}"""
    ).format(
        types=statement.texts(key[0] for key in sources),
        ids=statement.texts(key[1] for key in sources),
        parts=sql.SQL(" UNION ").join(_part(include, statement) for include in includes),
        held_types=statement.texts(key[0] for key in held),
        held_ids=statement.texts(key[1] for key in held),
        limit=statement.value(room + 1),
    )
    result = await connection.execute(text, statement.parameters, prepare=False)
    return [_stored(row) for row in await result.fetchall()]


def _stored(row: TupleRow) -> StoredResource:
    resource_type, id, version, last_updated, interaction, body = row
    return StoredResource(resource_type, id, version, last_updated, interaction, body.encode())


def _part(include: Include, statement: Statement) -> Composed:
    conditions: list[Composed] = [
        sql.SQL("x.resource_type = {}").format(statement.value(include.source_type))
    ]
    if include.params is not None:
        conditions.append(sql.SQL("x.param = ANY({})").format(statement.texts(include.params)))
    if include.target_type:
        conditions.append(sql.SQL("x.target_type = {}").format(statement.value(include.target_type)))
    selected, joined = (
        (sql.SQL("x.resource_type, x.id"), sql.SQL("x.target_type = s.type AND x.target_id = s.id"))
        if include.reverse
        else (sql.SQL("x.target_type, x.target_id"), sql.SQL("x.resource_type = s.type AND x.id = s.id"))
    )
    return sql.SQL("SELECT {} FROM source s JOIN resource_reference x ON {} WHERE {}").format(
        selected, joined, sql.SQL(" AND ").join(conditions)
    )
