"""Every Schedule of the hospital group: a calendar search needs them all."""

from typing import Final, LiteralString

from kanwa_scheduling.domain.calendars import ScheduleFacts
from kanwa_scheduling.domain.facts import schedule_facts
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.store.pool import Pool

_ALL: Final[LiteralString] = """
    SELECT v.id, v.body FROM resource r JOIN resource_version v USING (resource_type, id, version)
    WHERE r.resource_type = 'Schedule' AND NOT r.deleted ORDER BY v.id"""


async def all_schedules(pool: Pool) -> list[ScheduleFacts]:
    """What every Schedule says, active or not."""
    async with pool.connection() as connection:
        rows = await (await connection.execute(_ALL)).fetchall()
    return [schedule_facts(parse(body.encode()), id) for id, body in rows]
