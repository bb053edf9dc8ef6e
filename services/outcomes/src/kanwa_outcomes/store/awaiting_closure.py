"""Which completed procedures still wait for their primary measure."""

from datetime import datetime
from typing import Final, LiteralString

from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource

# One round of the periodic work; what is left over is due at the next.
BATCH: Final = 200

_AWAIT: Final[LiteralString] = """
    INSERT INTO awaiting_closure (procedure_id, closes_at) VALUES (%s, %s)
    ON CONFLICT (procedure_id) DO UPDATE SET closes_at = excluded.closes_at"""

_CLOSE: Final[LiteralString] = "DELETE FROM awaiting_closure WHERE procedure_id = %s"

_DUE: Final[LiteralString] = """
    SELECT v.resource_type, v.id, v.version, v.last_updated, v.interaction, v.body
    FROM awaiting_closure a
    JOIN resource r ON r.resource_type = 'Procedure' AND r.id = a.procedure_id
    JOIN resource_version v USING (resource_type, id, version)
    WHERE a.closes_at < %(now)s AND NOT r.deleted
    ORDER BY a.closes_at LIMIT %(limit)s"""


def await_closure(procedure_id: str, closes_at: datetime, context: Context) -> None:
    """Remember that the loop of a procedure closes at `closes_at` at the latest."""
    context.changes.statement(_AWAIT, (procedure_id, closes_at))


def closed(procedure_id: str, context: Context) -> None:
    """Forget it: the summary is on its way."""
    context.changes.statement(_CLOSE, (procedure_id,))


async def overdue(context: Context) -> list[StoredResource]:
    """Procedures whose time has passed, the longest overdue first, at most `BATCH`."""
    return await context.store.query(_DUE, {"now": context.now, "limit": BATCH})
