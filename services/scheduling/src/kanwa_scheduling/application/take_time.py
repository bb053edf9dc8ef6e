"""Taking and giving back time: actors, Slots and the referral's one Appointment, in one change set."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from kanwa_scheduling.application.actors import Actors, schedules_of
from kanwa_scheduling.domain.booking import BusyStatus, SlotChange, SlotPart, rearrange
from kanwa_scheduling.domain.calendars import SlotWindow
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.store import slot_windows
from kanwa_scheduling.store.bookings import claim_referrals, release_actors, take_actors
from kanwa_shared.errors import VersionConflict
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of, zone_of
from kanwa_shared.rest.service import Context


async def take_time(
    context: Context,
    appointment_id: str,
    actors: Actors,
    interval: Interval,
    status: BusyStatus,
    *,
    expires_at: datetime | None = None,
    referrals: Sequence[str] = (),
) -> list[str]:
    """Give an Appointment this time of these actors instead of what it had; ids of the Slots it keeps.

    The commit fails if an actor is taken or a referral has another Appointment (see `explain_conflict`). Raises
    VersionConflict for a Slot that another Appointment has taken since the caller looked.
    """
    take_actors(context.changes, appointment_id, actors.taken, interval, expires_at)
    claim_referrals(context.changes, appointment_id, referrals)
    schedules = await schedules_of(context, actors.known_as)
    offered = await slot_windows.overlapping(context.store.pool, [s.id for s in schedules], interval)
    # The caller has seen none of these. A rival that lets the time go again before the commit breaks no constraint,
    # and its Slot would be free over this Appointment.
    if any(window.booked_for not in (None, appointment_id) for window in offered):
        raise VersionConflict("a Slot of that time was taken meanwhile; try again")
    return await _rearrange(context, appointment_id, offered, interval, status)


async def give_back(context: Context, appointment_id: str) -> None:
    """Let the actors, the Slots and the referral of an Appointment go."""
    release_actors(context.changes, appointment_id)
    claim_referrals(context.changes, appointment_id, ())
    await _rearrange(context, appointment_id, [], None, "busy")


async def shorten(context: Context, appointment_id: str, actors: Actors, interval: Interval) -> None:
    """Keep only `interval`, which has been used; the rest of the time and the referral are free again."""
    take_actors(context.changes, appointment_id, actors.taken, interval, None)
    claim_referrals(context.changes, appointment_id, ())
    await _rearrange(context, appointment_id, [], interval, "busy")


async def _rearrange(
    context: Context,
    appointment_id: str,
    offered: Sequence[SlotWindow],
    interval: Interval | None,
    status: BusyStatus,
) -> list[str]:
    kept = await slot_windows.booked_for(context.store.pool, appointment_id)
    windows = {window.id: window for window in [*offered, *kept]}
    changes = rearrange(list(windows.values()), appointment_id, interval, status)
    await _write_slots(context, changes, windows)
    becomes = {change.slot_id: change.becomes.booked_for for change in changes}
    return sorted(
        id for id, window in windows.items() if becomes.get(id, window.booked_for) == appointment_id
    )


async def _write_slots(
    context: Context, changes: Sequence[SlotChange], windows: dict[str, SlotWindow]
) -> None:
    stored = await context.store.get_many([("Slot", change.slot_id) for change in changes])
    for change in changes:
        window, slot = windows[change.slot_id], stored.get(("Slot", change.slot_id))
        if slot is None or slot.deleted:
            raise VersionConflict(f"Slot/{change.slot_id} was deleted meanwhile; try again")
        # The plan was made from the window's version. If a rival has cut the Slot since, the commit must
        # fail, so that the engine runs the use case anew.
        slot = replace(slot, version=window.version)
        schedule_id = window.schedule_id
        context.changes.update(slot, _as_part(slot.tree, change.becomes))
        _put(context, change.slot_id, schedule_id, change.becomes)
        for part in change.added:
            id = context.changes.create(_as_new(slot.tree, part), id=str(uuid4()))
            _put(context, id, schedule_id, part)


def _put(context: Context, id: str, schedule_id: str, part: SlotPart) -> None:
    window = SlotWindow(id, schedule_id, part.status, part.interval, part.booked_for)
    slot_windows.put_window(context.changes, window)


def _as_part(slot: Tree, part: SlotPart) -> Tree:
    return {
        **slot,
        "status": part.status,
        "start": _moved(slot["start"], part.interval.start),
        "end": _moved(slot["end"], part.interval.end),
    }


def _as_new(slot: Tree, part: SlotPart) -> Tree:
    """A Slot cut from another: the same Schedule and services, but not its identifiers."""
    return {
        name: content
        for name, content in _as_part(slot, part).items()
        if name not in ("id", "meta", "identifier", "text")
    }


def _moved(text: str, moment: datetime) -> str:
    """The instant in the offset that the Slot was written in; the text itself if the instant is the same."""
    if range_of(text)[0] == moment:
        return text
    return moment.astimezone(zone_of(text)).isoformat(timespec="seconds").replace("+00:00", "Z")
