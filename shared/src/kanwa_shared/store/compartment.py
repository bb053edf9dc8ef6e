"""What a service holds of one patient: its own resources in the Patient compartment, and what they refer to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from kanwa_shared.fhir.search.compartment import dated_types, rows_of_members
from kanwa_shared.store.resources import VERSION_COLUMNS, ResourceStore
from kanwa_shared.store.stored import StoredResource

Key = tuple[str, str]
"""Resource type and id."""

_IN_COMPARTMENT: Final[LiteralString] = """
    SELECT x.resource_type, x.id FROM resource_reference x
    JOIN unnest(%(kinds)s::text[], %(rows)s::text[]) AS k (resource_type, param) USING (resource_type, param)
    WHERE x.target_type = 'Patient' AND x.target_id = %(patient)s
    UNION SELECT 'Patient', %(patient)s"""

_MEMBERS: Final[LiteralString] = f"""
    SELECT {VERSION_COLUMNS} FROM ({_IN_COMPARTMENT}) AS m
    JOIN resource r USING (resource_type, id) JOIN resource_version v USING (resource_type, id, version)
    WHERE NOT r.deleted AND NOT r.replica AND r.resource_type = ANY(%(types)s)
      AND (r.resource_type COLLATE "C", r.id) > (%(after_type)s, %(after_id)s)
      AND (%(since)s::timestamptz IS NULL OR r.last_updated >= %(since)s)
      AND (%(start)s::timestamptz IS NULL AND %(end)s::timestamptz IS NULL
           OR r.resource_type <> ALL(%(dated)s)
           OR NOT EXISTS (SELECT FROM resource_date d
                          WHERE d.resource_type = r.resource_type AND d.id = r.id AND d.param = 'date')
           OR EXISTS (SELECT FROM resource_date d
                      WHERE d.resource_type = r.resource_type AND d.id = r.id AND d.param = 'date'
                        AND (%(start)s::timestamptz IS NULL OR d.high > %(start)s)
                        AND (%(end)s::timestamptz IS NULL OR d.low < %(end)s)))
    ORDER BY r.resource_type COLLATE "C", r.id LIMIT %(limit)s"""

_REFERENCED: Final[LiteralString] = f"""
    SELECT DISTINCT x.target_type, x.target_id FROM ({_IN_COMPARTMENT}) AS m
    JOIN resource r USING (resource_type, id) JOIN resource_reference x USING (resource_type, id)
    WHERE NOT r.deleted AND NOT r.replica AND r.resource_type = ANY(%(sources)s) AND x.target_type = ANY(%(types)s)"""

# What points to a patient is a patient's own: this one's, and then a member, or another's, and then nobody's business.
_SUPPORTING: Final[LiteralString] = f"""
    SELECT {VERSION_COLUMNS} FROM unnest(%(key_types)s::text[], %(key_ids)s::text[]) AS m (resource_type, id)
    JOIN resource r USING (resource_type, id) JOIN resource_version v USING (resource_type, id, version)
    WHERE NOT r.deleted AND NOT r.replica AND r.resource_type = ANY(%(types)s)
      AND (%(since)s::timestamptz IS NULL OR r.last_updated >= %(since)s)
      AND NOT EXISTS (
          SELECT FROM resource_reference x
          JOIN unnest(%(kinds)s::text[], %(rows)s::text[]) AS k (resource_type, param) USING (resource_type, param)
          WHERE x.resource_type = r.resource_type AND x.id = r.id AND x.target_type = 'Patient')
    ORDER BY r.resource_type COLLATE "C", r.id"""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which part of a record is wanted: types, changes since an instant, care between `start` and before `end`."""

    types: Sequence[str]
    since: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None


async def members(
    store: ResourceStore, patient: str, wanted: RecordFilter, *, after: Key | None, limit: int
) -> list[StoredResource]:
    """The patient and what is the patient's, of this service's own types, by type and id from `after` on.

    `start` and `end` leave out what has a clinical date outside of them; what has none stays.
    """
    kinds, rows = rows_of_members()
    after_type, after_id = after or ("", "")
    return await store.query(
        _MEMBERS,
        {
            "kinds": list(kinds), "rows": list(rows), "patient": patient, "types": list(wanted.types),
            "after_type": after_type, "after_id": after_id, "since": wanted.since, "start": wanted.start,
            "end": wanted.end, "dated": list(dated_types()), "limit": limit,
        },
    )  # fmt: skip


async def referenced(
    store: ResourceStore, patient: str, types: Sequence[str], *, sources: Sequence[str]
) -> list[Key]:
    """Which resources of `types` this service's members of the record refer to, whoever owns them.

    Only members of the types `sources` are looked at.
    """
    kinds, rows = rows_of_members()
    async with store.pool.connection() as connection:
        cursor = await connection.execute(
            _REFERENCED,
            {"kinds": list(kinds), "rows": list(rows), "patient": patient, "types": list(types),
             "sources": list(sources)},
        )  # fmt: skip
        return [(str(row[0]), str(row[1])) for row in await cursor.fetchall()]


async def supporting(store: ResourceStore, keys: Sequence[Key], wanted: RecordFilter) -> list[StoredResource]:
    """Those of `keys` that this service owns and that are no patient's own, by type and id."""
    kinds, rows = rows_of_members()
    return await store.query(
        _SUPPORTING,
        {
            "key_types": [key[0] for key in keys], "key_ids": [key[1] for key in keys],
            "kinds": list(kinds), "rows": list(rows), "types": list(wanted.types), "since": wanted.since,
        },
    )  # fmt: skip
