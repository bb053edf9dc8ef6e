"""Rules for Slots that clients write: the calendar follows them, and a free Slot never covers a booking."""

from kanwa_scheduling.application.actors import resolve_actors, trees_of
from kanwa_scheduling.application.conflicts import bookings_in_the_way
from kanwa_scheduling.application.release import is_under_way
from kanwa_scheduling.domain.calendars import SlotWindow
from kanwa_scheduling.domain.facts import schedule_facts, slot_window
from kanwa_scheduling.store import slot_windows
from kanwa_shared.errors import Conflict
from kanwa_shared.rest.service import Context, WriteRequest


async def keep_slot_window(request: WriteRequest, context: Context) -> None:
    """Mirror the Slot as an interval. Raises Conflict if an Appointment needs the time that it would free.

    A promised Slot is mirrored as it is: `$find` never offers booked time, whatever a Slot says.
    """
    before = await slot_windows.window_of(context.store.pool, request.id) if request.current else None
    keeper = await _keeper(context, before)
    after = slot_window(request.tree, request.id, keeper) if request.tree is not None else None
    if not request.promised:
        _check_kept(before, after, keeper)
        if after is not None and after.status == "free":
            await _check_not_booked(context, after)
    if after is None:
        slot_windows.drop_window(context.changes, request.id)
    else:
        slot_windows.put_window(context.changes, after)


async def _keeper(context: Context, window: SlotWindow | None) -> str | None:
    """The Appointment under way that keeps the Slot, or None."""
    if window is None or window.booked_for is None:
        return None
    appointment = await context.store.get("Appointment", window.booked_for)
    kept = appointment is not None and not appointment.deleted and is_under_way(appointment.tree)
    return window.booked_for if kept else None


def _check_kept(before: SlotWindow | None, after: SlotWindow | None, keeper: str | None) -> None:
    if before is None or keeper is None:
        return
    same = (
        after is not None
        and after.schedule_id == before.schedule_id
        and after.interval.covers(before.interval)
        and after.status != "free"
    )
    if not same:
        raise Conflict(
            f"Slot/{before.id} is kept for Appointment/{keeper}; cancel or move that Appointment instead",
            expression="Slot.status",
        )


async def _check_not_booked(context: Context, window: SlotWindow) -> None:
    reference = f"Schedule/{window.schedule_id}"
    schedule = (await trees_of(context, [reference])).get(reference)
    if schedule is None:
        return
    actors = await resolve_actors(context, schedule_facts(schedule, window.schedule_id).subjects)
    bookings = await bookings_in_the_way(context, "", actors, window.interval)
    if bookings:
        raise Conflict(
            f"{bookings[0].actor} is taken in that time by Appointment/{bookings[0].appointment_id}; "
            "a Slot there cannot be free",
            expression="Slot.status",
        )
