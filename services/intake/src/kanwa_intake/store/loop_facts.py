"""What is known of a referral's way through the loop, in one round trip: asked for with every event about it."""

from typing import Final, LiteralString

from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource

#: More than this about one referral is not read: the oldest count.
FACT_LIMIT: Final = 1000

# By the references' B-tree: the token index would first read through what was written a moment ago.
_NAMING: Final[LiteralString] = """
    SELECT v.resource_type, v.id, v.version, v.last_updated, v.interaction, v.body
    FROM resource_reference f JOIN resource r USING (resource_type, id)
    JOIN resource_version v USING (resource_type, id, version)
    WHERE f.target_type = 'ServiceRequest' AND f.target_id = %(id)s AND NOT r.deleted
      AND (f.resource_type, f.param) IN (('Task', 'focus'), ('Appointment', 'based-on'), ('Procedure', 'based-on'),
                                         ('DocumentReference', 'related'))
    ORDER BY r.last_updated, r.id LIMIT %(limit)s"""


async def naming(reference: str, context: Context) -> dict[str, list[StoredResource]]:
    """Stored Tasks, Appointments, Procedures and documents of `ServiceRequest/{id}` by type, the oldest first."""
    found: dict[str, list[StoredResource]] = {}
    parameters = {"id": reference.removeprefix("ServiceRequest/"), "limit": FACT_LIMIT}
    for stored in await context.store.query(_NAMING, parameters):
        found.setdefault(stored.resource_type, []).append(stored)
    return found
