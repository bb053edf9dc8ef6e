"""Slots as intervals: the table `slot_window`, kept in the same commit as the Slot resources."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString

from psycopg.types.range import TimestamptzRange

from kanwa_scheduling.domain.calendars import SlotWindow
from kanwa_scheduling.domain.interval import Interval
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.pool import Pool

_COLUMNS: Final[LiteralString] = (
    "w.slot_id, w.schedule_id, w.status, lower(w.during), upper(w.during), w.booked_for, r.version"
)
_FROM: Final[LiteralString] = (
    "FROM slot_window w JOIN resource r ON r.resource_type = 'Slot' AND r.id = w.slot_id"
)

# the only thing interpolated is the constant list of columns
_OVERLAPPING: Final[LiteralString] = f"""
    SELECT {_COLUMNS} {_FROM} WHERE w.schedule_id = ANY (%s) AND w.during && %s
      AND w.status <> 'entered-in-error' AND NOT r.deleted ORDER BY w.slot_id"""
_BOOKED_FOR: Final[LiteralString] = (
    f"SELECT {_COLUMNS} {_FROM} WHERE w.booked_for = %s AND NOT r.deleted ORDER BY w.slot_id"
)
_ONE: Final[LiteralString] = f"SELECT {_COLUMNS} {_FROM} WHERE w.slot_id = %s"

_PUT: Final[LiteralString] = """
    INSERT INTO slot_window (slot_id, schedule_id, status, during, booked_for) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (slot_id) DO UPDATE SET schedule_id = excluded.schedule_id, status = excluded.status,
        during = excluded.during, booked_for = excluded.booked_for"""
_DROP: Final[LiteralString] = "DELETE FROM slot_window WHERE slot_id = %s"


async def overlapping(pool: Pool, schedule_ids: Sequence[str], period: Interval) -> list[SlotWindow]:
    """Slots of these Schedules that share time with `period`."""
    if not schedule_ids:
        return []
    return await _read(pool, _OVERLAPPING, (list(schedule_ids), _range(period)))


async def booked_for(pool: Pool, appointment_id: str) -> list[SlotWindow]:
    """Slots that an Appointment keeps busy."""
    return await _read(pool, _BOOKED_FOR, (appointment_id,))


async def window_of(pool: Pool, slot_id: str) -> SlotWindow | None:
    """One Slot, or None if it is not part of a calendar."""
    found = await _read(pool, _ONE, (slot_id,))
    return found[0] if found else None


def put_window(changes: ChangeSet, window: SlotWindow) -> None:
    """Write a Slot's interval together with the Slot."""
    changes.statement(
        _PUT, (window.id, window.schedule_id, window.status, _range(window.interval), window.booked_for)
    )


def drop_window(changes: ChangeSet, slot_id: str) -> None:
    """Take a Slot out of the calendar."""
    changes.statement(_DROP, (slot_id,))


async def _read(pool: Pool, query: LiteralString, parameters: Sequence[Any]) -> list[SlotWindow]:
    async with pool.connection() as connection:
        rows = await (await connection.execute(query, parameters)).fetchall()
    return [SlotWindow(row[0], row[1], row[2], Interval(row[3], row[4]), row[5], row[6]) for row in rows]


def _range(interval: Interval) -> TimestamptzRange:
    return TimestamptzRange(interval.start, interval.end, "[)")
